"""One rank's part of a phase of mdtest: an operation on each of its items, and how long it took."""

from __future__ import annotations

import errno
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from benchfs.bench.aligned import aligned
from benchfs.bench.backends.base import Backend
from benchfs.bench.launch.base import Ranks
from benchfs.bench.mdtest.settings import Settings
from benchfs.bench.mdtest.tree import RENAMED, Tree
from benchfs.bench.outcome import RankPart
from benchfs.bench.pattern import Pattern

TREE_CREATION = "Tree creation"
TREE_REMOVAL = "Tree removal"
DIRECTORY_CREATION = "Directory creation"
DIRECTORY_STAT = "Directory stat"
DIRECTORY_RENAME = "Directory rename"
DIRECTORY_REMOVAL = "Directory removal"
FILE_CREATION = "File creation"
FILE_STAT = "File stat"
FILE_READ = "File read"
FILE_REMOVAL = "File removal"

# How many strides away the task is whose items an operation works on.
STRIDES = {
    DIRECTORY_STAT: 1,
    DIRECTORY_RENAME: 2,
    DIRECTORY_REMOVAL: 3,
    FILE_STAT: 1,
    FILE_READ: 2,
    FILE_REMOVAL: 3,
}

Act = Callable[[int, str], Awaitable[None]]


@dataclass(slots=True)
class Part(RankPart):
    """What one rank did in a phase: `seconds` from the barrier to the end of its work."""

    items: int = 0
    seconds: float = 0.0

    @property
    def amount(self) -> int:
        return self.items


class Worker:
    """One rank, with its backend and what it writes."""

    def __init__(self, settings: Settings, ranks: Ranks, backend: Backend) -> None:
        self._settings = settings
        self._ranks = ranks
        self._backend = backend
        self._pattern = Pattern(max(settings.write_bytes, settings.read_bytes, 1))
        self._buffer = aligned(settings.read_bytes)
        self._errors = 0
        self._acts: dict[str, Act] = {
            TREE_CREATION: lambda _, path: backend.mkdir(path),
            TREE_REMOVAL: lambda _, path: backend.rmdir(path),
            DIRECTORY_CREATION: lambda _, path: backend.mkdir(path),
            DIRECTORY_STAT: self._stat,
            DIRECTORY_RENAME: lambda _, path: backend.rename(path, path + RENAMED),
            DIRECTORY_REMOVAL: lambda _, path: backend.rmdir(path + RENAMED),
            FILE_CREATION: self._create,
            FILE_STAT: self._stat,
            FILE_READ: self._read,
            FILE_REMOVAL: lambda _, path: backend.unlink(path),
        }

    async def run(self, operation: str, tree: Tree, items: int) -> Part:
        """One phase over `items` items. Raises RankLostError; all else is in the part."""
        ranks, settings = self._ranks, self._settings
        source = (ranks.rank + STRIDES.get(operation, 0) * settings.stride) % ranks.size
        part = Part(ranks.rank, source)
        before, self._errors = self._backend.counters(), 0
        cpu = time.process_time()
        await ranks.exchange(None)
        origin = time.perf_counter()
        try:
            if operation in {TREE_CREATION, TREE_REMOVAL}:
                await self._do(operation, self._directories(operation, tree), part, origin)
            else:
                await self._items(operation, tree, items, part, origin)
            if settings.sync:
                await self._backend.sync()
        except OSError as exc:
            part.failure = part.failure or str(exc)
        part.seconds = time.perf_counter() - origin
        part.cpu_seconds = time.process_time() - cpu
        part.counters = self._backend.counters().since(before)
        part.errors = self._errors
        return part

    def _directories(self, operation: str, tree: Tree) -> Iterable[tuple[int, str]]:
        """Those that this rank makes or removes: the inner ones are removed first."""
        if self._ranks.rank and not self._settings.unique_directory:
            return []
        found = list(tree.directories(self._ranks.rank))
        return enumerate(found if operation == TREE_CREATION else reversed(found))

    async def _items(
        self, operation: str, tree: Tree, items: int, part: Part, origin: float
    ) -> None:
        """All items; creating stops at the deadline, and goes on to what the fastest has."""
        kind = "file" if operation.startswith("File") else "dir"
        source = part.source
        creating = operation in {FILE_CREATION, DIRECTORY_CREATION}
        deadline = self._settings.deadline if creating else 0
        failure = ""
        try:
            todo = tree.items(source, kind, 0, items)
            await self._do(operation, todo, part, origin, deadline)
        except OSError as exc:
            failure = str(exc)
        if deadline:
            elapsed = time.perf_counter() - origin
            if elapsed >= deadline:
                part.stonewall = (elapsed, part.items)
            reached = await self._ranks.exchange((part.items, failure))
            if not any(why for _, why in reached):
                most = max(count for count, _ in reached)
                todo = tree.items(source, kind, part.items, most)
                await self._do(operation, todo, part, origin)
        if failure:
            raise OSError(failure)

    async def _do(
        self,
        operation: str,
        todo: Iterable[tuple[int, str]],
        part: Part,
        origin: float,
        deadline: int = 0,
    ) -> None:
        act = self._acts[operation]
        end = origin + deadline if deadline else float("inf")
        add_latency, add_done = part.latencies.add, part.timeline.add
        began = time.perf_counter()
        for number, path in todo:
            if began >= end:
                break
            await act(number, path)
            now = time.perf_counter()
            add_latency(now - began)
            add_done(now - origin, 1)
            part.items += 1
            began = now

    # ------------------------------------------------------------ operations

    async def _create(self, number: int, path: str) -> None:
        file = await self._backend.open(path, "xb")
        try:
            if size := self._settings.write_bytes:
                await file.write_at(self._pattern.at(0, number)[:size], 0)
            if self._settings.fsync:
                await file.fsync()
        finally:
            await file.close()

    async def _stat(self, _: int, path: str) -> None:
        await self._backend.stat(path)

    async def _read(self, number: int, path: str) -> None:
        file = await self._backend.open(path, "rb")
        try:
            if size := self._settings.read_bytes:
                count = await file.read_at(self._buffer, 0)
                if count != size:
                    raise OSError(errno.EIO, f"has {count} bytes, {size} are wanted", path)
                if self._settings.verify and not self._pattern.holds(self._buffer, 0, number):
                    self._errors += 1
        finally:
            await file.close()
