"""`benchfs put`: copy local files and trees into the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchfs.cli.copying import conclude, progress_bar
from benchfs.cli.output import ClusterOption, JsonOption, fail, with_client
from benchfs.client import AsyncClient
from benchfs.transfer import Result, Transfer


def put(
    source: Annotated[Path, typer.Argument(help="Local file or directory.")],
    target: Annotated[str, typer.Argument(help="Path in the cluster.")],
    recursive: Annotated[bool, typer.Option("-r", "--recursive", help="Directories too.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read back and compare.")] = False,
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Copy in, many files at once; modes and times are kept.

    A file goes into TARGET if that is a directory; a directory becomes TARGET.
    """
    if not source.exists():
        raise fail(f"{source}: No such file or directory")
    if source.is_dir() and not recursive:
        raise fail(f"{source} is a directory: use -r")
    with progress_bar(f"put {source}", quiet=json) as progress:

        async def work(fs: AsyncClient) -> Result:
            place = target
            if not source.is_dir() and (target.endswith("/") or await fs.isdir(target)):
                place = f"{target.rstrip('/')}/{source.name}"
            return await Transfer(fs, verify=verify, progress=progress).put(source, place)

        result = with_client(cluster, work)
    conclude(result, json=json)
