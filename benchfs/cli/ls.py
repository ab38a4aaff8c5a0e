"""`benchfs ls`: list a directory, or a file."""

from __future__ import annotations

import os
import stat
import time
from typing import Annotated

import typer

from benchfs.cli.output import ClusterOption, JsonOption, say, say_json, with_client
from benchfs.client import AsyncClient


def ls(
    path: Annotated[str, typer.Argument(help="Directory or file.")] = "/",
    long: Annotated[bool, typer.Option("-l", help="With attributes.")] = False,
    hidden: Annotated[bool, typer.Option("-a", help="Names that begin with a dot too.")] = False,
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """List names, sorted."""

    async def work(fs: AsyncClient) -> list[tuple[str, os.stat_result]]:
        found = await fs.stat(path) if await fs.exists(path) else await fs.lstat(path)
        if not stat.S_ISDIR(found.st_mode):
            return [(path, found)]
        return [
            (entry.name, await entry.stat(follow_symlinks=False))
            async for entry in fs.scandir(path)
            if hidden or not entry.name.startswith(".")
        ]

    entries = with_client(cluster, work)
    if json:
        say_json([describe(name, found) for name, found in entries])
        return
    for name, found in entries:
        if long:
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(found.st_mtime))
            mode = stat.filemode(found.st_mode)
            say(f"{mode} {found.st_uid:5} {found.st_gid:5} {found.st_size:12} {when} {name}")
        else:
            say(name)


_TYPES = {
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


def describe(name: str, found: os.stat_result) -> dict[str, object]:
    """Attributes for JSON."""
    return {
        "name": name,
        "type": _TYPES[stat.S_IFMT(found.st_mode)],
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
        "size": found.st_size,
        "uid": found.st_uid,
        "gid": found.st_gid,
        "ino": found.st_ino,
        "nlink": found.st_nlink,
        "atime_ns": found.st_atime_ns,
        "mtime_ns": found.st_mtime_ns,
        "ctime_ns": found.st_ctime_ns,
    }
