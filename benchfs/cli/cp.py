"""`benchfs cp`: copy inside the cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from benchfs.cli.duplicate import copy
from benchfs.cli.output import ClusterOption, JsonOption, fail, say_json, with_client
from benchfs.client import AsyncClient


def cp(
    source: Annotated[str, typer.Argument()],
    target: Annotated[str, typer.Argument()],
    recursive: Annotated[bool, typer.Option("-r", "--recursive", help="Directories too.")] = False,
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Copy a file or, with -r, a directory."""

    async def work(fs: AsyncClient) -> int:
        if not recursive and await fs.isdir(source):
            raise fail(f"{source} is a directory: use -r")
        return await copy(fs, source, target)

    files = with_client(cluster, work)
    if json:
        say_json({"files": files})
