"""The read path: local loan or ReadChunk, verified; segments for the cache, read ahead.

`ChunkReader` fills a caller's buffer with part of a chunk. `SegmentReader` does so by way of
the chunk cache, for sequential access, and fetches the segments that will be wanted next.
Bytes that fail their check are asked for once more, then an error; a hole reads as zeros
only when the node that keeps the chunk said that nothing is there.
"""

from __future__ import annotations

import asyncio
import errno

from benchfs.budget import ByteBudget
from benchfs.cache import SEGMENT_BYTES, ChunkCache, SegmentKey
from benchfs.checks import verify_pieces
from benchfs.cluster import Cluster, Intent
from benchfs.errors import error
from benchfs.inode import READ
from benchfs.inode_handle import InodeHandle
from benchfs.loans import LocalChunks
from benchfs.rpc.messages import ReadChunk, ReadChunkReply

# From this size on a read goes over the connection for bulk, and counts in the budget.
BULK_BYTES = 64 * 1024
# A read of this size is worth borrowing the chunk at first sight; smaller ones at the second.
BORROW_BYTES = 256 * 1024
ATTEMPTS = 2


class ChunkReader:
    """Reads parts of chunks. `local` is None when local reads are off."""

    def __init__(self, cluster: Cluster, budget: ByteBudget, local: LocalChunks | None) -> None:
        self._cluster = cluster
        self._budget = budget
        self._local = local
        self._seen: dict[tuple[int, int], None] = {}  # chunks read once, of the last thousand

    def read_local(self, inode: InodeHandle, index: int, offset: int, into: memoryview) -> bool:
        """Fill `into` from a loan that is there already; False if there is none."""
        if self._local is None:
            return False
        count = self._local.read(inode.ino, index, offset, into)
        if count is None:
            return False
        _zero(into[count:])
        return True

    def may_borrow(self, inode: InodeHandle, index: int) -> bool:
        """Whether the chunk may be read locally: reading it ahead would only copy it."""
        return self._local is not None and self._local.may_borrow(
            inode.group_of(index), inode.ino, index
        )

    async def read(
        self,
        intent: Intent,
        inode: InodeHandle,
        index: int,
        offset: int,
        into: memoryview,
        *,
        follow: bool = False,
    ) -> None:
        """Fill `into` with the chunk's bytes from `offset` on. Raises BenchFSError.

        `follow`: more of the chunk will be read, so borrowing it pays.
        """
        if self._local is not None:
            if self.read_local(inode, index, offset, into):
                return
            if follow or self._worth_borrowing(inode.ino, index, len(into)):
                group = inode.group_of(index)
                if await self._local.borrow(intent, group, inode.ino, index) and self.read_local(
                    inode, index, offset, into
                ):
                    return
        size = len(into)
        if size < BULK_BYTES:
            await self._ask(intent, inode, index, offset, into, "calls")
            return
        await self._budget.take(size)
        try:
            await self._ask(intent, inode, index, offset, into, "bulk")
        finally:
            self._budget.give_back(size)

    def _worth_borrowing(self, ino: int, index: int, size: int) -> bool:
        if size >= BORROW_BYTES or (ino, index) in self._seen:
            return True
        self._seen[ino, index] = None
        if len(self._seen) > 1000:
            del self._seen[next(iter(self._seen))]
        return False

    async def _ask(  # noqa: PLR0917 (the fields of the request, in its order)
        self,
        intent: Intent,
        inode: InodeHandle,
        index: int,
        offset: int,
        into: memoryview,
        purpose: str,
    ) -> None:
        group = inode.group_of(index)
        capability = self._cluster.unseen_capability(inode.ino, group, READ)
        request = ReadChunk(inode.ino, index, offset, len(into), capability)
        for _ in range(ATTEMPTS):
            answer = await self._cluster.call(intent, group, request, purpose=purpose, into=into)
            reply = answer.message
            assert isinstance(reply, ReadChunkReply)
            count = 0 if answer.payload is None else len(answer.payload)
            if count > len(into):
                break
            if not reply.version:
                await inode.require_kept(intent)
            if not count or verify_pieces(into[:count], offset, reply.checks) is None:
                _zero(into[count:])
                return
        node = self._cluster.map.primary(group)
        text = f"chunk {index} at {offset} fails its check on arrival"
        raise error(errno.EBADMSG, intent.operation, intent.path, node, text)


class SegmentReader:
    """The cache's segments, each fetched once however many want it."""

    def __init__(self, reader: ChunkReader, cache: ChunkCache) -> None:
        self._reader = reader
        self._cache = cache
        self._fetching: dict[SegmentKey, asyncio.Task[memoryview]] = {}

    async def get(self, intent: Intent, inode: InodeHandle, key: SegmentKey) -> memoryview:
        """The segment's bytes, as far as the file goes. Raises BenchFSError."""
        found = self._cache.get(key)
        if found is not None and len(found) >= _wanted(inode, key):
            return found
        return await asyncio.shield(self._fetch(intent, inode, key))

    def prefetch(self, intent: Intent, inode: InodeHandle, key: SegmentKey) -> None:
        """Start fetching a segment that will be wanted; its failure shows when it is."""
        if _wanted(inode, key) and not self._cache.has(key):
            _ = self._fetch(intent, inode, key)

    async def close(self) -> None:
        """Stop what is being fetched."""
        tasks = list(self._fetching.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _fetch(
        self, intent: Intent, inode: InodeHandle, key: SegmentKey
    ) -> asyncio.Task[memoryview]:
        task = self._fetching.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._load(intent, inode, key))
            self._fetching[key] = task
            task.add_done_callback(lambda done: self._fetched(key, done))
        return task

    async def _load(self, intent: Intent, inode: InodeHandle, key: SegmentKey) -> memoryview:
        change = inode.attributes.change
        data = memoryview(bytearray(_wanted(inode, key)))
        await self._reader.read(intent, inode, key.chunk, key.segment * SEGMENT_BYTES, data)
        self._cache.put(key, data, change)
        return data

    def _fetched(self, key: SegmentKey, task: asyncio.Task[memoryview]) -> None:
        if self._fetching.get(key) is task:
            del self._fetching[key]
        if not task.cancelled():
            task.exception()  # seen: whoever waits for the segment gets it, or asks again

    def forget(self, ino: int) -> None:
        """The file was written to: what is being fetched may be old. Later readers ask anew."""
        for key in [key for key in self._fetching if key.ino == ino]:
            del self._fetching[key]


def _wanted(inode: InodeHandle, key: SegmentKey) -> int:
    """Bytes of the segment that the file has."""
    chunk_size = inode.layout.chunk_size
    start = key.chunk * chunk_size + key.segment * SEGMENT_BYTES
    end = min(start + SEGMENT_BYTES, (key.chunk + 1) * chunk_size, inode.attributes.size)
    return max(0, end - start)


def _zero(view: memoryview) -> None:
    if len(view):
        view[:] = bytes(len(view))
