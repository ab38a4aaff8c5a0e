"""`benchfs mv`: rename, or copy and remove where a rename is not possible yet."""

from __future__ import annotations

import errno
from typing import Annotated

import typer

from benchfs.cli.duplicate import check_apart, copy_tree, into
from benchfs.cli.output import ClusterOption, JsonOption, say_json, with_client
from benchfs.client import AsyncClient


def mv(
    source: Annotated[str, typer.Argument()],
    target: Annotated[str, typer.Argument()],
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Move a file or directory; into TARGET if that is a directory."""

    async def work(fs: AsyncClient) -> bool:
        place = await into(fs, source, target)
        await check_apart(fs, "move", source, await fs.stat(source), place)
        try:
            await fs.rename(source, place)
            return True
        except OSError as exc:
            if exc.errno != errno.EXDEV:
                raise
        directory = await fs.isdir(source)
        if directory and await fs.isdir(place):
            await fs.rmdir(place)  # as rename does: only an empty one is replaced
        await copy_tree(fs, source, place)
        if directory:
            await fs.rmtree(source)
        else:
            await fs.unlink(source)
        return False

    renamed = with_client(cluster, work)
    if json:
        say_json({"renamed": renamed})
