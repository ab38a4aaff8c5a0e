"""Symbolic links, special files and hard links of one group, each step one transaction.

A hard link may be made where the inode is not at home: its entry then points elsewhere. The
entry's group coordinates, and `nlink` is changed at the inode's home under a token, so that
however often a step is repeated it counts once:

    begin_link here, change_links there, finish_link here (or, refused: abort_link)
    after: settle_links there: the token is forgotten, or what it changed undone; forget here

The count goes up before there is an entry: a crash between leaves a count that the recovery
corrects, and never a name whose file was removed. A link that was begun is undone by the recovery
(its client asks again). Removing such a name is not done here: an entry that a rename brought
to another group than its inode's is one like it, and both are removed by `Namespace.unlink`.
"""

from __future__ import annotations

import errno

from benchfs.env import Env
from benchfs.inode import FileType
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    AttributesReply,
    ChangeLinks,
    Link,
    MakeSpecial,
    MakeSymlink,
    ReadLink,
    ReadLinkReply,
    SettleLinks,
)
from benchfsd.inodes import inherit, new_inode
from benchfsd.namespace import Namespace
from benchfsd.rows import (
    NO_LAYOUT,
    Call,
    Intent,
    IntentKind,
    Rows,
    link_change_key,
    target_key,
)

LINKS_MOST = 65_000
TARGET_BYTES = 4095
SYMLINK_MODE = 0o777
SPECIAL_TYPES = frozenset({FileType.FIFO, FileType.SOCKET})
TOKEN_BYTES = 8


