"""The `memory` backend: copies to and from mapped memory; only growing a file is a call.

What it reaches is what this benchmark's own loop and the memory of this host allow, an upper
bound for all others. Files are mapped from a tmpfs (/dev/shm where there is one), so that all
ranks of a host see them; names are the tmpfs's own.
"""

from __future__ import annotations

import mmap
import os

from benchfs.bench.backends.base import Attributes, Entry
from benchfs.bench.backends.posix import PosixBackend, PosixFile
from benchfs.bench.floor import default_directory


class MemoryFile(PosixFile):
    """A mapped file. Grown by allocating, so that a full memory is ENOSPC and not a signal."""

    def __init__(self, descriptor: int, *, writable: bool) -> None:
        super().__init__(descriptor)
        self._access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        self._map: mmap.mmap | None = None
        self._mapped = 0
        self._remap()

    def _remap(self) -> None:
        if self._map is not None:
            self._map.close()
        self._mapped = os.fstat(self._descriptor).st_size
        self._map = (
            mmap.mmap(self._descriptor, self._mapped, access=self._access) if self._mapped else None
        )

    async def write_at(self, data: memoryview, offset: int) -> None:
        """Copy into the mapping."""
        end = offset + len(data)
        if end > self._mapped:
            os.posix_fallocate(self._descriptor, offset, len(data))
            self._remap()
        assert self._map is not None
        self._map[offset:end] = data

    async def read_at(self, buffer: memoryview, offset: int) -> int:
        """Copy out of the mapping."""
        if offset + len(buffer) > self._mapped:
            self._remap()
        if self._map is None:
            return 0
        with memoryview(self._map) as view, view[offset : offset + len(buffer)] as part:
            buffer[: len(part)] = part
            return len(part)

    async def fsync(self) -> None:
        """Memory is where it stays."""

    async def close(self) -> None:
        """Let go of the mapping."""
        if self._map is not None:
            self._map.close()
        os.close(self._descriptor)


class MemoryBackend(PosixBackend):
    """Files below one directory of the host's memory; paths are relative to it."""

    def __init__(self) -> None:
        self._root = default_directory() / f"benchfs-memory-{os.getuid()}"

    async def connect(self) -> None:
        """Make the directory."""
        self._root.mkdir(mode=0o700, exist_ok=True)

    async def close(self) -> None:
        """Remove the directory if nothing was kept in it."""
        try:
            self._root.rmdir()
        except OSError:
            return  # not empty: files were kept, or another rank still works

    def _at(self, path: str) -> str:
        return str(self._root / path.lstrip("/"))

    async def open(self, path: str, mode: str) -> MemoryFile:
        """Open and map a file."""
        file = await super().open(self._at(path), mode)
        return MemoryFile(file._descriptor, writable=mode != "rb")

    async def stat(self, path: str) -> Attributes:
        return await super().stat(self._at(path))

    async def unlink(self, path: str) -> None:
        await super().unlink(self._at(path))

    async def mkdir(self, path: str) -> None:
        await super().mkdir(self._at(path))

    async def makedirs(self, path: str) -> None:
        await super().makedirs(self._at(path))

    async def rmdir(self, path: str) -> None:
        await super().rmdir(self._at(path))

    async def rename(self, source: str, target: str) -> None:
        await super().rename(self._at(source), self._at(target))

    async def entries(self, path: str) -> list[Entry]:
        cut = len(str(self._root))
        return [
            Entry(one.path[cut:], one.is_directory) for one in await super().entries(self._at(path))
        ]

    async def rmtree(self, path: str) -> None:
        await super().rmtree(self._at(path))

    async def sync(self) -> None:
        """Memory is where it stays."""

    async def free_bytes(self, path: str) -> int:
        return await super().free_bytes(str(self._root))
