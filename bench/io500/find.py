"""IO500's find: all ranks look through the tree, directory by directory.

Wanted are files newer than the timestamp, of 3901 bytes, with 01 in their name. Every entry
counts as an operation; the size and the time are asked for where the name fits. The ranks share
the directories of each level of the tree; one directory is read by one rank.
"""

from __future__ import annotations

import posixpath
import time
from dataclasses import dataclass, field

from benchfs.bench.backends.base import Backend
from benchfs.bench.launch.base import Ranks, StoppedError
from benchfs.bench.samples import Latencies, Timeline

NAME_PART = "01"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for."""

    newer_than_ns: int
    size: int


@dataclass(slots=True)
class Found:
    """What one rank saw: entries, those that match, directories to look into."""

    rank: int
    total: int = 0
    matches: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    directories: list[str] = field(default_factory=list)
    latencies: Latencies = field(default_factory=Latencies)
    timeline: Timeline = field(default_factory=Timeline)
    failure: str = ""


async def find(ranks: Ranks, backend: Backend, root: str, wanted: Wanted) -> list[Found]:
    """Look through `root`; what every rank saw, on every rank. StoppedError if one failed."""
    await ranks.exchange(None)
    origin, cpu = time.perf_counter(), time.process_time()
    seen = Found(ranks.rank)
    level = [root]
    while level:
        seen.directories = []
        try:
            for path in level[ranks.rank :: ranks.size]:
                await _look(backend, path, wanted, seen, origin)
        except OSError as exc:
            seen.failure = str(exc)
        seen.seconds = time.perf_counter() - origin
        seen.cpu_seconds = time.process_time() - cpu
        everybody = await ranks.exchange(seen)
        for one in everybody:
            if one.failure:
                raise StoppedError(f"find: rank {one.rank}: {one.failure}")
        level = [path for one in everybody for path in one.directories]
    return await ranks.exchange(seen)


async def _look(backend: Backend, path: str, wanted: Wanted, seen: Found, origin: float) -> None:
    """One directory."""
    began = time.perf_counter()
    entries = await backend.entries(path)
    now = time.perf_counter()
    seen.latencies.add(now - began)
    seen.timeline.add(now - origin, len(entries))
    seen.total += len(entries)
    for entry in entries:
        if entry.is_directory:
            seen.directories.append(entry.path)
        elif NAME_PART in posixpath.basename(entry.path):
            found = await backend.stat(entry.path)
            if found.size == wanted.size and found.mtime_ns > wanted.newer_than_ns:
                seen.matches += 1
