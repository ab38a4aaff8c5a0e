"""Small files at their home: their first bytes with their size, their content with an open.

Most files are written once, in a piece, and are small. Bytes and size of such a file are stored by
one request where its inode is, and come along when it is opened (decision 012). What makes that
possible is that a layout counts for nobody yet: the file is empty, and who would write it elsewhere
would have it open for writing.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import cast

from benchfs.inode import READ, WRITE, FileType
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    AccessReply,
    Attributes,
    Code,
    LayoutRecord,
    Op,
    Open,
    OpenInode,
    OpenReply,
    Present,
    ReportSize,
    WriteFirst,
    WriteFirstReply,
)
from benchfs.rpc.server import Call as Request
from benchfs.rpc.server import Handler, Reply
from benchfsd.node import Node
from benchfsd.rows import IntentKind


class SmallFiles:
    """The handlers of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def table(self) -> dict[Op, Handler]:
        """Operation to handler."""
        return {Op.WRITE_FIRST: self.write_first}

    # ------------------------------------------------------------ writing

    def write_first(self, request: Request) -> Reply:
        """WRITE_FIRST. The slot's answer is kept in memory, as of WRITE_CHUNK."""
        node, envelope = self._node, request.envelope
        group, sequence = envelope.group, envelope.sequence
        node.require(group, envelope.epoch)
        message, payload = cast(WriteFirst, request.message), request.payload
        ino = message.ino
        if message.capability:
            node.guard.present(request, Present(ino, message.capability))
        node.guard.chunk(request, ino, WRITE)
        if payload is None:
            raise RemoteError(Code.BAD_MESSAGE, "a write without a payload")
        inodes = node.namespace(group).inodes
        inode = inodes.get(ino)
        key = (request.caller.session, envelope.slot)
        last, _ = node.writes.get(key, (0, 0))
        if sequence and last == sequence:
            return Reply(WriteFirstReply(inode, written=True))
        if sequence and last > sequence:
            raise RemoteError(Code.STALE_SEQUENCE, "the slot has answered a later call")
        small = node.store.keeps_in_record(len(payload))
        if not small or not self._may_begin_here(request, inode, message.hold):
            return Reply(WriteFirstReply(inode, written=False))
        size, layout = len(payload), inode.layout
        version = node.store.write(group, ino, 0, 0, 0, payload, message.checks, layout.chunk_size)
        here = LayoutRecord(layout.chunk_size, group, ())
        report = ReportSize(ino, 0, size, message.mtime_ns)
        reply = inodes.report_size(report, node.guard.user(request.caller), here)
        if sequence:
            node.remember_write(key, sequence, version)
        return Reply(WriteFirstReply(reply.attributes, written=True))

    def _may_begin_here(self, request: Request, inode: Attributes, hold: int) -> bool:
        """Whether there is surely no chunk of the file, nor anybody who is making one.

        This process made it, so it knows of all who opened it, and a writer who left either told
        all that he wrote or is noted. Nobody else writes it, nor this session through another open.
        Who reads it knows that it is empty: the size and the layout change together.
        """
        node, ino = self._node, inode.ino
        names = node.namespace(request.envelope.group)
        return (
            inode.type == FileType.FILE
            and not (inode.size or inode.truncation or inode.quota or inode.layout.stripe)
            and node.opens.is_only_writer(request.caller.session, ino, hold)
            and not node.opens.has_spilled(ino)
            and names.inodes.is_new(ino)
            and names.intents.get(IntentKind.TRUNCATE, ino) is None
        )

    # ------------------------------------------------------------ reading

    def bringing(self, handler: Handler) -> Handler:
        """The handler of OPEN or OPEN_INODE, whose answer brings a small file's content along."""

        def handle(request: Request) -> Reply | Awaitable[Reply]:
            result = handler(request)
            message = cast("Open | OpenInode", request.message)
            if not (message.brings and message.wanted & READ and isinstance(result, Reply)):
                return result
            if request.operation.mutates and request.envelope.sequence:
                return result  # a stored answer has no content
            return self._with_content(request, result, message.brings)

        return handle

    def _with_content(self, request: Request, reply: Reply, most: int) -> Reply:
        found = cast("OpenReply | AccessReply", reply.message)
        inode = found.attributes
        if inode is None or inode.type != FileType.FILE or not 0 < inode.size <= most:
            return reply
        group = request.envelope.group
        if inode.layout.stripe or inode.layout.first % self._node.map.group_count != group:
            return reply
        try:
            content = self._node.store.small_content(group, inode.ino)
        except RemoteError:  # who reads is told
            return reply
        if content is None or len(content.data) != inode.size:
            return reply
        return Reply(found._replace(checks=content.checks), (content.data,))
