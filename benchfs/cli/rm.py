"""`benchfs rm`: remove files and trees."""

from __future__ import annotations

from typing import Annotated

import typer

from benchfs.cli.output import ClusterOption, JsonOption, say_json, with_client
from benchfs.client import AsyncClient


def rm(
    paths: Annotated[list[str], typer.Argument()],
    recursive: Annotated[bool, typer.Option("-r", "--recursive", help="Directories too.")] = False,
    force: Annotated[bool, typer.Option("-f", "--force", help="Missing is no failure.")] = False,
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Remove files, and directories with all that is in them."""

    async def work(fs: AsyncClient) -> None:
        for path in paths:
            try:
                if recursive and await fs.isdir(path):
                    await fs.rmtree(path)
                else:
                    await fs.unlink(path)
            except FileNotFoundError:
                if not force:
                    raise

    with_client(cluster, work)
    if json:
        say_json({"removed": paths})
