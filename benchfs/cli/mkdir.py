"""`benchfs mkdir`: make directories."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from benchfs.cli.output import ClusterOption, JsonOption, say_json, with_client
from benchfs.client import AsyncClient


def mkdir(
    paths: Annotated[list[str], typer.Argument()],
    parents: Annotated[bool, typer.Option("-p", help="What is missing above, too.")] = False,
    mode: Annotated[
        str | None, typer.Option("-m", "--mode", help="Octal, such as 755, whatever the umask.")
    ] = None,
    wide: Annotated[
        bool, typer.Option("--wide", help="Spread the entries over the cluster.")
    ] = False,
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Make directories."""
    bits = None if mode is None else _octal(mode)

    async def work(fs: AsyncClient) -> None:
        for path in paths:
            there = parents and await fs.isdir(path)
            if parents:
                await fs.makedirs(path, exist_ok=True, wide=wide or None)
            else:
                await fs.mkdir(path, wide=wide or None)
            if bits is not None and not there:
                await fs.chmod(path, bits)

    with_client(cluster, work)
    if json:
        say_json({"made": paths})


def _octal(mode: str) -> int:
    if not re.fullmatch("[0-7]{1,4}", mode):
        raise typer.BadParameter(f"{mode!r} is no octal mode such as 755")
    return int(mode, 8)
