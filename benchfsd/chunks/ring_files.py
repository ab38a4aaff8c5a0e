"""Chunk files whose waits for the disk are io_uring operations of the loop's ring.

What need not wait stays a plain system call: a write copies into the page cache, a read of
cached bytes out of it, and neither is cheaper through a ring. What has to wait, bytes that are
not in memory, is read by the ring, many pieces at once and without a thread. Flushes stay in a
thread: uring-api 0.1 has no fsync. `docs/decisions/005-chunk-files-on-the-ring.md`: figures.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from benchfs.rpc import ring as rings
from benchfsd.chunks.files import MAX_OPEN, DiskChunkFiles
from benchfsd.database import FatalStorageError

if TYPE_CHECKING:
    from uring_api import Completion

# A read of the ring: large enough for a disk to stream, and a chunk of 4 MiB is four of them.
PIECE_BYTES = 1024 * 1024
# Reads under way at the same time, of all requests: what a fast disk wants in its queue.
READS_MOST = 64


class RingChunkFiles(DiskChunkFiles):
    """DiskChunkFiles that fetches through the running loop's ring. Raises OSError without one."""

    def __init__(
        self,
        data_directory: str | os.PathLike[str],
        *,
        durable: bool,
        on_fatal: Callable[[FatalStorageError], object],
        max_open: int = MAX_OPEN,
    ) -> None:
        super().__init__(data_directory, durable=durable, on_fatal=on_fatal, max_open=max_open)
        self._ring = rings.hold()
        self._reading: dict[asyncio.Future[None], Completion] = {}
        self._room = asyncio.Semaphore(READS_MOST)
        self._scratch = memoryview(bytearray(PIECE_BYTES))  # of all reads: nobody looks at it
        self._closed = False

    async def fetch(self, ino: int, index: int, offset: int, length: int) -> None:
        try:
            # A duplicate: the cache may close its descriptor while the kernel reads.
            descriptor = os.dup(self._descriptor(ino, index))
        except FileNotFoundError:
            return
        try:
            pieces = range(offset, offset + length, PIECE_BYTES)
            end = offset + length
            await asyncio.gather(
                *[self._read(descriptor, at, min(PIECE_BYTES, end - at)) for at in pieces]
            )
        finally:
            os.close(descriptor)

    async def _read(self, descriptor: int, offset: int, length: int) -> None:
        """Bring a piece into memory. That it fails is seen by who then reads it."""
        async with self._room:
            if self._closed:
                raise OSError(errno.EBADF, "the chunk files are closed")
            read: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def done(_result: int, _flags: int) -> None:
                self._reading.pop(read, None)
                if not read.done():
                    read.set_result(None)

            into = self._scratch[:length]
            self._reading[read] = self._ring.read(descriptor, into, offset, done)
            try:
                await read
            except asyncio.CancelledError:
                if read in self._reading:
                    self._ring.settle(self._reading.pop(read))
                raise

    def close(self) -> None:
        super().close()
        if not self._closed:
            self._closed = True
            while self._reading:
                self._ring.settle(self._reading.popitem()[1])
            self._ring.let_go()
