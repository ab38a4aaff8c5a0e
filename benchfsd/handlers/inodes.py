"""Operations on inodes by number: attributes, sizes, truncation, directories' inodes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    AttributesReply,
    CheckAccess,
    CutFile,
    DropInode,
    GetAttributes,
    MakeInode,
    Op,
    RecordReads,
    ReportSize,
    ReserveEnd,
    SetAttributes,
    Truncate,
)
from benchfs.rpc.server import Call as Request
from benchfs.rpc.server import Handler, Reply
from benchfsd.guard import between_nodes
from benchfsd.handlers import once
from benchfsd.inodes import Inodes
from benchfsd.node import Node
from benchfsd.rights import User
from benchfsd.rows import Intent
from benchfsd.sizes import LiveSizes

GROWING = (Op.REPORT_SIZE, Op.RESERVE_END, Op.TRUNCATE, Op.MAKE_INODE)
"""Operations that use what quotas allow: they raise ShortError."""


def table(node: Node, sizes: LiveSizes) -> dict[Op, Handler]:
    """Operation to handler."""

    def inodes(request: Request) -> Inodes:
        return node.namespace(request.envelope.group).inodes

    def user(request: Request) -> User | None:
        return node.guard.user(request.caller)

    def plain(act: Callable[[Request], tuple[object, ...]]) -> Handler:
        def handle(request: Request) -> Reply:
            node.require(request.envelope.group, request.envelope.epoch)
            return Reply(act(request))

        return handle

    def check_access(request: Request, message: CheckAccess) -> tuple[object, ...]:
        return AttributesReply(inodes(request).check_access(message, user(request)))

    def report_size(request: Request) -> tuple[object, ...]:
        message, here = cast(ReportSize, request.message), inodes(request)
        node.guard.writing(request, here, message.ino)
        return here.report_size(message, user(request))

    def reserve_end(request: Request) -> tuple[object, ...]:
        message, here = cast(ReserveEnd, request.message), inodes(request)
        node.guard.writing(request, here, message.ino)
        return here.reserve_end(message, user(request))

    async def truncate(request: Request) -> tuple[object, ...]:
        message, group = cast(Truncate, request.message), request.envelope.group
        node.guard.writing(request, inodes(request), message.ino)
        intent, _ = inodes(request).begin_truncate(message, once.slot_of(request), user(request))
        try:
            return await finish_truncate(node, group, intent)
        except RemoteError:
            # the new epoch may be known to some nodes: it has to be carried through
            if node.namespace(group).intents.get(intent.kind, intent.ino) is not None:
                node.spawn(retry_truncate(node, group, intent), "truncate")
            raise

    def get_attributes(request: Request) -> Reply | Awaitable[Reply]:
        """The size of a file that others write is asked for first."""
        node.require(request.envelope.group, request.envelope.epoch)
        message, here = cast(GetAttributes, request.message), inodes(request)
        return sizes.answer(
            message.ino,
            request.caller.session,
            lambda: Reply(here.get_attributes(message)),
        )

    return {
        Op.GET_ATTRIBUTES: get_attributes,
        Op.REPORT_SIZE: plain(report_size),
        Op.CHECK_ACCESS: plain(
            lambda request: check_access(request, cast(CheckAccess, request.message))
        ),
        Op.RECORD_READS: plain(
            lambda request: inodes(request).record_reads(
                cast(RecordReads, request.message), user(request)
            )
        ),
        Op.SET_ATTRIBUTES: once.inline(
            node,
            lambda request: inodes(request).set_attributes(
                cast(SetAttributes, request.message), user(request)
            ),
        ),
        Op.RESERVE_END: once.inline(node, reserve_end),
        Op.MAKE_INODE: between_nodes(
            once.inline(
                node, lambda request: inodes(request).make_inode(cast(MakeInode, request.message))
            )
        ),
        Op.DROP_INODE: between_nodes(
            once.inline(
                node, lambda request: inodes(request).drop_inode(cast(DropInode, request.message))
            )
        ),
        Op.TRUNCATE: once.waiting(node, truncate),
    }


async def finish_truncate(node: Node, group: int, intent: Intent) -> tuple[object, ...]:
    """Cut the chunks on all nodes that may have some, then the inode. Raises RemoteError."""
    cut = CutFile(intent.ino, intent.truncation, intent.size, intent.layout.chunk_size)

    async def tell(node_id: str) -> None:
        if node_id == node.node_id:
            await node.store.cut(*cut)
        else:
            await node.call_node(node_id, cut)

    outcomes = await asyncio.gather(
        *[tell(node_id) for node_id in node.nodes_of(intent.layout)], return_exceptions=True
    )
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return node.namespace(group).inodes.commit_truncate(intent)


async def retry_truncate(node: Node, group: int, intent: Intent) -> None:
    """Carry a begun truncation to its end, however long some node is away."""
    delay = 0.1
    while True:
        await asyncio.sleep(delay)
        delay = min(delay * 2, 5.0)
        try:
            reply = await finish_truncate(node, group, intent)
        except RemoteError as exc:
            if node.namespace(group).intents.get(intent.kind, intent.ino) is not None:
                continue
            if intent.call is not None:
                once.record_failure(node, group, intent.call, exc)
            return
        if intent.call is not None:
            once.record(node, group, intent.call, reply)
        return
