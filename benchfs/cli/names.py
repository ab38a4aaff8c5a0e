"""Names of instances as people write them on the command line."""

from __future__ import annotations

from pathlib import Path

import typer

from benchfs import instancedir


def instance_directory(name: str) -> Path:
    """Where the instance is, or would be. Raises BadParameter, which is wrong usage."""
    try:
        return instancedir.named(name, "find")
    except OSError:
        raise typer.BadParameter(f"{name!r}: {instancedir.NAME_RULE}") from None
