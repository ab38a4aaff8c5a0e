"""IOR's core: N client processes write and read blocks in transfers, with barriers between.

With IOR's letters: -w -r -e -k -t -b -F -N -i. Each client process moves `block` bytes, of one
shared file (its own part) or of a file of its own. Time runs from barrier to barrier, with open
and close. What is read is compared with what the same place had been given, within the time.
"""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from typing import NamedTuple

import uvloop

from benchfs.bench.pattern import Pattern
from benchfs.client import AsyncClient

BARRIER_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What is measured; sizes in bytes. ValueError for what cannot be.

    `fsync`: after a client's last write. `keep`: the files stay. `verify`: compare what is read.
    """

    write: bool
    read: bool
    transfer: int
    block: int
    file_per_process: bool = False
    clients: int = 1
    repetitions: int = 1
    directory: str = "/ior"
    fsync: bool = False
    keep: bool = False
    verify: bool = True

    def __post_init__(self) -> None:
        if not (self.write or self.read):
            raise ValueError("neither writing nor reading: there is nothing to do")
        if self.transfer <= 0 or self.block <= 0 or self.block % self.transfer:
            raise ValueError(f"a block of {self.block} bytes is no multiple of {self.transfer}")
        if self.clients < 1 or self.repetitions < 1:
            raise ValueError("there must be a client and a repetition")

    @property
    def accesses(self) -> list[str]:
        """The phases of a repetition, in their order."""
        return [name for name in ("write", "read") if getattr(self, name)]

    @property
    def transfers(self) -> int:
        """How many transfers each client makes in a phase."""
        return self.block // self.transfer

    def path(self, rank: int) -> str:
        """The file that a client works on."""
        suffix = f".{rank:08}" if self.file_per_process else ""
        return f"{self.directory}/data{suffix}"

    def paths(self) -> list[str]:
        """All files."""
        return [self.path(rank) for rank in range(self.clients if self.file_per_process else 1)]

    def start(self, rank: int) -> int:
        """Where the client's block begins in its file."""
        return 0 if self.file_per_process else rank * self.block


@dataclass(frozen=True, slots=True)
class Result:
    """One phase of one repetition, all clients together; the columns of IOR's table.

    `open_s`, `move_s` and `close_s` are those of the slowest client, `latency_s` the mean time of
    a transfer, `seconds` from barrier to barrier. `errors`: transfers that were read with other
    bytes than were written.
    """

    access: str
    iteration: int
    mib_s: float
    operations_s: float
    latency_s: float
    open_s: float
    move_s: float
    close_s: float
    seconds: float
    errors: int


class _Times(NamedTuple):
    """Of one client: seconds of each step, and transfers that were read wrongly."""

    open_s: float = 0.0
    move_s: float = 0.0
    close_s: float = 0.0
    errors: int = 0


class _Phase(NamedTuple):
    rank: int
    times: _Times
    failure: str


class _Run(NamedTuple):
    cluster: str | None
    settings: Settings
    local_reads: bool


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
    made = settings.write and uvloop.run(_prepare(cluster, settings))
    try:
        for process in processes:
            process.start()
        return [
            _phase(settings, access, iteration, barrier, reports)
            for iteration in range(settings.repetitions)
            for access in settings.accesses
        ]
    except BaseException:
        barrier.abort()
        raise
    finally:
        for process in processes:
            if process.pid is not None:
                process.join(10.0)
                if process.is_alive():
                    process.kill()
                    process.join()
        if settings.write and not settings.keep:
            uvloop.run(_clean(cluster, settings, made_directory=made))


