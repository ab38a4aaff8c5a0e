"""Who may do what: owner, group, others, sticky directories. Rules only, over an inode's fields.

A user is who the node takes the caller for; None (`SUPERUSER`) is the one who may do everything,
so that asking for his rights costs a comparison. Who that is, `benchfsd/guard.py` decides.
"""

from __future__ import annotations

import errno
import stat
from typing import Final, NamedTuple, Protocol

from benchfs.inode import EXECUTE, FileType
from benchfs.rpc.errors import RemoteError


class User(NamedTuple):
    """A user who is subject to the rules."""

    uid: int
    gid: int
    groups: tuple[int, ...]  # supplementary

    def in_group(self, gid: int) -> bool:
        """Whether the user belongs to the group."""
        return gid == self.gid or gid in self.groups


SUPERUSER: Final = None
"""The user to whom no rule applies."""

NOBODY = User(65_534, 65_534, ())
"""Who root is where it is not trusted."""


class Owned(Protocol):
    """What the rules ask of an inode."""

    @property
    def type(self) -> int: ...
    @property
    def mode(self) -> int: ...
    @property
    def uid(self) -> int: ...
    @property
    def gid(self) -> int: ...


def may_access(inode: Owned, user: User | None, wanted: int) -> bool:
    """Whether the first class that fits (owner, group, others) has all the rights in `wanted`.

    The superuser, too, may execute only what somebody may.
    """
    if user is SUPERUSER:
        return (
            not wanted & EXECUTE
            or inode.type == FileType.DIRECTORY
            or bool(inode.mode & (stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH))
        )
    if user.uid == inode.uid:
        granted = inode.mode >> 6
    elif user.in_group(inode.gid):
        granted = inode.mode >> 3
    else:
        granted = inode.mode
    return granted & wanted == wanted


def require_access(inode: Owned, user: User | None, wanted: int, name: bytes = b"") -> None:
    """Raise EACCES unless `may_access`."""
    if not may_access(inode, user, wanted):
        raise RemoteError(errno.EACCES, denial(inode, user), name)


def denial(inode: Owned, user: User | None) -> str:
    """Why access is denied, for the error's text."""
    who = "the superuser" if user is SUPERUSER else f"user {user.uid}"
    return f"mode {inode.mode:04o} of owner {inode.uid}, group {inode.gid} does not let {who}"


def may_remove(directory: Owned, owner: int, user: User | None) -> bool:
    """Whether the sticky bit lets `user` remove or rename an entry whose inode `owner` owns."""
    if user is SUPERUSER or not directory.mode & stat.S_ISVTX:
        return True
    return user.uid in {owner, directory.uid}


def unprivileged(mode: int) -> int:
    """The mode without setuid and setgid, as writing and a change of owner leave it.

    setgid without the group's execute bit means something else, and stays.
    """
    mode &= ~stat.S_ISUID
    return mode & ~stat.S_ISGID if mode & stat.S_IXGRP else mode
