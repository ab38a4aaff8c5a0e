"""IOR's core: N client processes write and read blocks in transfers, with barriers between.

A first cut, with IOR's letters: -w -r -t -b -F -N -i. Each client process moves `block` bytes,
of one shared file (its own part) or of a file of its own. Time runs from barrier to barrier,
with open and close. What is read is compared with the pattern that was written.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from typing import NamedTuple

import uvloop

from benchfs.client import AsyncClient

PATTERN_BYTES = 1 << 20
BARRIER_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What is measured; sizes in bytes. ValueError for what cannot be."""

    write: bool
    read: bool
    transfer: int
    block: int
    file_per_process: bool = False
    clients: int = 1
    repetitions: int = 1
    directory: str = "/ior"

    def __post_init__(self) -> None:
        if self.transfer <= 0 or self.block <= 0 or self.block % self.transfer:
            raise ValueError(f"a block of {self.block} bytes is no multiple of {self.transfer}")


@dataclass(frozen=True, slots=True)
class Result:
    """One phase of one repetition, all clients together."""

    access: str
    iteration: int
    seconds: float
    mib_s: float
    operations_s: float
    errors: int  # transfers whose bytes were not what was written


class _Phase(NamedTuple):
    rank: int
    access: str
    iteration: int
    errors: int
    failure: str


class _Run(NamedTuple):
    cluster: str | None
    settings: Settings
    local_reads: bool


def pattern(rank: int, size: int) -> bytes:
    """What rank `rank` writes, again and again: `size` bytes."""
    piece = random.Random(rank).randbytes(min(size, PATTERN_BYTES))
    return (piece * -(-size // len(piece)))[:size]


def run(cluster: str | None, settings: Settings, *, local_reads: bool = True) -> list[Result]:
    """Run all phases. Raises OSError if a client failed, with its words."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(settings.clients + 1, timeout=BARRIER_SECONDS)
    reports: Queue[_Phase] = context.Queue()
    what = _Run(cluster, settings, local_reads)
    processes = [
        context.Process(target=_client, args=(what, rank, barrier, reports))
        for rank in range(settings.clients)
    ]
    uvloop.run(_prepare(cluster, settings))
    for process in processes:
        process.start()
    try:
        results = []
        for iteration in range(settings.repetitions):
            for access in _accesses(settings):
                barrier.wait()
                started = time.perf_counter()
                barrier.wait()
                seconds = time.perf_counter() - started
                phases = [reports.get(timeout=BARRIER_SECONDS) for _ in processes]
                failed = [phase for phase in phases if phase.failure]
                if failed:
                    raise OSError(f"client {failed[0].rank}: {failed[0].failure}")
                results.append(_result(settings, access, iteration, seconds, phases))
        return results
    except BaseException:
        barrier.abort()
        raise
    finally:
        for process in processes:
            process.join(10.0)
            if process.is_alive():
                process.kill()
                process.join()
        uvloop.run(_clean(cluster, settings))


def _accesses(settings: Settings) -> list[str]:
    return [name for name in ("write", "read") if getattr(settings, name)]


def _result(
    settings: Settings, access: str, iteration: int, seconds: float, phases: list[_Phase]
) -> Result:
    size = settings.block * settings.clients
    return Result(
        access,
        iteration,
        seconds,
        size / (1 << 20) / seconds,
        size / settings.transfer / seconds,
        sum(phase.errors for phase in phases),
    )


async def _prepare(cluster: str | None, settings: Settings) -> None:
    async with AsyncClient(cluster) as fs:
        await fs.makedirs(settings.directory, exist_ok=True)
        if settings.write:
            for rank in range(settings.clients if settings.file_per_process else 1):
                await (await fs.open(_path(settings, rank), "wb")).close()


async def _clean(cluster: str | None, settings: Settings) -> None:
    if settings.write:
        async with AsyncClient(cluster) as fs:
            await fs.rmtree(settings.directory)


def _path(settings: Settings, rank: int) -> str:
    suffix = f".{rank:08}" if settings.file_per_process else ""
    return f"{settings.directory}/data{suffix}"


def _client(what: _Run, rank: int, barrier: Barrier, reports: Queue[_Phase]) -> None:
    """One client process: every phase with a client of its own, so nothing is cached."""
    settings = what.settings
    data = pattern(rank, settings.transfer)
    for iteration in range(settings.repetitions):
        for access in _accesses(settings):
            uvloop.run(_phase(what, rank, access, iteration, data, barrier, reports))


async def _phase(  # noqa: PLR0917 (what a phase is made of)
    what: _Run,
    rank: int,
    access: str,
    iteration: int,
    data: bytes,
    barrier: Barrier,
    reports: Queue[_Phase],
) -> None:
    errors, failure = 0, ""
    async with AsyncClient(what.cluster, local_reads=what.local_reads) as fs:
        barrier.wait()
        try:
            errors = await _move(fs, what.settings, rank, access, data)
        except OSError as exc:
            failure = str(exc)
        barrier.wait()
    reports.put(_Phase(rank, access, iteration, errors, failure))


async def _move(fs: AsyncClient, settings: Settings, rank: int, access: str, data: bytes) -> int:
    start = 0 if settings.file_per_process else rank * settings.block
    errors = 0
    path = _path(settings, rank)
    if access == "write":
        async with await fs.open(path, "r+b") as file:
            await file.seek(start)
            for _ in range(settings.block // settings.transfer):
                await file.write(data)
        return 0
    buffer = bytearray(settings.transfer)
    async with await fs.open(path, "rb") as file:
        await file.seek(start)
        for _ in range(settings.block // settings.transfer):
            count = await file.readinto(buffer)
            if count != settings.transfer or buffer != data:
                errors += 1
    return errors
