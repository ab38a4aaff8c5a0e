"""Metadata and small-file rates, as users of mdtest know them: `python -m benchfs.bench.md URL`.

One client process with many tasks, in a new directory that is removed at the end: empty files
are created, asked for and unlinked; small files are stored and loaded again; 4 KiB pieces of a
large file are read at random. A phase starts when the one before is over. All that is read is
compared with what was written. Stat and reads ask a node each time: nothing comes from a cache.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

import uvloop
from rich.console import Console
from rich.table import Table

from benchfs.client import AsyncClient

CREATE = "create + close"
STAT = "stat"
UNLINK = "unlink"
STORE = "store small file"
LOAD = "load small file"
RANDOM_READ = "read 4 KiB at random"

PIECE_BYTES = 1 << 20
READ_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is done. `file_bytes`: of the file that is read at random, whole MiB.

    `local_reads`: read chunks of this host from their files. ValueError for what cannot be.
    """

    operations: int = 8000
    tasks: int = 32
    file_bytes: int = 64 << 20
    small_bytes: int = 4096
    local_reads: bool = False

    def __post_init__(self) -> None:
        if self.operations < 1 or self.tasks < 1 or self.small_bytes < 0:
            raise ValueError("there must be an operation, a task and a size")
        if self.file_bytes < PIECE_BYTES or self.file_bytes % PIECE_BYTES:
            raise ValueError(f"{self.file_bytes} bytes to read from are no whole MiB")


@dataclass(frozen=True, slots=True)
class Rate:
    """One phase, all tasks together."""

    name: str
    operations: int
    seconds: float
    per_s: float


async def run(cluster: str | None, settings: Settings) -> list[Rate]:
    """All phases in their order. Raises OSError if anything fails or was read wrongly."""
    directory = f"/md-{os.urandom(4).hex()}"
    async with AsyncClient(cluster, local_reads=settings.local_reads) as fs:
        await fs.mkdir(directory)
        try:
            return [
                *await _metadata(fs, directory, settings),
                *await _small_files(fs, directory, settings),
                await _random_reads(fs, f"{directory}/large", settings),
            ]
        finally:
            await fs.rmtree(directory)


async def _metadata(fs: AsyncClient, directory: str, settings: Settings) -> list[Rate]:
    async def create(number: int) -> None:
        await (await fs.open(f"{directory}/{number}", "xb")).close()

    async def stat(number: int) -> None:
        await fs.stat(f"{directory}/{number}")

    async def unlink(number: int) -> None:
        await fs.unlink(f"{directory}/{number}")

    return [
        await _rate(CREATE, create, settings),
        await _rate(STAT, stat, settings),
        await _rate(UNLINK, unlink, settings),
    ]


async def _small_files(fs: AsyncClient, directory: str, settings: Settings) -> list[Rate]:
    data = os.urandom(settings.small_bytes)

    async def store(number: int) -> None:
        await fs.write_bytes(f"{directory}/{number}", data)

    async def load(number: int) -> None:
        path = f"{directory}/{number}"
        require_equal(await fs.read_bytes(path), data, path)

    return [await _rate(STORE, store, settings), await _rate(LOAD, load, settings)]


async def _random_reads(fs: AsyncClient, path: str, settings: Settings) -> Rate:
    data = os.urandom(PIECE_BYTES)
    async with await fs.open(path, "wb") as file:
        for _ in range(settings.file_bytes // PIECE_BYTES):
            await file.write(data)
    rng = random.Random(settings.file_bytes)
    blocks = settings.file_bytes // READ_BYTES
    async with await fs.open(path) as file:

        async def read(_: int) -> None:
            offset = rng.randrange(blocks) * READ_BYTES
            at = offset % PIECE_BYTES
            found = await file.pread(READ_BYTES, offset)
            require_equal(found, data[at : at + READ_BYTES], path)

        return await _rate(RANDOM_READ, read, settings)


async def _rate(name: str, act: Callable[[int], Awaitable[None]], settings: Settings) -> Rate:
    """Time of the tasks that share the operations."""
    numbers = iter(range(settings.operations))

    async def work() -> None:
        for number in numbers:
            await act(number)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(settings.tasks):
            tasks.create_task(work())
    seconds = time.perf_counter() - started
    return Rate(name, settings.operations, seconds, settings.operations / seconds)


def require_equal(found: bytes, expected: bytes, path: str) -> None:
    """OSError if what was read is not what was written."""
    if found != expected:
        raise OSError(f"{path}: what was read is not what was written")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("url", help="of the cluster")
    parser.add_argument("-n", type=int, default=8000, dest="operations", help="of each phase")
    parser.add_argument("--tasks", type=int, default=32, help="operations at a time")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    arguments = parser.parse_args()
    try:
        settings = Settings(arguments.operations, arguments.tasks)
    except ValueError as exc:
        parser.error(str(exc))
    rates = uvloop.run(run(arguments.url, settings))
    if arguments.json:
        json.dump({"settings": asdict(settings), "rates": [asdict(r) for r in rates]}, sys.stdout)
        return
    table = Table("operation", "rate", "seconds", box=None)
    for rate in rates:
        table.add_row(rate.name, f"{rate.per_s:,.0f} /s", f"{rate.seconds:.3f}")
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
