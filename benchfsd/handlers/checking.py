"""Operations of `benchfs fsck` and `benchfs scrub`: pages of rows, verifying bytes, repairs."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import cast

from benchfs.inode import home_group
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    AttributesReply,
    Code,
    DamageRecord,
    ExamineEntry,
    ExamineInode,
    ExamineInodeReply,
    FindEntries,
    ListChunks,
    ListChunksReply,
    ListEntries,
    ListInodes,
    ListParts,
    ListPending,
    Op,
    RegisterPart,
    Repair,
    RepairHow,
    RepairReply,
    SurveyedChunk,
    VerifyChunks,
    VerifyChunksReply,
)
from benchfs.rpc.server import Call as Request
from benchfs.rpc.server import Handler, Reply
from benchfsd.chunks.walk import Position
from benchfsd.guard import for_superuser
from benchfsd.handlers.changes import Changes
from benchfsd.node import Node
from benchfsd.purge import Purger
from benchfsd.repairs import DONE, NOT_DONE, Repaired, Repairs
from benchfsd.rows import chunk_key
from benchfsd.survey import Survey

CHUNKS_A_PAGE = 1024
VERIFY_MOST_BYTES = 16 * 1024 * 1024


class Checking:
    """The handlers of one node."""

    def __init__(self, node: Node, purger: Purger, changes: Changes) -> None:
        self._node = node
        self._purger = purger
        self._changes = changes

    def table(self) -> dict[Op, Handler]:
        """Operation to handler."""
        table = {
            Op.LIST_INODES: self._page(lambda survey, m: survey.inodes(cast(ListInodes, m))),
            Op.LIST_PARTS: self._page(lambda survey, m: survey.parts(cast(ListParts, m))),
            Op.LIST_ENTRIES: self._page(lambda survey, m: survey.entries(cast(ListEntries, m))),
            Op.LIST_PENDING: self._page(lambda survey, m: survey.pending(cast(ListPending, m))),
            Op.FIND_ENTRIES: self._page(
                lambda survey, m: survey.find_entries(cast(FindEntries, m))
            ),
            Op.EXAMINE_INODE: self._page(
                lambda survey, m: survey.examine_inode(cast(ExamineInode, m))
            ),
            Op.EXAMINE_ENTRY: self._page(
                lambda survey, m: survey.examine_entry(cast(ExamineEntry, m))
            ),
            Op.LIST_CHUNKS: self.list_chunks,
            Op.VERIFY_CHUNKS: self.verify_chunks,
            Op.REPAIR: self._changes.patient(self.repair),
        }
        guard = self._node.guard
        return {op: for_superuser(guard, handler) for op, handler in table.items()}

    def _survey(self, group: int) -> Survey:
        node = self._node
        names, now_ns = node.namespace(group), node.env.clock.time_ns()
        return Survey(names, node.database, node.opens, now_ns)

    def _page(self, read: Callable[[Survey, tuple[object, ...]], tuple[object, ...]]) -> Handler:
        def handle(request: Request) -> Reply:
            group = request.envelope.group
            self._node.require(group, request.envelope.epoch)
            return Reply(read(self._survey(group), request.message))

        return handle

    # ------------------------------------------------------------------------- chunks

    def list_chunks(self, request: Request) -> Reply:
        """LIST_CHUNKS."""
        group, ino, index, share, shares = cast(ListChunks, request.message)
        after = _position(group, ino, index)
        found = self._node.store.scrubber.chunks(after, CHUNKS_A_PAGE)
        ours = [seen for seen in found if seen.position.ino % max(1, shares) == share]
        good = tuple(
            SurveyedChunk(*seen.position, seen.length, seen.truncation)
            for seen in ours
            if seen.length >= 0
        )
        bad = tuple(chunk_key(*seen.position) for seen in ours if seen.length < 0)
        more = len(found) == CHUNKS_A_PAGE
        last = found[-1].position if more else Position(0, 0, 0)
        return Reply(ListChunksReply(good, bad, more, *last))

    async def verify_chunks(self, request: Request) -> Reply:
        """VERIFY_CHUNKS."""
        group, ino, index, most = cast(VerifyChunks, request.message)
        scrubber = self._node.store.scrubber
        done = await scrubber.verify(_position(group, ino, index), min(most, VERIFY_MOST_BYTES))
        damaged = tuple(
            DamageRecord(*damage.position, damage.offset, damage.length) for damage in done.damaged
        )
        more, last = done.next is not None, done.next or Position(0, 0, 0)
        return Reply(VerifyChunksReply(done.chunks, done.bytes, damaged, more, *last))

    # ------------------------------------------------------------------------ repairs

    async def repair(self, request: Request) -> Reply:
        """REPAIR."""
        group, message = request.envelope.group, cast(Repair, request.message)
        self._node.require(group, request.envelope.epoch)
        if message.how not in set(RepairHow):
            raise RemoteError(errno.EINVAL, f"there is no repair {message.how}")
        repaired = await self._repair(group, message)
        if repaired.purge is not None:
            self._purger.add(group, repaired.purge)
        return Reply(RepairReply(repaired.done))

    async def _repair(self, group: int, message: Repair) -> Repaired:
        node = self._node
        survey = self._survey(group)
        repairs = Repairs(node.namespace(group), node.database, node.env, survey)
        how = RepairHow(message.how)
        if how is RepairHow.REGISTER_PART:
            if survey.examine_inode(ExamineInode(message.ino, False)).inode is None:
                return NOT_DONE
            home = home_group(message.ino)
            await self._changes.ask(home, RegisterPart(message.ino, group), AttributesReply)
            return DONE
        if how is RepairHow.ADD_ENTRY:
            named = (await self._examine(message.ino)).inode
            return NOT_DONE if named is None else repairs.add_entry(message, named.attributes)
        if how is RepairHow.REMOVE_ENTRY:
            found = survey.examine_entry(ExamineEntry(message.parent, message.name)).entry
            if found is not None and not found.lost and await self._exists(message.ino):
                return NOT_DONE
        elif how is RepairHow.REMOVE_PART and await self._exists(message.ino):
            return NOT_DONE
        return repairs.act(message)

    async def _exists(self, ino: int) -> bool:
        """Whether there is the inode. Once it is gone it never comes back."""
        if home_group(ino) >= self._node.map.group_count:
            return False
        return (await self._examine(ino)).inode is not None

    async def _examine(self, ino: int) -> ExamineInodeReply:
        home, question = home_group(ino), ExamineInode(ino, False)
        if self._node.leads(home):
            return self._survey(home).examine_inode(question)
        reply = (await self._node.call_group(home, question)).message
        if not isinstance(reply, ExamineInodeReply):
            raise RemoteError(Code.BAD_MESSAGE, "another answer than to the question")
        return reply


def _position(group: int, ino: int, index: int) -> Position | None:
    return Position(group, ino, index) if ino else None
