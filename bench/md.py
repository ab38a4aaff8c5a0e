"""Rates of metadata and small files, as users of mdtest know them, of one process's part.

Many tasks at a time, all in one new directory: empty files are created, asked for, renamed and
unlinked; small files are stored and loaded again; the directory is listed; directories are made
and removed; 4 KiB pieces of a large file are read at random. A phase starts when the one before
is over. All that is read is compared with what was written. Stat and reads ask a node each time:
nothing comes from a cache. How several processes do this together is in `md_processes.py`.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from benchfs.client import AsyncClient

CREATE = "create + close"
STAT = "stat"
RENAME = "rename"
UNLINK = "unlink"
STORE = "store small file"
LOAD = "open + read small file"
LIST = "readdir, entries"
MAKE = "mkdir"
REMOVE = "rmdir"
RANDOM_READ = "read 4 KiB at random"

Act = Callable[[int], Awaitable[object]]

PIECE_BYTES = 1 << 20
READ_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is done. `file_bytes`: of the file that is read at random, whole MiB.

    `operations`: of each phase, by all processes together; `tasks`: operations at a time, of each
    process. `local_reads`: read chunks of this host from their files. ValueError for what cannot
    be.
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
    """One phase, all tasks together.

    `requests`: that the clients sent for each operation; `client_cpu_us`: their processor time for
    each, in microseconds.
    """

    name: str
    operations: int
    seconds: float
    per_s: float
    requests: float
    client_cpu_us: float


class Done(NamedTuple):
    """What one process did in a phase."""

    name: str
    operations: int
    seconds: float
    cpu_seconds: float
    requests: int


async def run(cluster: str | None, settings: Settings) -> list[Rate]:
    """All phases by one process. Raises OSError if anything fails or was read wrongly."""
    directory = new_directory()
    async with AsyncClient(cluster, local_reads=settings.local_reads) as fs:
        await fs.mkdir(directory)
        try:
            work = Work(fs, directory, settings)
            rates = [rate([await phase()]) for phase in work.phases()]
            return [*rates, rate([await work.random_reads()])]
        finally:
            await fs.rmtree(directory)


async def random_reads(cluster: str | None, settings: Settings) -> Rate:
    """The last phase alone, of a file that is removed again."""
    directory = new_directory()
    async with AsyncClient(cluster, local_reads=settings.local_reads) as fs:
        await fs.mkdir(directory)
        try:
            return rate([await Work(fs, directory, settings).random_reads()])
        finally:
            await fs.rmtree(directory)


def new_directory() -> str:
    """A name that nobody has."""
    return f"/md-{os.urandom(4).hex()}"


def rate(parts: list[Done]) -> Rate:
    """Of processes that began a phase together: it took as long as the slowest of them."""
    operations = sum(part.operations for part in parts)
    seconds = max(part.seconds for part in parts)
    requests = sum(part.requests for part in parts) / operations
    cpu_us = sum(part.cpu_seconds for part in parts) / operations * 1e6
    return Rate(parts[0].name, operations, seconds, operations / seconds, requests, cpu_us)


class Work:
    """The part that process `rank` of `size` has in every phase."""

    def __init__(
        self, fs: AsyncClient, directory: str, settings: Settings, rank: int = 0, size: int = 1
    ) -> None:
        self._fs = fs
        self._directory = directory
        self._settings = settings
        # so many operations in all, as evenly as can be, and no process without any
        self._count = max(1, (settings.operations + size - 1 - rank) // size)
        self._entries = sum(max(1, (settings.operations + n) // size) for n in range(size))
        self._path = f"{directory}/{rank}."
        self._small = os.urandom(settings.small_bytes)

    def phases(self) -> list[Callable[[], Awaitable[Done]]]:
        """One after the other. They raise OSError if anything fails or was read wrongly."""
        fs, path, small = self._fs, self._path, self._small

        async def create(number: int) -> None:
            await (await fs.open(f"{path}{number}", "xb")).close()

        async def load(number: int) -> None:
            require_equal(await fs.read_bytes(f"{path}{number}"), small, f"{path}{number}")

        acts: dict[str, Act] = {
            CREATE: create,
            STAT: lambda number: fs.stat(f"{path}{number}"),
            RENAME: lambda number: fs.rename(f"{path}{number}", f"{path}{number}.renamed"),
            UNLINK: lambda number: fs.unlink(f"{path}{number}.renamed"),
            STORE: lambda number: fs.write_bytes(f"{path}{number}", small),
            LOAD: load,
            MAKE: lambda number: fs.mkdir(f"{path}{number}.directory", wide=False),
            REMOVE: lambda number: fs.rmdir(f"{path}{number}.directory"),
        }
        found = {name: partial(self._all, name, act) for name, act in acts.items()}
        return [*found.values(), self._listing]

    async def random_reads(self) -> Done:
        """Reads of a large file, which is written first."""
        fs, path = self._fs, f"{self._path}large"
        data = os.urandom(PIECE_BYTES)
        async with await fs.open(path, "wb") as file:
            for _ in range(self._settings.file_bytes // PIECE_BYTES):
                await file.write(data)
        rng = random.Random(self._settings.file_bytes)
        blocks = self._settings.file_bytes // READ_BYTES
        async with await fs.open(path) as file:

            async def read(_: int) -> None:
                offset = rng.randrange(blocks) * READ_BYTES
                at = offset % PIECE_BYTES
                found = await file.pread(READ_BYTES, offset)
                require_equal(found, data[at : at + READ_BYTES], path)

            return await self._all(RANDOM_READ, read)

    async def _listing(self) -> Done:
        """The whole directory, with what all processes have in it."""
        end = self._begin()
        found = len(await self._fs.listdir(self._directory))
        done = end(LIST, found)
        if found != self._entries:
            raise OSError(f"{self._directory}: {found} entries were listed of {self._entries}")
        return done

    async def _all(self, name: str, act: Act) -> Done:
        """Time of the tasks that share the operations."""
        numbers = iter(range(self._count))

        async def work() -> None:
            for number in numbers:
                await act(number)

        end = self._begin()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._settings.tasks):
                tasks.create_task(work())
        return end(name, self._count)

    def _begin(self) -> Callable[[str, int], Done]:
        """A phase begins; what is returned ends it."""
        requests, cpu, started = self._fs.requests, time.process_time(), time.perf_counter()

        def end(name: str, operations: int) -> Done:
            seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
            return Done(name, operations, seconds, cpu_seconds, self._fs.requests - requests)

        return end


def require_equal(found: bytes, expected: bytes, path: str) -> None:
    """OSError if what was read is not what was written."""
    if found != expected:
        raise OSError(f"{path}: what was read is not what was written")
