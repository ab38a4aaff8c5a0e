"""`benchfs find`: paths below a directory, by name, type and size."""

from __future__ import annotations

import fnmatch
from collections.abc import AsyncIterator
from typing import Annotated

import typer

from benchfs.cli.output import ClusterOption, JsonOption, say, say_json, with_client
from benchfs.cli.sizes import parse_size
from benchfs.client import AsyncClient
from benchfs.stats import DirEntry


def find(
    path: Annotated[str, typer.Argument()] = "/",
    name: Annotated[str, typer.Option("--name", help="Pattern with * ? [].")] = "*",
    kind: Annotated[str, typer.Option("--type", help="f, d or l (symbolic link).")] = "fdl",
    size: Annotated[str, typer.Option(help="Just this size; +SIZE more, -SIZE less.")] = "",
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Print the paths that match."""
    if not kind or set(kind) - set("fdl"):
        raise typer.BadParameter(f"type {kind!r}: f, d or l")
    sign = size[:1] if size[:1] in {"+", "-"} else ""
    wanted = parse_size(size.removeprefix(sign)) if size else 0

    async def matches(entry: DirEntry) -> bool:
        letter = "d" if entry.is_dir() else "l" if entry.is_symlink() else "f"
        if letter not in kind or not fnmatch.fnmatchcase(entry.name, name):
            return False
        if not size:
            return True
        found = (await entry.stat(follow_symlinks=False)).st_size
        return found > wanted if sign == "+" else found < wanted if sign == "-" else found == wanted

    async def work(fs: AsyncClient) -> list[str]:
        found = []
        async for entry in walk(fs, path):
            if await matches(entry):
                found.append(entry.path)
                if not json:
                    say(entry.path)
        return found

    paths = with_client(cluster, work)
    if json:
        say_json(paths)


async def walk(fs: AsyncClient, path: str) -> AsyncIterator[DirEntry]:
    """All entries below a directory, each before what is in it."""
    pending = [path]
    while pending:
        below = []
        async for entry in fs.scandir(pending.pop()):
            yield entry
            if entry.is_dir():
                below.append(entry.path)
        pending.extend(reversed(below))
