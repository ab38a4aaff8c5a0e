"""`benchfs cat`: files to standard output."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from benchfs.cli.output import ClusterOption, with_client
from benchfs.client import AsyncClient

PIECE_BYTES = 1024 * 1024


def cat(
    paths: Annotated[list[str], typer.Argument(help="Files.")], cluster: ClusterOption = None
) -> None:
    """Write the content of files to standard output."""

    async def work(fs: AsyncClient) -> None:
        for path in paths:
            async with await fs.open(path) as file:
                while data := await file.read(PIECE_BYTES):
                    sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    with_client(cluster, work)
