"""Backends: the few operations that the benchmarks are made of, over different file systems.

All are coroutines so that one loop measures all; those of plain files simply block, as a C
program's would. Paths are absolute or relative to the backend's root. Errors are OSError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """A name found in a directory."""

    path: str
    is_directory: bool


class Attributes(NamedTuple):
    """What is asked of a file: bytes, and nanoseconds since 1970."""

    size: int
    mtime_ns: int


class Counters(NamedTuple):
    """A client's caches since it connected; None for what a backend does not know."""

    cache_hits: int | None = None
    cache_misses: int | None = None
    local_reads: int | None = None

    def since(self, before: Counters) -> Counters:
        """What was counted after `before`."""
        both = zip(self, before, strict=True)
        return Counters(*(None if a is None or b is None else a - b for a, b in both))

    @classmethod
    def sum(cls, parts: Sequence[Counters]) -> Counters:
        """Those of several clients; None stays for what none of them knows."""
        columns = [[v for v in column if v is not None] for column in zip(*parts, strict=True)]
        return cls(*(sum(column) if column else None for column in columns))


class NodeFigures(NamedTuple):
    """One daemon. `cpu_seconds` since it started; None if it runs on another host."""

    node_id: str
    chunk_bytes: int
    chunks: int
    inodes: int
    rss_bytes: int
    cpu_seconds: float | None


class OpenFile(Protocol):
    """An open file of a backend."""

    async def write_at(self, data: memoryview, offset: int) -> None:
        """Write all of `data`."""
        ...

    async def read_at(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer`; fewer bytes at the end of the file only."""
        ...

    async def fsync(self) -> None:
        """As os.fsync."""
        ...

    async def close(self) -> None:
        """Close; raises what earlier writes could not say."""
        ...


class Backend(Protocol):
    """A file system under measurement, of one process."""

    async def connect(self) -> None:
        """Get ready."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...

    async def open(self, path: str, mode: str) -> OpenFile:
        """Open a file with a mode of Python's: rb, r+b, wb, xb."""
        ...

    async def stat(self, path: str) -> Attributes:
        """Attributes of a file or directory."""
        ...

    async def unlink(self, path: str) -> None:
        """Remove a file."""
        ...

    async def mkdir(self, path: str) -> None:
        """Make one directory."""
        ...

    async def makedirs(self, path: str) -> None:
        """Make a directory and what is missing above it; it may exist."""
        ...

    async def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        ...

    async def rename(self, source: str, target: str) -> None:
        """Rename a file or directory."""
        ...

    async def entries(self, path: str) -> list[Entry]:
        """What is in a directory."""
        ...

    async def rmtree(self, path: str) -> None:
        """Remove a directory with all that is in it; nothing happens if it is not there."""
        ...

    async def sync(self) -> None:
        """Bring everything written by anybody to the disks, where the backend can."""
        ...

    async def free_bytes(self, path: str) -> int:
        """How much more can be written, about."""
        ...

    def counters(self) -> Counters:
        """What the caches counted."""
        ...

    async def nodes(self) -> list[NodeFigures]:
        """The daemons, those that answer; none if there are no daemons."""
        ...
