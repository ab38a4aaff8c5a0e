"""The three promises about acknowledged bytes, of which a cluster makes one at its creation."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """What acknowledged bytes survive: nothing, the end of processes, the end of the machine."""

    VOLATILE = "volatile"
    WRITEBACK = "writeback"
    DURABLE = "durable"
