"""Whom a client acts for: what it states in its handshake, and the owner of what it makes."""

from __future__ import annotations

import os
from typing import NamedTuple

GROUPS_MOST = 256  # that a handshake has room for


class User(NamedTuple):
    """A user with his groups. Who may state another than himself: docs/SEMANTICS.md."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()  # supplementary

    @classmethod
    def current(cls) -> User:
        """The user of this process, with the first 256 of its supplementary groups."""
        return cls(os.geteuid(), os.getegid(), tuple(os.getgroups()[:GROUPS_MOST]))