class Links:
    """The links of one group. Made when needed: it keeps nothing in memory."""

    __slots__ = ("_env", "_names", "_rows")

    def __init__(self, names: Namespace, rows: Rows, env: Env) -> None:
        self._names = names
        self._rows = rows
        self._env = env

    # ------------------------------------------------------ symbolic links, special files

    def make_symlink(self, message: MakeSymlink) -> AttributesReply:
        """Make a symbolic link. Errors of `check_absent`; ENOENT for an empty target, EINVAL
        for one with a NUL byte, ENAMETOOLONG.
        """
        parent, name, target, uid, gid = message
        if not target:
            raise RemoteError(errno.ENOENT, "the target is empty", name)
        if len(target) > TARGET_BYTES:
            text = f"target of {len(target)} bytes, limit {TARGET_BYTES}"
            raise RemoteError(errno.ENAMETOOLONG, text, name)
        if b"\0" in target:
            raise RemoteError(errno.EINVAL, "the target has a NUL byte", name)
        made = self._make(parent, name, FileType.SYMLINK, SYMLINK_MODE, uid, gid, len(target))
        self._rows.put(target_key(self._names.group, made.attributes.ino), target)
        return made

    def read_link(self, message: ReadLink) -> ReadLinkReply:
        """What a symbolic link says. ENOENT; EINVAL if it is none."""
        inode = self._names.inodes.get(message.ino)
        target = self._rows.get(target_key(self._names.group, message.ino))
        if inode.type != FileType.SYMLINK:
            raise RemoteError(errno.EINVAL, f"inode {message.ino:#x} is not a symbolic link")
        if target is None:
            raise RemoteError(errno.EIO, f"the target of inode {message.ino:#x} is lost")
        return ReadLinkReply(target)

    def make_special(self, message: MakeSpecial) -> AttributesReply:
        """Make a FIFO or a socket. Errors of `check_absent`; EINVAL for another type."""
        parent, name, file_type, mode, uid, gid = message
        if file_type not in SPECIAL_TYPES:
            raise RemoteError(errno.EINVAL, f"type {file_type} is not made like this", name)
        return self._make(parent, name, FileType(file_type), mode, uid, gid, 0)

    def _make(  # noqa: PLR0917 (an inode's fields)
        self,
        parent: int,
        name: bytes,
        file_type: FileType,
        mode: int,
        uid: int,
        gid: int,
        size: int,
    ) -> AttributesReply:
        names = self._names
        directory = names.check_absent(parent, name)
        names.inodes.allowances.require(directory.quota, size, 1)
        mode, gid = inherit(directory.mode, directory.gid, mode, gid, directory=False)
        inode = new_inode(
            names.inodes.allocate(),
            file_type,
            mode=mode,
            uid=uid,
            gid=gid,
            now_ns=self._env.clock.time_ns(),
            layout=NO_LAYOUT,
            quota=directory.quota,
        )._replace(size=size)
        names.inodes.put(inode)
        names.inodes.allowances.charge(directory.quota, size, 1)
        names.add_entry(parent, name, inode.ino, file_type)
        return AttributesReply(inode)

    # --------------------------------------------------------------- hard links, here

    def link(self, message: Link) -> AttributesReply:
        """Name an inode that is at home in this group. Errors of `check_absent`; ENOENT, EPERM
        for a directory, EMLINK; EXDEV if the inode's quota is not the directory's.
        """
        parent, name, ino = message
        directory = self._names.check_absent(parent, name)
        linked = self._count_up(ino, directory.quota, name)
        self._names.add_entry(parent, name, ino, FileType(linked.attributes.type))
        return linked

    def begin_link(self, message: Link, call: Call | None = None) -> Intent:
        """First step for an inode of another group. Errors of `check_absent`; NOT_READY while
        another link of the inode is made through this group.
        """
        parent, name, ino = message
        directory = self._names.check_absent(parent, name)
        intents = self._names.intents
        for kind in (IntentKind.LINK, IntentKind.SETTLE):
            intents.require_none(kind, ino, name)
        token = int.from_bytes(self._env.rng.token_bytes(TOKEN_BYTES), "big")
        intent = Intent(
            IntentKind.LINK,
            ino,
            call,
            parent=parent,
            name=name,
            token=token,
            quota=directory.quota,
        )
        intents.add(intent)
        return intent

    def finish_link(self, intent: Intent, file_type: FileType) -> None:
        """The count is up: make the entry. Raises as `check_absent`, then `abort_link`."""
        self._names.add_entry(intent.parent, intent.name, intent.ino, file_type)
        self._names.intents.finish(intent)
        self._names.intents.add(intent._replace(kind=IntentKind.SETTLE, call=None))

    def abort_link(self, intent: Intent) -> None:
        """What the token changed at the inode's home is undone."""
        self._names.intents.finish(intent)

    def forget(self, intent: Intent) -> None:
        """The token is settled: the last step."""
        self._names.intents.finish(intent)

    # ------------------------------------------------------- the count, at the inode's home

    def change_links(self, message: ChangeLinks) -> AttributesReply:
        """Count a name in another group, once for each token.

        ENOENT, EMLINK, EXDEV; EPERM for a directory.
        """
        ino, token, quota = message
        key = link_change_key(self._names.group, ino, token)
        if self._rows.get(key) is not None:
            return AttributesReply(self._names.inodes.get(ino))
        linked = self._count_up(ino, quota)
        self._rows.put(key, b"")
        return linked

    def settle_links(self, message: SettleLinks) -> Intent | None:
        """Forget a token; if not `keep`, undo what it counted. Done already counts as done.

        Returns the intent to purge the file if undoing took its last name.
        """
        ino, token, keep = message
        key = link_change_key(self._names.group, ino, token)
        if self._rows.get(key) is None:
            return None
        inode = self._names.inodes.find(ino)
        purge = None
        if not keep and inode is not None:
            purge = self._names.drop_name(inode)
        self._rows.delete(key)
        return purge

    def _count_up(self, ino: int, quota: int, name: bytes = b"") -> AttributesReply:
        inode = self._names.inodes.get(ino)
        if not inode.nlink:
            raise RemoteError(errno.ENOENT, "the file has lost its last name", name)
        if inode.type == FileType.DIRECTORY:
            raise RemoteError(errno.EPERM, "a directory has one name", name)
        if inode.quota != quota:
            raise RemoteError(errno.EXDEV, "the names would have different quotas", name)
        if inode.nlink >= LINKS_MOST:
            raise RemoteError(errno.EMLINK, f"the file has {inode.nlink} names", name)
        inode = inode._replace(
            nlink=inode.nlink + 1, ctime_ns=self._env.clock.time_ns(), change=inode.change + 1
        )
        self._names.inodes.put(inode)
        return AttributesReply(inode)
