"""`benchfs get`: copy files and trees of the cluster out."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from benchfs.cli.copying import conclude, progress_bar
from benchfs.cli.output import ClusterOption, JsonOption, fail, with_client
from benchfs.client import AsyncClient
from benchfs.transfer import Result, Transfer


def get(
    source: Annotated[str, typer.Argument(help="Path in the cluster.")],
    target: Annotated[Path, typer.Argument(help="Local path.")],
    recursive: Annotated[bool, typer.Option("-r", "--recursive", help="Directories too.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read back and compare.")] = False,
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Copy out, many files at once; modes and times are kept.

    A file goes into TARGET if that is a directory; a directory becomes TARGET.
    """
    with progress_bar(f"get {source}", quiet=json) as progress:

        async def work(fs: AsyncClient) -> Result:
            directory = await fs.isdir(source)
            if directory and not recursive:
                raise fail(f"{source} is a directory: use -r")
            place = target
            if not directory and target.is_dir():
                place = target / PurePosixPath(source).name
            return await Transfer(fs, verify=verify, progress=progress).get(source, place)

        result = with_client(cluster, work)
    conclude(result, json=json)
