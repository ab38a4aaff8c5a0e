"""One rank's part of a phase: open, move every transfer, close; and how long each took.

All ranks start from a barrier and count time from it, so spans over ranks need no clocks that
agree. Errors of the file system are part of the outcome: the rank still comes to every barrier.
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import NamedTuple

from benchfs.bench.aligned import aligned
from benchfs.bench.backends.base import Backend, OpenFile
from benchfs.bench.ior.order import Offsets
from benchfs.bench.ior.settings import Settings
from benchfs.bench.launch.base import Ranks
from benchfs.bench.outcome import RankPart
from benchfs.bench.pattern import Pattern

WRITE, READ, CHECK = "write", "read", "check"
# Transfers are recorded so many at once: after each MiB that was copied the processor's caches have
# nothing of this program, and what takes 1 µs otherwise takes 8.
BATCH = 1024


class Span(NamedTuple):
    """From and to, in seconds after the phase's first barrier."""

    start: float
    end: float


NO_SPAN = Span(0.0, 0.0)


@dataclass(slots=True)
class Part(RankPart):
    """What one rank did in a phase: bytes and transfers. `errors` counts transfers."""

    opening: Span = NO_SPAN
    moving: Span = NO_SPAN
    closing: Span = NO_SPAN
    transfers: int = 0
    bytes: int = 0

    @property
    def amount(self) -> int:
        return self.bytes

    @property
    def seconds(self) -> float:
        """While transfers were made."""
        return self.moving.end - self.moving.start


@dataclass(frozen=True, slots=True)
class Task:
    """What a rank is to do: `limit` transfers at most, compared with the pattern if `verify`."""

    access: str
    source: int
    limit: int
    verify: bool


class Worker:
    """One rank, with its backend and its pattern."""

    def __init__(
        self, settings: Settings, ranks: Ranks, backend: Backend, pattern: Pattern
    ) -> None:
        self._settings = settings
        self._ranks = ranks
        self._backend = backend
        self._pattern = pattern
        self._origin = 0.0

    async def run(self, task: Task) -> Part:
        """One phase. Raises RankLostError; everything else is in the outcome."""
        part = Part(self._ranks.rank, task.source)
        before = self._backend.counters()
        cpu = time.process_time()
        await self._ranks.exchange(None)
        self._origin = time.perf_counter()
        file = await self._open(task, part)
        if self._settings.barriers:
            await self._ranks.exchange(None)
        part.moving = await self._timed(part, lambda: self._move_all(file, task, part))
        if self._settings.barriers:
            await self._ranks.exchange(None)
        part.closing = await self._timed(part, lambda: _close(file))
        part.cpu_seconds = time.process_time() - cpu
        part.counters = self._backend.counters().since(before)
        return part

    def _now(self) -> float:
        return time.perf_counter() - self._origin

    async def _timed(self, part: Part, act: Callable[[], Coroutine[object, object, None]]) -> Span:
        """The span of `act`; its error, if it is the rank's first, is the rank's failure."""
        start = self._now()
        try:
            await act()
        except OSError as exc:
            part.failure = part.failure or str(exc)
        return Span(start, self._now())

    async def _open(self, task: Task, part: Part) -> OpenFile | None:
        """The file, None if that failed. A shared file is made by one rank, the others wait."""
        found: list[OpenFile] = []
        path = self._settings.path(task.source)

        async def opened(mode: str) -> None:
            found.append(await self._backend.open(path, mode))

        async def create() -> None:
            if self._settings.use_existing:
                with contextlib.suppress(FileNotFoundError):
                    await opened("r+b")
            if not found:
                await opened("wb")

        if task.access != WRITE:
            part.opening = await self._timed(part, lambda: opened("rb"))
            return next(iter(found), None)
        makes = self._settings.file_per_process or self._ranks.rank == 0
        if makes:
            part.opening = await self._timed(part, create)
        if not self._settings.file_per_process:
            failures = await self._ranks.exchange(part.failure)
            if not makes and not failures[0]:
                part.opening = await self._timed(part, lambda: opened("r+b"))
            part.failure = part.failure or failures[0]
        return next(iter(found), None)

    # ------------------------------------------------------------ moving

    async def _move_all(self, file: OpenFile | None, task: Task, part: Part) -> None:
        """All transfers, to the deadline and beyond it where wearing out is asked for."""
        deadline = self._settings.deadline if task.access != CHECK else 0
        failure = part.failure
        try:
            await self._move(file, task, part, task.limit, deadline)
        except OSError as exc:
            failure = str(exc)
        if deadline and self._settings.wear_out:
            if self._now() >= deadline:
                part.stonewall = (self._now(), part.bytes)
            reached = await self._ranks.exchange((part.transfers, failure))
            if not failure and not any(why for _, why in reached):
                most = max(count for count, _ in reached)
                await self._move(file, task, part, min(most, task.limit), 0)
        elif deadline and part.transfers < task.limit:
            part.stonewall = (self._now(), part.bytes)
        if failure:
            raise OSError(failure)
        if task.access == WRITE and self._settings.fsync and file is not None:
            await file.fsync()

    async def _move(
        self, file: OpenFile | None, task: Task, part: Part, limit: int, deadline: int
    ) -> None:
        """Transfers from the last one made up to `limit`, or until the deadline has passed."""
        if file is None:
            return
        size, source, verify = self._settings.transfer, task.source, task.verify
        writes = task.access == WRITE
        offsets = Offsets(self._settings, source, self._ranks.size)
        buffer = aligned(size)
        ends: list[float] = []
        started = now = time.perf_counter()
        last = self._origin + deadline if deadline else float("inf")
        try:
            for number in range(part.transfers, limit):
                if now >= last:
                    break
                offset = offsets[number]
                if writes:
                    await file.write_at(self._pattern.at(source, offset), offset)
                else:
                    count = await file.read_at(buffer, offset)
                    if count != size:
                        text = f"ends at {offset + count}, {size} bytes at {offset}"
                        raise OSError(errno.EIO, text)
                    if verify and not self._pattern.holds(buffer, source, offset):
                        part.errors += 1
                now = time.perf_counter()
                ends.append(now)
                if len(ends) == BATCH:
                    self._record(part, started, ends)
                    started = now = time.perf_counter()
        finally:
            self._record(part, started, ends)

    def _record(self, part: Part, started: float, ends: list[float]) -> None:
        """Take over when transfers ended, each begun at the one before, the first at `started`."""
        size = self._settings.transfer
        for now in ends:
            part.latencies.add(now - started)
            part.timeline.add(now - self._origin, size)
            started = now
        part.transfers += len(ends)
        part.bytes += len(ends) * size
        ends.clear()


async def _close(file: OpenFile | None) -> None:
    if file is not None:
        await file.close()
