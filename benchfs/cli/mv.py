"""`benchfs mv`: rename, or copy and remove where a rename is not possible yet."""

from __future__ import annotations

import errno
from typing import Annotated

import typer

from benchfs.cli.duplicate import copy_tree, into
from benchfs.cli.output import ClusterOption, JsonOption, fail, say_json, with_client
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
        if f"{place}/".startswith(f"{source.rstrip('/')}/"):
            raise fail(f"{source} cannot be moved into itself")
        try:
            await fs.rename(source, place)
            return True
        except OSError as exc:
            if exc.errno != errno.EXDEV:
                raise
        await copy_tree(fs, source, place)
        if await fs.isdir(source):
            await fs.rmtree(source)
        else:
            await fs.unlink(source)
        return False

    renamed = with_client(cluster, work)
    if json:
        say_json({"renamed": renamed})
