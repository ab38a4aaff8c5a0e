"""Renames in one group: whole ones, and the steps of those that concern several groups.

A rename is one transaction if both names are in this group and neither an inode elsewhere nor
the parent of a directory has to change. Else it takes these steps, each one transaction in its
group, which `benchfsd/coordinator.py` puts together:

    begin_rename   at the old name    it is held, nobody else may change it
    prepare_name   at the new name    it is held, look-ups of it wait
    prepare_parent, seal_directory    where a directory moves, or an empty one is replaced
    prepare_quota  at the inode       it counts to the quota of its new directory too
    commit         at the old name    the entry goes: this decides
    conclude       everywhere else    the new entry is there, what it replaced is gone

Until the commit every step can be taken back. Inodes never move: the new entry stands for one of
another group then.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from benchfs.env import Env
from benchfs.inode import WRITE, FileType
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    DropLink,
    Empty,
    PreparedName,
    PrepareName,
    PrepareParent,
    PrepareQuota,
    RemoveDirectory,
    Rename,
    RenameHow,
    SealDirectory,
    SealedDirectory,
)
from benchfsd.delegations import NOBODY
from benchfsd.holders import Holders
from benchfsd.holds import Move, Prepared, Role
from benchfsd.namespace import Namespace, Removed, require_name
from benchfsd.parts import Parts
from benchfsd.rights import User, require_access
from benchfsd.rows import (
    Entry,
    IntentKind,
    Rows,
    encode_entry,
    entry_key,
    part_key,
    quota_of_inode,
)

NOTHING = Removed(Empty(), None)


class Begun(NamedTuple):
    """A rename whose first step is done: its token, and what is to get another name."""

    token: bytes
    entry: Entry
    quota: int = 0  # of the directory of the old name


class RenamingNamespace(Namespace):
    """The names in one group, with renames."""

    __slots__ = ("parts",)

    def __init__(self, group: int, rows: Rows, env: Env, holders: Holders | None = None) -> None:
        super().__init__(group, rows, env, holders)
        self.parts = Parts(group, rows, self.inodes, self.holds)

    # ------------------------------------------------------------------ one transaction

    def rename(self, message: Rename) -> Removed | None:
        """Give an entry another name at once; None if that takes more than one transaction.

        ENOENT, ENOTDIR, EINVAL; EEXIST where nothing may be replaced; EISDIR for a file over a
        directory, ENOTDIR for a directory over anything else, ENOTEMPTY; Held; NOT_READY while a
        directory of one of the names is being removed.
        """
        parent, name, new_parent, new_name, new_group, _ = message
        how = _how(message.how, name)
        if new_group != self.group:
            return None
        self.holds.require_free(parent, name)
        self.holds.require_free(new_parent, new_name)
        directory = self._directory(parent, name)
        entry = self._entry(parent, name)
        new_directory = directory
        if new_parent != parent:
            new_directory = self._directory(new_parent, new_name, new=True)
        require_name(new_name)
        target = self._find(new_parent, new_name)
        if not _require_possible(entry, target, how, new_name):
            return NOTHING
        if quota_of_inode(directory) != quota_of_inode(new_directory):
            return None
        self._require_staying(entry, target, name)
        if parent != new_parent and _moves_directory(entry, target, how):
            return None
        now_ns = self._env.clock.time_ns()
        removed = NOTHING
        if target is not None and how is not RenameHow.EXCHANGE:
            if target.type != FileType.DIRECTORY:
                removed = self._take_name(target, new_name, now_ns)
            elif self._is_local(target.ino) and target.fanout <= 1:
                self.inodes.require_empty(target.ino, new_name)
                self.inodes.delete(target.ino)
            else:
                return None
        elif target is None:
            self.holds.require_unsealed(new_parent, new_name)
        becomes = target if how is RenameHow.EXCHANGE else None
        self._touch_moved(entry, becomes, now_ns)
        self._set_entry(parent, name, becomes)
        self._set_entry(new_parent, new_name, entry)
        went, came = -1 if becomes is None else 0, 1 if target is None else 0
        if parent == new_parent:
            self._touch(parent, directory, went + came, now_ns)
        else:
            self._touch(parent, directory, went, now_ns)
            self._touch(new_parent, new_directory, came, now_ns)
        return removed

    # -------------------------------------------------------------------- the old name

    def begin_remove(self, message: RemoveDirectory, token: bytes) -> Begun:
        """First step of removing a wide directory: its name is held. ENOENT, ENOTDIR; Held."""
        parent, name = message
        self.holds.require_free(parent, name)
        self._directory(parent, name)
        entry = self._entry(parent, name)
        if entry.type != FileType.DIRECTORY:
            raise RemoteError(errno.ENOTDIR, "this is not a directory", name)
        self._require_staying(entry, None, name)
        self.holds.put_move(Move(token, parent=parent, name=name))
        return Begun(token, entry)

    def begin_rename(self, message: Rename, token: bytes) -> Begun:
        """First step: the old name is held. ENOENT, ENOTDIR, EINVAL; Held, NOT_READY."""
        parent, name = message.parent, message.name
        _how(message.how, name)
        require_name(message.new_name)
        self.holds.require_free(parent, name)
        directory = self._directory(parent, name)
        entry = self._entry(parent, name)
        self._require_staying(entry, None, name)
        self.holds.put_move(Move(token, parent=parent, name=name))
        return Begun(token, entry, quota_of_inode(directory))

    def commit(
        self, token: bytes, becomes: Entry | None, groups: tuple[int, ...], *, moves: bool
    ) -> None:
        """The step that decides: the old name is gone, or stands for `becomes`.

        `groups` are to be told; `moves` says that a directory gets another parent.
        """
        move = self.holds.move(token)
        assert move is not None
        assert not move.committed
        parent, name = move.parent, move.name
        directory, entry = self._directory(parent, name), self._entry(parent, name)
        now_ns = self._env.clock.time_ns()
        self._touch_moved(entry, becomes, now_ns)
        self._set_entry(parent, name, becomes)
        self._touch(parent, directory, -1 if becomes is None else 0, now_ns)
        self.holds.put_move(move._replace(committed=True, groups=groups, moves=moves))

    # ---------------------------------------------------------------------- elsewhere

    def prepare_name(self, message: PrepareName) -> PreparedName:
        """Hold the new name. ENOENT, ENOTDIR, EINVAL, EEXIST, EISDIR; Held, NOT_READY.

        Whether a directory that is replaced is empty is asked at its home.
        """
        token, coordinator, parent, name, ino, file_type, fanout, _, _ = message
        how, entry = _how(message.how, name), Entry(ino, file_type, fanout)
        if not self.holds.prepared(token, Role.NAME):
            self.holds.require_free(parent, name)
            self.holds.require_unsealed(parent, name)
            self.delegations.require(parent, NOBODY, name)
            self._directory(parent, name, new=True)
            require_name(name)
            target = self._find(parent, name)
            if not _require_possible(entry, target, how, name):
                return PreparedName(*entry)
            self._require_staying(entry, target, name)
            exchange = how is RenameHow.EXCHANGE
            self.holds.prepare(
                Prepared(token, Role.NAME, coordinator, *entry, parent, name, exchange)
            )
        target = self._find(parent, name)
        return PreparedName(*(target or Entry(0, 0)), quota=self.quota_of(parent, name))

    def prepare_parent(self, message: PrepareParent) -> Empty:
        """Get ready to give a directory another parent. ENOENT; EACCES for who may not write it."""
        inode = self.inodes.get(message.ino)
        if message.user is not None:
            require_access(inode, User(*message.user), WRITE)
        self.holds.prepare(
            Prepared(
                message.token,
                Role.PARENT,
                message.coordinator,
                message.ino,
                parent=message.parent,
            )
        )
        return Empty()

    def prepare_quota(self, message: PrepareQuota) -> Empty:
        """Get ready to count a file or an empty directory to another quota: it counts to both.

        EXDEV for a file with several names, a directory that is not empty, wide, or has a quota
        of its own; ENOENT; Held; ShortError.
        """
        token, coordinator, ino, quota = message
        if self.holds.prepared(token, Role.QUOTA):
            return Empty()
        inode = self.inodes.get(ino)
        if inode.type != FileType.DIRECTORY:
            alone = inode.nlink <= 1
        else:
            alone = inode.fanout <= 1 and not inode.entries and inode.quota != ino
        if not alone:
            text = "the names have different quotas, and this cannot be counted to both"
            raise RemoteError(errno.EXDEV, text)
        if inode.type == FileType.DIRECTORY:
            self.inodes.require_empty(ino)
        allowances = self.inodes.allowances
        allowances.require(quota, inode.size, 1)
        allowances.charge(quota, inode.size, 1)
        self.holds.prepare(
            Prepared(
                token,
                Role.QUOTA,
                coordinator,
                ino,
                inode.type,
                parent=quota,
                size=inode.size,
            )
        )
        return Empty()

    def seal_directory(self, message: SealDirectory) -> SealedDirectory:
        """Let nothing be made in a directory that is to go. ENOENT, ENOTEMPTY; Held."""
        token, coordinator, ino = message
        if self.holds.sealed.get(ino) != token:
            if self._is_local(ino):
                self.inodes.get(ino)
            self.inodes.require_empty(ino)
            self.holds.prepare(Prepared(token, Role.DIRECTORY, coordinator, ino))
        return SealedDirectory(self.parts.used(ino) if self._is_local(ino) else ())

    def drop_link(self, message: DropLink) -> Removed:
        """Take one name from an inode that lives here, once for each token."""
        token, coordinator, ino = message
        if self.holds.prepared(token, Role.DROPPED):
            return NOTHING
        self.holds.prepare(Prepared(token, Role.DROPPED, coordinator, ino))
        inode = self.inodes.find(ino)
        if inode is None:
            return NOTHING
        return Removed(Empty(), self._unlink_inode(inode, self._env.clock.time_ns()))

    def conclude(self, token: bytes, *, commit: bool) -> list[Removed]:
        """Carry out what was prepared under a token, or take it back. Done counts as done.

        When a change is over, however it ended, everybody who keeps something under its token is
        told so with `commit` False.
        """
        now_ns = self._env.clock.time_ns()
        removed: list[Removed] = []
        for prepared in self.holds.conclude(token, commit=commit):
            if prepared.role is Role.QUOTA:
                self.inodes.allowances.charge(prepared.parent, -prepared.size, -1)
            if not commit:
                continue
            if prepared.role is Role.NAME:
                removed.append(self._install(prepared, now_ns))
            elif prepared.role is Role.DIRECTORY:
                self._drop_directory(prepared.ino)
            elif prepared.role is Role.PARENT:
                self._set_parent(prepared, now_ns)
            elif prepared.role is Role.QUOTA:
                moved = self.inodes.find(prepared.ino)
                if moved is not None:
                    self.inodes.mark(moved, prepared.parent)
        return removed

    def _drop_directory(self, ino: int) -> None:
        if self._is_local(ino):
            self.inodes.delete(ino)
            self.parts.forget_used(ino)
        else:
            self._rows.delete(part_key(self.group, ino))

    def _set_parent(self, prepared: Prepared, now_ns: int) -> None:
        inode = self.inodes.get(prepared.ino)
        change = inode.change + 1
        self.inodes.put(inode._replace(parent=prepared.parent, ctime_ns=now_ns, change=change))

    def _install(self, prepared: Prepared, now_ns: int) -> Removed:
        """Put the entry at its new name, and take the name from the file that had it."""
        parent, name = prepared.parent, prepared.name
        directory, target = self._directory(parent, name), self._find(parent, name)
        removed = NOTHING
        replaced = target is not None and not prepared.exchange
        if target is not None and replaced and target.type != FileType.DIRECTORY:
            removed = self._take_name(target, name, now_ns)
        self._set_entry(parent, name, Entry(prepared.ino, prepared.type, prepared.fanout))
        self._touch(parent, directory, 1 if target is None else 0, now_ns)
        return removed

    # ------------------------------------------------------------------------- inside

    def _require_staying(self, entry: Entry, target: Entry | None, name: bytes) -> None:
        """Raise NOT_READY while a directory among them is being removed."""
        for one in (entry, target):
            if one is not None and one.type == FileType.DIRECTORY:
                self.intents.require_none(IntentKind.RMDIR, one.ino, name)

    def _set_entry(self, parent: int, name: bytes, entry: Entry | None) -> None:
        if entry is None:
            self._rows.delete(entry_key(self.group, parent, name))
        else:
            self._rows.put(entry_key(self.group, parent, name), encode_entry(*entry))

    def _touch_moved(self, entry: Entry, other: Entry | None, now_ns: int) -> None:
        """Note the change in the inodes that live here."""
        for one in (entry, other):
            if one is not None:
                self.inodes.touch(one.ino, now_ns)


def _how(number: int, name: bytes) -> RenameHow:
    try:
        return RenameHow(number)
    except ValueError:
        raise RemoteError(errno.EINVAL, f"there is no way {number} to rename", name) from None


def _require_possible(entry: Entry, target: Entry | None, how: RenameHow, name: bytes) -> bool:
    """Whether anything is to be done. Raises RemoteError if `entry` may not have the name."""
    if target is None:
        if how is RenameHow.EXCHANGE:
            raise RemoteError(errno.ENOENT, "there is nothing to exchange with", name)
        return True
    if how is RenameHow.KEEP:
        raise RemoteError(errno.EEXIST, "there is an entry of this name", name)
    if target.ino == entry.ino:
        return False  # two names of one inode, or one name: nothing happens
    if how is RenameHow.REPLACE:
        if entry.type == FileType.DIRECTORY != target.type:
            raise RemoteError(errno.ENOTDIR, "a directory cannot replace a file", name)
        if target.type == FileType.DIRECTORY != entry.type:
            raise RemoteError(errno.EISDIR, "a file cannot replace a directory", name)
    return True


def _moves_directory(entry: Entry, target: Entry | None, how: RenameHow) -> bool:
    """Whether a directory changes its parent, if the two names have different ones."""
    exchanged = target if how is RenameHow.EXCHANGE else None
    return FileType.DIRECTORY in {entry.type, exchanged.type if exchanged else 0}
