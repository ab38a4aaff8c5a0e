"""Files with holes, as a client handles them: finding data, allocating space, punching holes."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Iterator

from benchfs.cluster import Cluster, Intent
from benchfs.errors import BenchFSError, error, from_rpc
from benchfs.inode_handle import InodeHandle
from benchfs.layout import Piece, pieces
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    AllocateChunk,
    CopyChunk,
    ExtentRecord,
    MapData,
    MapDataReply,
    PunchChunk,
)
from benchfs.writing import STALE_WAIT_SECONDS

AT_ONCE = 32  # requests of one call

ChangeOfChunk = Callable[
    [Piece, int], AllocateChunk | CopyChunk | PunchChunk
]  # the epoch comes second


class SparseFile:
    """The holes of one open file. `touched` is called with each group whose chunks change."""

    def __init__(
        self, cluster: Cluster, inode: InodeHandle, touched: Callable[[int], None]
    ) -> None:
        self._cluster = cluster
        self._inode = inode
        self._touched = touched
        self._loop = asyncio.get_running_loop()

    # ------------------------------------------------------------ finding

    async def extents(self, intent: Intent, start: int, end: int) -> AsyncIterator[ExtentRecord]:
        """Where there is data from `start` up to `end`, ascending, none touching another."""
        last: ExtentRecord | None = None
        async for extent in self._parts(intent, start, end):
            if last is not None and extent.start > last.end:
                yield last
                last = None
            last = extent if last is None else ExtentRecord(last.start, max(last.end, extent.end))
        if last is not None:
            yield last

    async def _parts(self, intent: Intent, start: int, end: int) -> AsyncIterator[ExtentRecord]:
        """The same in parts that may touch. All nodes are asked, page by page."""
        while start < end:
            found, until = await self._page(intent, start)
            for extent in found:
                if extent.start >= min(until, end):
                    break
                yield ExtentRecord(extent.start, min(extent.end, until, end))
            start = until

    async def seek(self, intent: Intent, offset: int, size: int, whence: int) -> int:
        """The next data or hole from `offset` on; the end of the file is a hole. ENXIO."""
        if not 0 <= offset < size:
            raise error(errno.ENXIO, "seek", self._inode.path, text=f"{offset} is not in the file")
        if whence == os.SEEK_DATA:
            async for part in self._parts(intent, offset, size):
                return part.start
            raise error(errno.ENXIO, "seek", self._inode.path, text=f"no data after {offset}")
        async for extent in self.extents(intent, offset, size):
            return offset if extent.start > offset else extent.end
        return offset

    async def _page(self, intent: Intent, start: int) -> tuple[list[ExtentRecord], int]:
        inode, cluster_map = self._inode, self._cluster.map
        request = MapData(inode.ino, inode.layout.chunk_size, start)
        groups = inode.layout.stripe or range(cluster_map.group_count)
        nodes = sorted({cluster_map.primary(group) for group in groups})
        answers = await asyncio.gather(
            *[self._cluster.call_node(intent, node, request) for node in nodes]
        )
        replies = [answer.message for answer in answers if isinstance(answer.message, MapDataReply)]
        extents = sorted(extent for reply in replies for extent in reply.extents)
        return extents, min(reply.until for reply in replies)

    # ------------------------------------------------------------ changing

    async def punch(self, intent: Intent, start: int, end: int) -> None:
        """Make the bytes a hole, where they are not one already."""
        ino = self._inode.ino

        def request(piece: Piece, truncation: int) -> PunchChunk:
            return PunchChunk(ino, piece.index, truncation, piece.offset, piece.length)

        async for extent in self.extents(intent, start, end):
            await self._change(intent, extent.start, extent.end, request)

    async def allocate(self, intent: Intent, start: int, end: int) -> None:
        """Have the disks' space for these bytes. ENOSPC: some of it may be allocated then."""
        ino = self._inode.ino

        def request(piece: Piece, truncation: int) -> AllocateChunk:
            return AllocateChunk(ino, piece.index, truncation, piece.offset, piece.length)

        await self._change(intent, start, end, request)

    async def _change(self, intent: Intent, start: int, end: int, request: ChangeOfChunk) -> None:
        """Send one request a chunk, so many at once."""
        await self.change(
            intent, pieces(start, end - start, self._inode.layout.chunk_size), request
        )

    async def change(
        self, intent: Intent, waiting: Iterator[Piece], request: ChangeOfChunk
    ) -> None:
        """Send one request a piece, so many at once, repeated under the epoch that holds."""

        async def work() -> None:
            for piece in waiting:
                await self._change_chunk(intent, piece, request)

        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(AT_ONCE):
                    tasks.create_task(work())
        except* BenchFSError as failures:
            raise failures.exceptions[0] from None

    async def _change_chunk(self, intent: Intent, piece: Piece, request: ChangeOfChunk) -> None:
        inode = self._inode
        group = inode.group_of(piece.index)
        while True:
            truncation = inode.attributes.truncation
            try:
                await self._cluster.mutate(intent, group, request(piece, truncation))
                self._touched(group)
                return
            except RemoteError as exc:  # the file was cut meanwhile
                if self._loop.time() >= intent.deadline:
                    raise from_rpc(exc, intent.operation, inode.path) from exc
                if truncation == (await inode.refresh(intent)).truncation:
                    await asyncio.sleep(STALE_WAIT_SECONDS)
