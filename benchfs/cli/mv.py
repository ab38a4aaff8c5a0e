"""`benchfs mv`: rename, or copy and remove where a rename is not possible yet."""

from __future__ import annotations

from typing import Annotated

import typer

from benchfs.cli.duplicate import move
from benchfs.cli.output import ClusterOption, JsonOption, say_json, with_client


def mv(
    source: Annotated[str, typer.Argument()],
    target: Annotated[str, typer.Argument()],
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Move a file or directory; into TARGET if that is a directory."""
    renamed = with_client(cluster, lambda fs: move(fs, source, target))
    if json:
        say_json({"renamed": renamed})
