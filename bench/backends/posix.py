"""The `posix` backend: any path of this host, such as a mount or a disk, by blocking calls.

Calls block the event loop on purpose: one process has one call under way, like a rank of IOR.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from benchfs.bench.backends.base import Attributes, Counters, Entry, NodeFigures

_FLAGS = {
    "rb": os.O_RDONLY,
    "r+b": os.O_RDWR,
    "wb": os.O_RDWR | os.O_CREAT | os.O_TRUNC,
    "xb": os.O_RDWR | os.O_CREAT | os.O_EXCL,
}


class PosixFile:
    """A descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    async def write_at(self, data: memoryview, offset: int) -> None:
        """Write all of `data`."""
        count = os.pwrite(self._descriptor, data, offset)
        while count < len(data):
            data, offset = data[count:], offset + count
            count = os.pwrite(self._descriptor, data, offset)

    async def read_at(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer`."""
        count = os.preadv(self._descriptor, (buffer,), offset)
        total = count
        while count and total < len(buffer):
            count = os.preadv(self._descriptor, (buffer[total:],), offset + total)
            total += count
        return total

    async def fsync(self) -> None:
        """As os.fsync."""
        os.fsync(self._descriptor)

    async def close(self) -> None:
        """As os.close."""
        os.close(self._descriptor)


class PosixBackend:
    """The host's own file systems."""

    async def connect(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def open(self, path: str, mode: str) -> PosixFile:
        """Open a file."""
        return PosixFile(os.open(path, _FLAGS[mode], 0o666))

    async def stat(self, path: str) -> Attributes:
        """Attributes."""
        found = os.stat(path)
        return Attributes(found.st_size, found.st_mtime_ns)

    async def unlink(self, path: str) -> None:
        """Remove a file."""
        os.unlink(path)

    async def mkdir(self, path: str) -> None:
        """Make one directory."""
        os.mkdir(path)

    async def makedirs(self, path: str) -> None:
        """Make a directory and what is missing above it."""
        Path(path).mkdir(parents=True, exist_ok=True)

    async def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        os.rmdir(path)

    async def rename(self, source: str, target: str) -> None:
        """Rename."""
        os.rename(source, target)

    async def entries(self, path: str) -> list[Entry]:
        """What is in a directory."""
        with os.scandir(path) as found:
            return [Entry(one.path, one.is_dir(follow_symlinks=False)) for one in found]

    async def rmtree(self, path: str) -> None:
        """Remove a directory with all that is in it."""
        if Path(path).exists():
            shutil.rmtree(path)

    async def sync(self) -> None:
        """As the command sync."""
        os.sync()

    async def free_bytes(self, path: str) -> int:
        """What the disk of the nearest directory that exists has left."""
        place = Path(path).absolute()
        while not place.exists():
            place = place.parent
        return shutil.disk_usage(place).free

    def counters(self) -> Counters:
        """The kernel's caches do not count for us."""
        return Counters()

    async def nodes(self) -> list[NodeFigures]:
        """There are none."""
        return []
