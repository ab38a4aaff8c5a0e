"""Mode `a`: every write goes to the end of the file, whoever else appends at the same time.

A range at the end is reserved at the inode, exactly once, and written then: nobody else is given
it. Small records are gathered first, so that one range is reserved for many; each stays whole,
and those of one file object stay in their order. A file that is cut meanwhile takes the reserved
range away: then another one is reserved, and everything written again.
"""

from __future__ import annotations

import asyncio
import errno

from benchfs.budget import ByteBudget
from benchfs.cache import ChunkCache
from benchfs.cluster import Cluster, Intent
from benchfs.env import Env
from benchfs.errors import error, from_rpc
from benchfs.gathering import WHOLE_BYTES, Extent
from benchfs.inode import home_group
from benchfs.inode_handle import InodeHandle
from benchfs.layout import MAX_FILE_SIZE
from benchfs.reading import SegmentReader
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import ReserveEnd, ReserveEndReply
from benchfs.writing import WriteBehind

# Records below this are copied into what is gathered, larger ones are sent as they are.
DIRECT_BYTES = 256 * 1024


class AppendBehind(WriteBehind):
    """The writes of a file opened with `a`."""

    def __init__(  # noqa: PLR0917 (one argument a collaborator)
        self,
        cluster: Cluster,
        budget: ByteBudget,
        cache: ChunkCache,
        segments: SegmentReader,
        inode: InodeHandle,
        env: Env,
        timeout: float,
    ) -> None:
        super().__init__(cluster, budget, cache, segments, inode, env, timeout)
        self._records = bytearray()

    async def append(self, data: bytes | memoryview) -> int:
        """Take over a record for the end of the file; returns where it ends as far as is known."""
        self._raise_failure()
        size = len(data)
        expected = max(self.end, self._inode.attributes.size) + size
        if expected > MAX_FILE_SIZE:
            raise error(errno.EFBIG, "write", self._inode.path)
        self.end = expected
        self._mtime_ns = self._env.clock.time_ns()
        if size >= DIRECT_BYTES:
            await self._send_records(bytes(data))
            return expected
        self._records += data
        if len(self._records) >= WHOLE_BYTES:
            await self._send_records()
        else:
            self._linger_later()
        return expected

    @property
    def pending(self) -> bool:
        """Whether anything written is not acknowledged, or the size not reported."""
        return bool(self._records) or super().pending

    def overlaps(self, start: int, end: int) -> bool:
        """Whether anything is not acknowledged: where it will be is not known."""
        return self.pending

    async def _send_gathered(self) -> None:
        await super()._send_gathered()
        await self._send_records()

    async def _send_records(self, large: bytes = b"") -> None:
        """Reserve a range for what was gathered, one for a large record, and begin to write."""
        async with self._turn:  # one reservation after the other: records keep their order
            small, self._records = self._records, bytearray()
            try:
                for data in (small, large):
                    if data:
                        await self._begin(memoryview(data))
            except BaseException as exc:
                self._lost(exc)
                raise

    async def _begin(self, data: memoryview) -> None:
        intent = self._cluster.intent("write", self._inode.path, self._timeout)
        offset, truncation = await self._reserve(intent, len(data))
        await self._budget.take(len(data))
        record = Extent(offset, len(data), [data])
        self._start([record], self._write_range(intent, record, truncation))

    async def _reserve(self, intent: Intent, length: int) -> tuple[int, int]:
        """A range at the end: its offset, and the truncation epoch in which it is ours."""
        inode = self._inode
        request = ReserveEnd(inode.ino, length)
        answer = await self._cluster.mutate(intent, home_group(inode.ino), request)
        reply = answer.message
        assert isinstance(reply, ReserveEndReply)
        inode.learn(reply.attributes)
        self.end = max(self.end, reply.attributes.size)
        return reply.offset, reply.attributes.truncation

    async def _write_range(
        self, intent: Intent, record: Extent, truncation: int
    ) -> tuple[int, int]:
        while True:
            try:
                await self._write_pieces(intent, record, truncation)
                return record.end, truncation
            except RemoteError as exc:  # the file was cut, and the range with it
                if self._loop.time() >= intent.deadline:
                    raise from_rpc(exc, "write", self._inode.path) from exc
            offset, truncation = await self._reserve(intent, record.size)
            record = record._replace(start=offset)

    async def _write_pieces(self, intent: Intent, record: Extent, truncation: int) -> None:
        """Raises RemoteError STALE_TRUNCATION when all pieces have ended."""
        writes = [
            self._write_chunk(intent, batch, truncation) for batch in self._by_chunk([record])
        ]
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
