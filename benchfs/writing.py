"""The write path: small writes are gathered, large ones sent as they are, all in the background.

What a client writes is an *extent*: exactly the bytes it was given, never padded to a page or
a block. Extents of one chunk go in one request. Those of one file that overlap are sent one after
the other, others together, within a budget of bytes in flight. A failure sticks: the next write,
fsync and close raise it.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Coroutine

from benchfs.budget import ByteBudget
from benchfs.cache import ChunkCache
from benchfs.checks import joined_checks
from benchfs.cluster import Cluster, Intent
from benchfs.env import Env
from benchfs.errors import BenchFSError, error, from_rpc
from benchfs.gathering import WHOLE_BYTES, Batch, Data, Extent, Gathering, by_chunk
from benchfs.inode import WRITE, home_group
from benchfs.inode_handle import InodeHandle
from benchfs.layout import MAX_FILE_SIZE
from benchfs.reading import BULK_BYTES, SegmentReader
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    EXTENTS_MOST,
    Attributes,
    AttributesReply,
    ChunkExtent,
    ReportSize,
    SyncFile,
    WriteChunk,
    WriteExtents,
)
from benchfs.rpc.schema import build
from benchfs.sending import Sending, bounds, overlapping
from benchfs.small import may_be_first, write_first

# Writes below this are gathered (`benchfs/gathering.py`); from it on they are sent as they are,
# unless they touch what was gathered.
DIRECT_BYTES = WHOLE_BYTES
# Written bytes wait no longer than this for their sending, and the size for its report.
LINGER_SECONDS = 1.0
# Of a file with a quota the size is reported while it grows, so that more is refused soon.
QUOTA_BYTES = 16 * 1024 * 1024
STALE_WAIT_SECONDS = 0.01


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
        self._gathered = Gathering()
        self._sending: list[Sending] = []
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
        if self.gather(data, offset):
            if self._gathered.is_due:
                await self._send_due()
            return
        known = self._inode.attributes
        if known.quota and self._acknowledged_end > known.size + QUOTA_BYTES:
            await self._report(self._cluster.intent("write", self._inode.path, self._timeout))
        size = len(data)
        gathered, end = self._gathered, offset + size
        self._changed(end)
        direct = size >= DIRECT_BYTES and not gathered.touches(offset, end)
        while gathered.overlaps(offset, end) or (direct and self._turn.locked()):
            await self._send_gathered()  # it comes first
        if direct:
            view = memoryview(data if type(data) is bytes else bytes(data))
            for batch in self._by_chunk([Extent(offset, size, [view])]):
                await self._send(batch)
        elif size:
            gathered.add(data, offset)
            if gathered.is_due:
                await self._send_due()
        self._linger_later()

    def gather(self, data: Data, offset: int) -> bool:
        """As `write`, if nothing has to be sent before it and nothing failed. Tells whether so.

        What is due by it is sent by the next write, flush or when it has waited long enough.
        """
        gathered, size = self._gathered, len(data)
        end = offset + size
        if (
            not 0 < size < DIRECT_BYTES
            or gathered.is_due
            or gathered.overlaps(offset, end)
            or self._inode.attributes.quota
            or self._failure is not None
        ):
            return False
        self._changed(end)
        gathered.add(data, offset)
        if self._timer is None:
            self._linger_later()
        return True

    def _changed(self, end: int) -> None:
        self.end = max(self.end, end)
        self._mtime_ns = self._env.clock.time_ns()

    @property
    def was_used(self) -> bool:
        """Whether anything was ever written: else there is nothing to close."""
        return bool(self._mtime_ns)

    @property
    def pending(self) -> bool:
        """Whether anything written is not acknowledged, or the size not reported."""
        return bool(self._gathered or self._sending or self._unreported or self._turn.locked())

    @property
    def _unreported(self) -> bool:
        return self._reported < self._acknowledgements

    def overlaps(self, start: int, end: int) -> bool:
        """Whether something written to this range may not be acknowledged."""
        if self._turn.locked():
            return True  # what is about to be sent is on no list
        return self._gathered.overlaps(start, end) or any(
            sending.overlaps(start, end) for sending in self._sending
        )

    async def flush(self, intent: Intent) -> None:
        """Return when all that was written is acknowledged and the size reported."""
        if self._gathered and not self._sending and not self._turn.locked():
            await self._write_last()
        await self._send_gathered()
        while self._sending:
            await asyncio.wait([sending.task for sending in self._sending])
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
            running += [sending.task for sending in self._sending]
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

    async def _send_gathered(self) -> None:
        """Return when all that was gathered is being sent, also by somebody else's doing."""
        if self._gathered or self._turn.locked():
            async with self._turn:
                if self._gathered and self._timer is not None:
                    self._timer.cancel()
                    self._timer = None
                await self._send_all(self._gathered.take_all())

    async def _send_due(self) -> None:
        """Send what need not wait for its neighbours any longer."""
        async with self._turn:
            await self._send_all(self._gathered.take_due())

    async def _send_all(self, extents: list[Extent]) -> None:
        try:
            for batch in self._by_chunk(extents):
                await self._send(batch)
        except BaseException as exc:
            self._lost(exc)
            raise

    async def _write_last(self) -> None:
        """Write what was gathered if it is one request and all there is, without a task of its own.

        A small file is written like this: tasks, and waiting for them, would take another 40 µs.
        """
        extent = self._gathered.take_single(self._inode.layout.chunk_size)
        if extent is None:
            return
        first = not (extent.start or self._began or self._failure) and may_be_first(
            self._inode, extent.size
        )
        place = extent._replace(size=MAX_FILE_SIZE) if first else extent
        sending = Sending([place], place.start, place.end, self._loop.create_future())
        self._sending.append(sending)  # other handles wait for it, and what would follow the first
        kept = False
        try:
            await self._budget.take(extent.size)
            try:
                if not first or not await self._write_first(extent):
                    (batch,) = self._by_chunk([extent])
                    self._acknowledged(*await self._write_batch(batch))
            except asyncio.CancelledError:
                # a first write may have moved the file's begin
                kept = not (first or self._gathered)
                if kept:  # a later flush sends them again
                    self._gathered.add(b"".join(extent.parts), extent.start)
                    self._linger_later()
                raise
            finally:
                self._budget.give_back(extent.size)
        except BaseException as exc:
            if not kept:
                self._lost(exc)
            raise
        finally:
            self._sending.remove(sending)
            sending.task.cancel()

    async def _write_first(self, extent: Extent) -> bool:
        """Write all of an empty file together with its size; False if it is not to be done so."""
        inode, mtime_ns = self._inode, self._mtime_ns
        intent = self._cluster.intent("write", inode.path, self._timeout)
        try:
            reply = await write_first(self._cluster, intent, inode, extent, mtime_ns)
        except RemoteError:  # as while it is being cut; the usual way succeeds, or says why not
            return False
        if not reply.written:
            inode.learn(reply.attributes)
            return False
        self._began = True
        self._learn(reply.attributes, mtime_ns)
        self._acknowledgements += 1
        self._reported = self._acknowledgements
        self._acknowledged_end = extent.end
        self.touched(inode.group_of(0))
        self._segments.forget(inode.ino)
        return True

    def _lost(self, problem: BaseException) -> None:
        """What earlier writes handed over is not sent: that sticks, a cancellation too."""
        if not isinstance(problem, Exception):
            text = "cancelled while bytes of earlier writes were being sent"
            problem = error(errno.ECANCELED, "write", self._inode.path, text=text)
        self._failure = self._failure or problem

    def _by_chunk(self, extents: list[Extent]) -> list[Batch]:
        return by_chunk(extents, self._inode.layout.chunk_size, EXTENTS_MOST)

    async def _send(self, batch: Batch) -> None:
        extents = batch.extents
        size = sum([extent.size for extent in extents])
        # first the budget, which is given in the order of asking: so are writes that overlap
        await self._budget.take(size)
        try:
            while before := overlapping(self._sending, extents):
                await asyncio.wait(before)
        except BaseException:
            self._budget.give_back(size)
            raise
        self._start(extents, self._write_batch(batch))

    def _start(self, extents: list[Extent], work: Coroutine[None, None, tuple[int, int]]) -> None:
        task = self._loop.create_task(work)
        sending = Sending(extents, *bounds(extents), task)
        self._sending.append(sending)
        task.add_done_callback(lambda _: self._sent(sending))

    def _sent(self, sending: Sending) -> None:
        self._sending.remove(sending)
        self._budget.give_back(sum([extent.size for extent in sending.extents]))
        if sending.task.cancelled():
            return
        failure = sending.task.exception()
        if failure is None:
            self._acknowledged(*sending.task.result())
        elif isinstance(failure, Exception):
            self._failure = self._failure or failure

    def _acknowledged(self, end: int, truncation: int) -> None:
        """Bytes up to `end` are there. Ends of an epoch that is over were cut: they count no more.

        Reported under a later epoch, they would bring back a size that is gone.
        """
        self._acknowledgements += 1
        if truncation > self._truncation:
            self._truncation, self._acknowledged_end = truncation, end
            self.end = max(end, self._gathered.end, *(s.end for s in self._sending))
        elif truncation == self._truncation:
            self._acknowledged_end = max(self._acknowledged_end, end)

    async def _write_batch(self, batch: Batch) -> tuple[int, int]:
        """Write part of a chunk, after all cuts of the file that come between."""
        inode = self._inode
        intent = self._cluster.intent("write", inode.path, self._timeout)
        while True:
            truncation = inode.attributes.truncation
            try:
                await self._write_chunk(intent, batch, truncation)
                return max([extent.end for extent in batch.extents]), truncation
            except RemoteError as exc:  # the file was cut meanwhile: write after the cut
                if self._loop.time() >= intent.deadline:
                    raise from_rpc(exc, "write", inode.path) from exc
                if truncation == (await inode.refresh(intent)).truncation:
                    await asyncio.sleep(STALE_WAIT_SECONDS)

    async def _write_chunk(self, intent: Intent, batch: Batch, truncation: int) -> None:
        """Write under one epoch. Raises RemoteError STALE_TRUNCATION if that is over."""
        inode, index, self._began = self._inode, batch.index, True
        group, base = inode.group_of(index), index * inode.layout.chunk_size
        capability = self._cluster.unseen_capability(inode.ino, group, WRITE)
        checks = b"".join([joined_checks(e.parts, e.start - base) for e in batch.extents])
        where = [build(ChunkExtent, (e.start - base, e.size)) for e in batch.extents]
        request: WriteChunk | WriteExtents
        if len(where) == 1:
            request = WriteChunk(inode.ino, index, truncation, where[0].offset, checks, capability)
        else:
            request = WriteExtents(inode.ino, index, truncation, tuple(where), checks, capability)
        payload = [part for extent in batch.extents for part in extent.parts]
        purpose = "bulk" if sum([e.size for e in batch.extents]) >= BULK_BYTES else "calls"
        slot = await self._cluster.session.take()
        try:
            await self._cluster.call(
                intent, group, request, slot=slot, purpose=purpose, payload=payload
            )
        finally:
            self._cluster.session.give_back(slot)
        self.touched(group)
        for offset, length in where:
            self._cache.drop_range(inode.ino, index, offset, length)
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
