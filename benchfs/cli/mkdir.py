"""`benchfs mkdir`: make directories."""

from __future__ import annotations

from typing import Annotated

import typer

from benchfs.cli.output import ClusterOption, JsonOption, say_json, with_client
from benchfs.client import AsyncClient


def mkdir(
    paths: Annotated[list[str], typer.Argument()],
    parents: Annotated[bool, typer.Option("-p", help="What is missing above, too.")] = False,
    mode: Annotated[str, typer.Option("-m", "--mode", help="Octal, such as 755.")] = "777",
    wide: Annotated[
        bool, typer.Option("--wide", help="Spread the entries over the cluster.")
    ] = False,
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Make directories."""
    try:
        bits = int(mode, 8)
    except ValueError:
        raise typer.BadParameter(f"{mode!r} is not octal") from None

    async def work(fs: AsyncClient) -> None:
        for path in paths:
            if parents:
                await fs.makedirs(path, bits, exist_ok=True, wide=wide or None)
            else:
                await fs.mkdir(path, bits, wide=wide or None)

    with_client(cluster, work)
    if json:
        say_json({"made": paths})
