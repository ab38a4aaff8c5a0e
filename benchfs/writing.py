"""The write path: small writes are gathered, large ones sent as they are, all in the background.

What a client writes is an *extent*: exactly the bytes it was given, never padded to a page or
a block. Extents of one file that overlap are sent one after the other, others together, within
a budget of bytes in flight. A failure sticks: the next write, fsync and close raise it.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Coroutine
from typing import NamedTuple

from benchfs.budget import ByteBudget
from benchfs.cache import ChunkCache
from benchfs.checks import piece_checks
from benchfs.cluster import Cluster, Intent
from benchfs.env import Env
from benchfs.errors import BenchFSError, error, from_rpc
from benchfs.inode import WRITE, home_group
from benchfs.inode_handle import InodeHandle
from benchfs.layout import MAX_FILE_SIZE, Piece, pieces
from benchfs.reading import BULK_BYTES, SegmentReader
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import Attributes, AttributesReply, ReportSize, SyncFile, WriteChunk
from benchfs.small import may_be_first, write_first

# Writes below this are copied into an extent that grows to STAGE_BYTES; from it on they are
# sent as they are (bytes without a copy: they cannot change).
DIRECT_BYTES = 256 * 1024
STAGE_BYTES = 1024 * 1024
# Written bytes wait no longer than this for their sending, and the size for its report.
LINGER_SECONDS = 1.0
# Of a file with a quota the size is reported while it grows, so that more is refused soon.
QUOTA_BYTES = 16 * 1024 * 1024
STALE_WAIT_SECONDS = 0.01

Data = bytes | bytearray | memoryview


class _Extent(NamedTuple):
    start: int  # of the file
    end: int
    task: asyncio.Future[tuple[int, int]]  # the end that was written, and its truncation epoch


class WriteBehind:
    """The writes of one open file."""

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
        self._cluster = cluster
        self._budget = budget
        self._cache = cache
        self._segments = segments
        self._inode = inode
        self._env = env
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._stage = bytearray()
        self._stage_start = 0
        self._extents: list[_Extent] = []
        self._failure: Exception | None = None
        self._turn = asyncio.Lock()  # of who has taken gathered bytes and begins to send them
        self._acknowledged_end = 0
        self._truncation = inode.attributes.truncation  # the epoch of that end
        self._acknowledgements = 0  # counted, and how many of them the inode has heard of
        self._reported = 0
        self._began = False  # there may be a chunk that this handle wrote
        self._reporting = asyncio.Lock()  # who finds a report under way waits for it
        self._mtime_ns = 0
        self._nodes: set[str] = set()  # that hold bytes since the last fsync
        self._syncing = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._lingering: asyncio.Task[None] | None = None
        self.end = 0  # greatest end written, acknowledged or not

    # ------------------------------------------------------------ writing

    async def write(self, data: Data, offset: int) -> None:
        """Take over `data`, to be written at `offset`; waits only for the budget."""
        self._raise_failure()
        known = self._inode.attributes
        if known.quota and self._acknowledged_end > known.size + QUOTA_BYTES:
            await self._report(self._cluster.intent("write", self._inode.path, self._timeout))
        size = len(data)
        self.end = max(self.end, offset + size)
        self._mtime_ns = self._env.clock.time_ns()
        if size >= DIRECT_BYTES:
            await self._send_stage()
            view = memoryview(data if type(data) is bytes else bytes(data))
            for piece in pieces(offset, size, self._inode.layout.chunk_size):
                await self._send(piece, view[piece.position : piece.position + piece.length])
            self._linger_later()
            return
        while self._stage and offset != self._stage_start + len(self._stage):
            await self._send_stage()
        if not self._stage:
            self._stage_start = offset
        self._stage += data
        if len(self._stage) >= STAGE_BYTES:
            await self._send_stage()
        else:
            self._linger_later()

    @property
    def was_used(self) -> bool:
        """Whether anything was ever written: else there is nothing to close."""
        return bool(self._mtime_ns)

    @property
    def pending(self) -> bool:
        """Whether anything written is not acknowledged, or the size not reported."""
        return bool(self._stage or self._extents or self._unreported or self._turn.locked())

    @property
    def _unreported(self) -> bool:
        return self._reported < self._acknowledgements

    def overlaps(self, start: int, end: int) -> bool:
        """Whether something written to this range may not be acknowledged."""
        if self._turn.locked():
            return True  # what is about to be sent is on no list
        staged = self._stage_start < end and start < self._stage_start + len(self._stage)
        return (bool(self._stage) and staged) or any(
            extent.start < end and start < extent.end for extent in self._extents
        )

    async def flush(self, intent: Intent) -> None:
        """Return when all that was written is acknowledged and the size reported."""
        if self._stage and not self._extents and not self._turn.locked():
            await self._write_last()
        await self._send_stage()
        while self._extents:
            await asyncio.wait([extent.task for extent in self._extents])
        self._raise_failure()
        if self._unreported:
            await self._report(intent)

    async def fsync(self, intent: Intent) -> None:
        """As flush; then make it as durable as the cluster's mode promises."""
        await self.flush(intent)
        async with self._syncing:  # who comes second waits for what the first one asks for
            self._raise_failure()
            nodes, self._nodes = self._nodes, set()
            try:
                await asyncio.gather(
                    *[
                        self._cluster.call_node(intent, node, SyncFile(self._inode.ino))
                        for node in sorted(nodes)
                    ]
                )
            except BaseException as exc:
                self._nodes |= nodes
                if isinstance(exc, BenchFSError):
                    self._failure = self._failure or exc
                raise

    async def close(self, intent: Intent) -> None:
        """Flush for the last time; whatever happens, nothing runs afterwards."""
        try:
            await self.flush(intent)
        finally:
            if self._failure is not None or self.pending:
                self._inode.spilled = True
            if self._timer is not None:
                self._timer.cancel()
            running: list[asyncio.Future[tuple[int, int]] | asyncio.Task[None]] = []
            running += [extent.task for extent in self._extents]
            if self._lingering is not None:
                running.append(self._lingering)
            for task in running:
                task.cancel()
            if running:
                await asyncio.gather(*running, return_exceptions=True)

    def was_cut(self) -> None:
        """The file was cut through this handle: ends of before count no more."""
        self._truncation = self._inode.attributes.truncation
        self._acknowledged_end = self.end = 0

    # ------------------------------------------------------------ sending

    async def _send_stage(self) -> None:
        """Return when all that was gathered is being sent, also by somebody else's doing."""
        if self._stage or self._turn.locked():
            async with self._turn:
                await self._send_gathered()

    async def _send_gathered(self) -> None:
        if not self._stage:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        data, self._stage = self._stage, bytearray()
        view = memoryview(data)
        try:
            for piece in pieces(self._stage_start, len(data), self._inode.layout.chunk_size):
                await self._send(piece, view[piece.position : piece.position + piece.length])
        except BaseException as exc:
            self._lost(exc)
            raise

    async def _write_last(self) -> None:
        """Write what was gathered if it is one piece and all there is, without a task of its own.

        A small file is written like this: tasks, and waiting for them, would take another 40 µs.
        """
        data, start = self._stage, self._stage_start
        piece, *more = pieces(start, len(data), self._inode.layout.chunk_size)
        if more:
            return
        self._stage = bytearray()
        first = not (start or self._began or self._failure) and may_be_first(self._inode, len(data))
        end = MAX_FILE_SIZE if first else start + len(data)
        extent = _Extent(start, end, self._loop.create_future())
        self._extents.append(extent)  # other handles wait for it, and what would follow the first
        kept = False
        try:
            await self._budget.take(len(data))
            try:
                if not first or not await self._write_first(memoryview(data)):
                    self._acknowledged(*await self._write_piece(piece, memoryview(data)))
            except asyncio.CancelledError:
                kept = not (first or self._stage)  # a first write may have moved the file's begin
                if kept:  # a later flush sends them again
                    self._stage, self._stage_start = data, start
                    self._linger_later()
                raise
            finally:
                self._budget.give_back(len(data))
        except BaseException as exc:
            if not kept:
                self._lost(exc)
            raise
        finally:
            self._extents.remove(extent)
            extent.task.cancel()

    async def _write_first(self, data: memoryview) -> bool:
        """Write all of an empty file together with its size; False if it is not to be done so."""
        inode, mtime_ns = self._inode, self._mtime_ns
        intent = self._cluster.intent("write", inode.path, self._timeout)
        try:
            reply = await write_first(self._cluster, intent, inode, data, mtime_ns)
        except RemoteError:  # it is being cut
            return False
        if not reply.written:
            inode.learn(reply.attributes)
            return False
        self._began = True
        self._learn(reply.attributes, mtime_ns)
        self._acknowledgements += 1
        self._reported = self._acknowledgements
        self._acknowledged_end = len(data)
        self.touched(inode.group_of(0))
        self._segments.forget(inode.ino)
        return True

    def _lost(self, problem: BaseException) -> None:
        """What earlier writes handed over is not sent: that sticks, a cancellation too."""
        if not isinstance(problem, Exception):
            text = "cancelled while bytes of earlier writes were being sent"
            problem = error(errno.ECANCELED, "write", self._inode.path, text=text)
        self._failure = self._failure or problem

    async def _send(self, piece: Piece, data: memoryview) -> None:
        start = piece.index * self._inode.layout.chunk_size + piece.offset
        end = start + piece.length
        # first the budget, which is given in the order of asking: so are writes that overlap
        await self._budget.take(piece.length)
        try:
            while before := [e.task for e in self._extents if e.start < end and start < e.end]:
                await asyncio.wait(before)
        except BaseException:
            self._budget.give_back(piece.length)
            raise
        self._start(start, end, self._write_piece(piece, data))

    def _start(self, start: int, end: int, work: Coroutine[None, None, tuple[int, int]]) -> None:
        task = self._loop.create_task(work)
        extent = _Extent(start, end, task)
        self._extents.append(extent)
        task.add_done_callback(lambda _: self._sent(extent))

    def _sent(self, extent: _Extent) -> None:
        self._extents.remove(extent)
        self._budget.give_back(extent.end - extent.start)
        if extent.task.cancelled():
            return
        failure = extent.task.exception()
        if failure is None:
            self._acknowledged(*extent.task.result())
        elif isinstance(failure, Exception):
            self._failure = self._failure or failure

    def _acknowledged(self, end: int, truncation: int) -> None:
        """Bytes up to `end` are there. Ends of an epoch that is over were cut: they count no more.

        Reported under a later epoch, they would bring back a size that is gone.
        """
        self._acknowledgements += 1
        if truncation > self._truncation:
            self._truncation, self._acknowledged_end = truncation, end
            self.end = max(
                end, self._stage_start + len(self._stage), *(e.end for e in self._extents)
            )
        elif truncation == self._truncation:
            self._acknowledged_end = max(self._acknowledged_end, end)

    async def _write_piece(self, piece: Piece, data: memoryview) -> tuple[int, int]:
        """Write part of a chunk, after all cuts of the file that come between."""
        inode = self._inode
        intent = self._cluster.intent("write", inode.path, self._timeout)
        checks = piece_checks(data, piece.offset)
        while True:
            truncation = inode.attributes.truncation
            try:
                await self._write_chunk(intent, piece, data, checks, truncation)
                end = piece.index * inode.layout.chunk_size + piece.offset + piece.length
                return end, truncation
            except RemoteError as exc:  # the file was cut meanwhile: write after the cut
                if self._loop.time() >= intent.deadline:
                    raise from_rpc(exc, "write", inode.path) from exc
                if truncation == (await inode.refresh(intent)).truncation:
                    await asyncio.sleep(STALE_WAIT_SECONDS)

    async def _write_chunk(
        self, intent: Intent, piece: Piece, data: memoryview, checks: bytes, truncation: int
    ) -> None:
        """Write under one epoch. Raises RemoteError STALE_TRUNCATION if that is over."""
        inode, self._began = self._inode, True
        group = inode.group_of(piece.index)
        purpose = "bulk" if piece.length >= BULK_BYTES else "calls"
        capability = self._cluster.unseen_capability(inode.ino, group, WRITE)
        request = WriteChunk(inode.ino, piece.index, truncation, piece.offset, checks, capability)
        slot = await self._cluster.session.take()
        try:
            await self._cluster.call(
                intent, group, request, slot=slot, purpose=purpose, payload=(data,)
            )
        finally:
            self._cluster.session.give_back(slot)
        self.touched(group)
        self._cache.drop_range(inode.ino, piece.index, piece.offset, piece.length)
        self._segments.forget(inode.ino)

    # ------------------------------------------------------------ size

    def touched(self, group: int) -> None:
        """Chunks of this group were changed: fsync is to ask its node."""
        self._nodes.add(self._cluster.map.primary(group))

    async def report_change(self, intent: Intent, end: int) -> None:
        """Bytes were changed by other means than writing, up to `end` at the least."""
        self._mtime_ns = self._env.clock.time_ns()
        self._acknowledged(end, self._inode.attributes.truncation)
        await self._report(intent)

    async def _report(self, intent: Intent) -> None:
        async with self._reporting:
            if self._unreported:
                await self._report_now(intent)

    async def _report_now(self, intent: Intent) -> None:
        inode = self._inode
        told = self._acknowledgements
        request = ReportSize(inode.ino, self._truncation, self._acknowledged_end, self._mtime_ns)
        try:
            answer = await self._cluster.call(intent, home_group(inode.ino), request)
        except BenchFSError as exc:
            self._failure = self._failure or exc
            raise
        # Only now: who flushes meanwhile does not return before it is known.
        self._reported = max(self._reported, told)
        assert isinstance(answer.message, AttributesReply)
        self._learn(answer.message.attributes, request.mtime_ns)

    def _learn(self, attributes: Attributes, mtime_ns: int) -> None:
        """These came of a report of this time."""
        self._cache.drop_file(attributes.ino)
        if attributes.mtime_ns == mtime_ns:  # else the counter stood still
            self._inode.learn_own(attributes)
        else:
            self._inode.learn(attributes)

    def _linger_later(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(LINGER_SECONDS, self._linger)

    def _linger(self) -> None:
        self._timer = None
        if self._lingering is None or self._lingering.done():
            self._lingering = self._loop.create_task(self._flush_quietly())
        else:
            self._linger_later()

    async def _flush_quietly(self) -> None:
        """Send what has waited long enough; a failure sticks and is raised to the next caller."""
        try:
            await self.flush(self._cluster.intent("write", self._inode.path, self._timeout))
        except BenchFSError as exc:
            self._failure = self._failure or exc

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
