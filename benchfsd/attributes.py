"""Changing attributes: what chmod, chown and utime make of an inode, and who may call them.

One pure function over an inode, a request, a user and a time. ctime is the node's own and moves
with every change; nobody sets it.
"""

from __future__ import annotations

import errno
import stat

from benchfs.inode import WRITE, FileType
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import Attributes, SetAttributes
from benchfsd.rights import SUPERUSER, User, may_access, unprivileged

PERMISSION_BITS = 0o7777


def changed(
    inode: Attributes, message: SetAttributes, user: User | None, now_ns: int
) -> Attributes:
    """The inode after the change; the same object if nothing was asked for.

    Of the mode, only the permission bits count. EPERM for who does not own the inode, for giving
    it away, and for a group one is not in; EACCES for "now" as both times of an inode that one
    neither owns nor may write; EOPNOTSUPP for the mode of a symbolic link.
    """
    new_mode = _given(message.mode)
    new_owner = _given(message.uid) or _given(message.gid)
    explicit_time = _given(message.atime_ns) or _given(message.mtime_ns)
    now_time = message.atime_now or message.mtime_now
    if not (new_mode or new_owner or explicit_time or now_time):
        return inode
    if new_mode and inode.type == FileType.SYMLINK:
        raise RemoteError(errno.EOPNOTSUPP, "a symbolic link's mode says nothing, and stays")
    if user is not SUPERUSER and user.uid != inode.uid:
        both_now = message.atime_now and message.mtime_now
        if new_mode or new_owner or explicit_time or not both_now:
            raise RemoteError(errno.EPERM, f"only its owner, {inode.uid}, may do that")
        if not may_access(inode, user, WRITE):
            raise RemoteError(errno.EACCES, f"only its owner, {inode.uid}, and writers may do that")
    if user is not SUPERUSER and new_owner:
        _require_may_give(inode, message, user)
    return inode._replace(
        mode=_mode(inode, message, user),
        uid=inode.uid if message.uid is None else message.uid,
        gid=inode.gid if message.gid is None else message.gid,
        atime_ns=_time(inode.atime_ns, message.atime_ns, now_ns if message.atime_now else None),
        mtime_ns=_time(inode.mtime_ns, message.mtime_ns, now_ns if message.mtime_now else None),
        ctime_ns=now_ns,
        change=inode.change + 1,
    )


def _given(value: int | None) -> bool:
    return value is not None


def _require_may_give(inode: Attributes, message: SetAttributes, user: User) -> None:
    if message.uid not in {None, inode.uid}:
        raise RemoteError(errno.EPERM, "only the superuser may give a file to somebody else")
    gid = message.gid
    if gid is not None and gid != inode.gid and not user.in_group(gid):
        raise RemoteError(errno.EPERM, f"user {user.uid} is not in group {gid}")


def _mode(inode: Attributes, message: SetAttributes, user: User | None) -> int:
    mode = inode.mode
    given_away = message.uid is not None or message.gid is not None
    if given_away and inode.type != FileType.DIRECTORY:
        mode = unprivileged(mode)
    if message.mode is None:
        return mode
    mode = message.mode & PERMISSION_BITS
    gid = inode.gid if message.gid is None else message.gid
    if user is not SUPERUSER and not user.in_group(gid):
        mode &= ~stat.S_ISGID
    return mode


def _time(old_ns: int, wanted_ns: int | None, now_ns: int | None) -> int:
    if now_ns is not None:
        return now_ns
    return old_ns if wanted_ns is None else wanted_ns
