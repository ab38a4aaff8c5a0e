"""`benchfs umount`: end a mount; returns when all that was written is at its node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchfs.cli.output import JsonOption, say_json
from benchfs.fuse import background, mounts


def umount(
    path: Annotated[Path, typer.Argument(help="Where it is mounted.")],
    lazy: Annotated[
        bool, typer.Option("--lazy", help="Also if files are open: they stay usable until closed.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Unmount PATH, also if the process that served it is dead."""
    target = mounts.canonical(path)
    background.stop(target, lazy=lazy)
    if json:
        say_json({"path": str(target), "mounted": False})
