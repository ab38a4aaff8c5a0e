"""`benchfs du`: bytes and files below a path."""

from __future__ import annotations

import stat
from typing import Annotated

import typer

from benchfs.cli.find import walk
from benchfs.cli.output import ClusterOption, JsonOption, human, say, say_json, with_client
from benchfs.client import AsyncClient


def du(
    path: Annotated[str, typer.Argument()] = "/",
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Add up the sizes of files."""

    async def work(fs: AsyncClient) -> tuple[int, int]:
        found = await fs.stat(path)
        if not stat.S_ISDIR(found.st_mode):
            return found.st_size, 1
        size = files = 0
        async for entry in walk(fs, path):
            if not entry.is_dir():
                size += (await entry.stat(follow_symlinks=False)).st_size
                files += 1
        return size, files

    size, files = with_client(cluster, work)
    if json:
        say_json({"path": path, "bytes": size, "files": files})
    else:
        say(f"{human(size)}\t{files} files\t{path}")