def _phase(
    settings: Settings, access: str, iteration: int, barrier: Barrier, reports: Queue[_Phase]
) -> Result:
    """Let the clients go, wait for all, and sum up."""
    barrier.wait()
    started = time.perf_counter()
    barrier.wait()
    seconds = time.perf_counter() - started
    phases = [reports.get(timeout=BARRIER_SECONDS) for _ in range(settings.clients)]
    failed = [phase for phase in phases if phase.failure]
    if failed:
        raise OSError(f"client {failed[0].rank}: {failed[0].failure}")
    all_times = [phase.times for phase in phases]
    size = settings.block * settings.clients
    return Result(
        access,
        iteration,
        mib_s=size / (1 << 20) / seconds,
        operations_s=size / settings.transfer / seconds,
        latency_s=sum(times.move_s for times in all_times) * settings.transfer / size,
        open_s=max(times.open_s for times in all_times),
        move_s=max(times.move_s for times in all_times),
        close_s=max(times.close_s for times in all_times),
        seconds=seconds,
        errors=sum(times.errors for times in all_times),
    )


async def _prepare(cluster: str | None, settings: Settings) -> bool:
    """Make empty files to write to; whether the directory is new."""
    async with AsyncClient(cluster) as fs:
        made = not await fs.exists(settings.directory)
        await fs.makedirs(settings.directory, exist_ok=True)
        for path in settings.paths():
            await (await fs.open(path, "wb")).close()
        return made


async def _clean(cluster: str | None, settings: Settings, *, made_directory: bool) -> None:
    """Remove the files; the directory too, if it was made for them and nothing else is in it."""
    async with AsyncClient(cluster) as fs:
        for path in settings.paths():
            with contextlib.suppress(FileNotFoundError):
                await fs.unlink(path)
        if made_directory:
            try:
                await fs.rmdir(settings.directory)
            except OSError as exc:
                if exc.errno != errno.ENOTEMPTY:
                    raise


# ---------------------------------------------------------------- in a client process


def _client(what: _Run, rank: int, barrier: Barrier, reports: Queue[_Phase]) -> None:
    """Every phase with a file system client of its own, so nothing is cached."""
    settings = what.settings
    pattern = Pattern(settings.transfer)
    for _ in range(settings.repetitions):
        for access in settings.accesses:
            uvloop.run(_take_part(what, rank, access, pattern, barrier, reports))


async def _take_part(  # noqa: PLR0917 (what a phase is made of)
    what: _Run,
    rank: int,
    access: str,
    pattern: Pattern,
    barrier: Barrier,
    reports: Queue[_Phase],
) -> None:
    """One phase; it comes to both barriers whatever fails, so the others do not wait."""
    times, failure = _Times(), ""
    fs = AsyncClient(what.cluster, local_reads=what.local_reads)
    try:
        await fs.connect()
    except OSError as exc:
        failure = str(exc)
    barrier.wait()
    if not failure:
        try:
            times = await _move(fs, what.settings, rank, access, pattern)
        except OSError as exc:
            failure = str(exc)
    barrier.wait()
    reports.put(_Phase(rank, times, failure))
    with contextlib.suppress(OSError):  # an error of the files was met above, at their close
        await fs.close()


async def _move(
    fs: AsyncClient, settings: Settings, rank: int, access: str, pattern: Pattern
) -> _Times:
    """Open, move every transfer of the block, close."""
    start = settings.start(rank)
    offsets = range(start, start + settings.block, settings.transfer)
    errors = 0
    began = time.perf_counter()
    async with await fs.open(settings.path(rank), "r+b" if access == "write" else "rb") as file:
        opened = time.perf_counter()
        await file.seek(start)
        if access == "write":
            for offset in offsets:
                await file.write(pattern.at(rank, offset))
            if settings.fsync:
                await file.fsync()
        else:
            buffer = bytearray(settings.transfer)
            for offset in offsets:
                count = await file.readinto(buffer)
                if count != settings.transfer:
                    raise OSError(errno.EIO, f"ends at {offset + count}", file.name)
                if settings.verify and not pattern.holds(buffer, rank, offset):
                    errors += 1
        moved = time.perf_counter()
    return _Times(opened - began, moved - opened, time.perf_counter() - moved, errors)
