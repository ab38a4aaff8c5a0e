"""Operations on open files: hold by number, release, renew."""

from __future__ import annotations

from typing import cast

from benchfs.inode import FileType, home_group
from benchfs.rpc.messages import (
    Empty,
    GetAttributes,
    HoldRecord,
    Op,
    OpenInode,
    Release,
    Renew,
    RenewReply,
)
from benchfs.rpc.server import Call as Request
from benchfs.rpc.server import Handler, Reply
from benchfsd.node import Node
from benchfsd.orphans import Orphans


def table(node: Node, orphans: Orphans) -> dict[Op, Handler]:
    """Operation to handler."""

    def open_inode(request: Request) -> Reply:
        group, message = request.envelope.group, cast(OpenInode, request.message)
        node.require(group, request.envelope.epoch)
        reply = node.namespace(group).inodes.get_attributes(GetAttributes(message.ino))
        if reply.attributes.type == FileType.FILE:
            node.opens.require_room()
            node.opens.hold(request.caller.session, HoldRecord._make(message))
        return Reply(reply)

    def release(request: Request) -> Reply:
        session, holds = request.caller.session, cast(Release, request.message).holds
        freed = node.opens.release(session, holds)
        node.locks.drop(session, [h.ino for h in holds if not node.opens.holds(session, h.ino)])
        orphans.freed(freed)
        return Reply(Empty())

    def renew(request: Request) -> Reply:
        session, message = request.caller.session, cast(Renew, request.message)
        settled, count, holds, locks = message
        if holds is None:
            return Reply(RenewReply(node.opens.renew(session, settled, count), (), ()))
        there = [hold for hold in holds if _exists(node, hold.ino)]
        orphans.freed(node.opens.claim(session, settled, there))
        known = {hold.ino for hold in there}
        gone = tuple(hold.ino for hold in holds if hold.ino not in known)
        lost = node.locks.claim(session, locks, trust=node.opens.in_grace)
        return Reply(RenewReply(agreed=True, gone=gone, unlocked=tuple(lost)))

    return {Op.OPEN_INODE: open_inode, Op.RELEASE: release, Op.RENEW: renew}


def _exists(node: Node, ino: int) -> bool:
    """Whether the inode is there. Of a group that this node does not lead, it cannot say no."""
    group = home_group(ino)
    if group >= node.map.group_count or not node.leads(group):
        return True
    return node.namespace(group).inodes.find(ino) is not None
