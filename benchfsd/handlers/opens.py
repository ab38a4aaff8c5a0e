"""Operations on open files: hold by number, release, renew."""

from __future__ import annotations

from typing import cast

from benchfs.inode import READ, WRITE, FileType, home_group
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    AccessReply,
    CheckAccess,
    Empty,
    HoldRecord,
    LockRecord,
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
        ino, hold, writes, wanted, _ = message
        wanted &= READ | WRITE
        user = node.guard.user(request.caller)
        inode = node.namespace(group).inodes.check_access(CheckAccess(ino, wanted), user)
        if inode.type != FileType.FILE:
            return Reply(AccessReply(inode, b""))
        node.opens.require_room()
        node.opens.hold(request.caller.session, HoldRecord(ino, hold, writes))
        return Reply(AccessReply(inode, node.guard.capability(request, ino, wanted)))

    def release(request: Request) -> Reply:
        session, (holds, spilled) = request.caller.session, cast(Release, request.message)
        for ino in spilled:
            node.opens.note_spilled(ino)
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
        may = [lock for lock in locks if _may_lock(node, request, lock)]
        lost = node.locks.claim(session, may, trust=node.opens.in_grace)
        lost |= {lock.ino for lock in locks} - {lock.ino for lock in may}
        return Reply(RenewReply(agreed=True, gone=gone, unlocked=tuple(lost)))

    return {Op.OPEN_INODE: open_inode, Op.RELEASE: release, Op.RENEW: renew}


def _may_lock(node: Node, request: Request, lock: LockRecord) -> bool:
    try:
        node.guard.locking(request, lock.ino, whole=lock.whole, exclusive=lock.exclusive)
    except RemoteError:
        return False
    return True


def _exists(node: Node, ino: int) -> bool:
    """Whether the inode is there. Of a group that this node does not lead, it cannot say no."""
    group = home_group(ino)
    if group >= node.map.group_count or not node.leads(group):
        return True
    return node.namespace(group).inodes.find(ino) is not None
