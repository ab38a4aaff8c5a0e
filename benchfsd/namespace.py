"""The names of one group: look up, create, remove, list, each one transaction.

Pure over rows and Env, with no sockets. Each function is synchronous and checks everything
before it writes, so that one that raises has written nothing; errors are RemoteErrors with an
errno and the name. Exactly-once is not done here (`benchfsd/slots.py`), nor are permissions
(`benchfsd/access.py`).

A directory's entries live in its home group, with its inode; those of a wide one in several
groups, each of which has a part (`benchfsd/parts.py`). A new file's inode is made in
the group of its entry, a new directory's in a home group of its own; so making and removing
a directory concerns two groups, and the handlers put it together from these steps:

    mkdir   check_absent here, Inodes.make_inode there, add_entry here (if that fails: drop)
    rmdir   begin_rmdir here, Inodes.drop_inode there, finish_rmdir here (or abort_rmdir)
    unlink  unlink here, purge the chunks everywhere, intents.finish(intent)

Renames are in `benchfsd/renaming.py`. While one that concerns several groups is under way, names
are held (`benchfsd/holds.py`), and operations on them raise Held: to be done again when they are
released. An entry may stand for an inode of another group, because it was renamed or made as a
hard link: removing it leaves a Move that takes the name from the inode there.

Measured over a Database on tmpfs, 32 in a batch, on the 2-core development machine: look-up
6 µs, create with its slot 19 µs, rename 19 µs, unlink with its intent 16 µs, readdir 5 µs an
entry. Alone in their batch creates, renames and unlinks take 28 µs.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from benchfs.env import Env
from benchfs.inode import FileType, home_group
from benchfs.layout import shared_layout
from benchfs.paths import check_name
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    Attributes,
    Code,
    Empty,
    EntryRecord,
    LayoutRecord,
    Lookup,
    LookupReply,
    Open,
    OpenReply,
    ReadDirectory,
    ReadDirectoryReply,
    RemoveDirectory,
    Unlink,
    UnlinkReply,
)
from benchfsd.delegations import Delegations
from benchfsd.holders import Holders
from benchfsd.holds import TOKEN_BYTES, Holds, Move
from benchfsd.inodes import Inodes, inherit, new_inode
from benchfsd.intents import Intents
from benchfsd.rows import (
    Call,
    Entry,
    Intent,
    IntentKind,
    Kind,
    Rights,
    Rows,
    decode_entry,
    decode_inode,
    encode_entry,
    entry_key,
    entry_prefix,
    ino_of_orphan_key,
    inode_key,
    inode_with_entry_change,
    kind_prefix,
    mode_and_gid_of_inode,
    name_of_entry_key,
    orphan_key,
    part_key,
    quota_of_inode,
    rights_of_inode,
    type_of_inode,
)

# A page of a directory, packed: less than a body may have, and as many entries as its
# declaration allows. An entry takes its name, 3 bytes a group of its stripe, and no more than
# this beside.
PAGE_BYTES = 900_000
PAGE_ENTRIES = 4096
ENTRY_BYTES = 192


NOTHING = LookupReply(0, 0, None, 0)
"""There is no entry of this name."""


class Removed(NamedTuple):
    """The reply, and what is to be carried out afterwards.

    `purge`: the file that went with its last name, if one did; `drop`: the inode of another
    group that lost a name, if one did.
    """

    reply: Empty | UnlinkReply
    purge: Intent | None
    drop: Move | None = None


class UnregisteredError(RemoteError):
    """The first entry of a directory in this group: NOT_READY until it is registered."""

    def __init__(self, group: int, ino: int, name: bytes) -> None:
        super().__init__(Code.NOT_READY, f"directory {ino:#x} has no part in group {group}", name)
        self.group = group
        self.ino = ino


class Namespace:
    """The names in one group, its inodes and its intents. One object a group.

    Without `holders` nobody has anything open.
    """

    __slots__ = ("_env", "_holders", "_rows", "delegations", "group", "holds", "inodes", "intents")

    def __init__(self, group: int, rows: Rows, env: Env, holders: Holders | None = None) -> None:
        self.group = group
        self._holders = holders
        self.intents = Intents(group, rows)
        self.holds = Holds(group, rows)
        self.delegations = Delegations(env.clock)
        self.inodes = Inodes(group, rows, env, self.intents, self.holds)
        self._rows = rows
        self._env = env

    # ---------------------------------------------------------------------- reading

    def lookup(self, message: Lookup) -> LookupReply:
        """The entry, and its inode if that is at home here. ENOENT for the directory; ENOTDIR.

        A name that is not there is an answer, not an error: before each file that a mount makes,
        the kernel asks for one.
        """
        parent, name = message
        if self.holds.names:
            self.holds.require_visible(parent, name)
        self._directory(parent, name)
        entry = self._find(parent, name)
        if entry is None:
            return NOTHING
        return LookupReply(entry.ino, entry.type, self._attributes(entry, name), entry.fanout)

    def read_directory(self, message: ReadDirectory) -> ReadDirectoryReply:
        """A page of entries by name, after `after`. ENOENT, ENOTDIR.

        No longer than a reply can be, nor than `most` entries. An entry that is there during the
        whole walk is in exactly one page, whatever else is made or removed meanwhile.
        """
        ino, after, most = message
        self._directory(ino)
        most = max(1, min(most, PAGE_ENTRIES))
        after_key = entry_key(self.group, ino, after) if after else b""
        entries: list[EntryRecord] = []
        page_bytes = 0
        for key, value in self._rows.scan(entry_prefix(self.group, ino), after_key):
            name = name_of_entry_key(key)
            entry = decode_entry(value)
            whole = self._is_local(entry.ino) and entry.fanout <= 1
            inode = self.inodes.find(entry.ino) if whole else None
            page_bytes += ENTRY_BYTES + len(name) + (3 * len(inode.layout.stripe) if inode else 0)
            if len(entries) == most or (entries and page_bytes > PAGE_BYTES):
                return ReadDirectoryReply(tuple(entries), more=True, searchable=True)
            entries.append(EntryRecord(name, entry.ino, entry.type, inode, entry.fanout))
        return ReadDirectoryReply(tuple(entries), more=False, searchable=True)

    # ----------------------------------------------------------------------- making

    def open(self, message: Open) -> OpenReply:
        """The entry, made with a new file if it is missing and `create` is set.

        What is there may be a directory or a symlink: the client decides what that means.
        ENOENT, ENOTDIR; EEXIST if `exclusive` too; EINVAL for a layout or a name that cannot be;
        ShortError.
        """
        parent, name = message.parent, message.name
        if self.holds.names:
            self.holds.require_visible(parent, name)
        directory = self._directory(parent, name, new=message.create)
        entry = self._find(parent, name)
        if entry is not None:
            if message.create and message.exclusive:
                raise RemoteError(errno.EEXIST, "there is an entry of this name", name)
            attributes = self._attributes(entry, name)
            return OpenReply(entry.ino, entry.type, created=False, attributes=attributes)
        if not message.create:
            raise RemoteError(errno.ENOENT, "there is no entry of this name", name)
        require_name(name)
        _require_layout(message.layout, name)
        self.holds.require_unsealed(parent, name)
        quota = quota_of_inode(directory)
        if quota:
            self.inodes.allowances.require(quota, 0, 1)
        now_ns = self._env.clock.time_ns()
        mode, gid = inherit(
            *mode_and_gid_of_inode(directory), message.mode, message.gid, directory=False
        )
        inode = new_inode(
            self.inodes.allocate(),
            FileType.FILE,
            mode=mode,
            uid=message.uid,
            gid=gid,
            now_ns=now_ns,
            layout=message.layout,
            quota=quota,
        )
        self.inodes.put(inode)
        if quota:
            self.inodes.allowances.charge(quota, 0, 1)
        self._put_entry(parent, directory, name, Entry(inode.ino, inode.type), now_ns)
        return OpenReply(inode.ino, inode.type, created=True, attributes=inode)

    def directory_rights(self, ino: int, *, registered: bool = False) -> Rights | None:
        """What a check of permissions asks of a directory; None if there is none of this number.

        `registered`: a wide one has to have a part here: UnregisteredError.
        """
        value = self._rows.get(self._directory_key(ino))
        if value is None and registered and not self._is_local(ino):
            raise UnregisteredError(self.group, ino, b"")
        if value is None or type_of_inode(value) != FileType.DIRECTORY:
            return None
        return rights_of_inode(value)

    def find_entry(self, parent: int, name: bytes) -> Entry | None:
        """The entry, if there is one."""
        return self._find(parent, name)

    def is_absent(self, parent: int, name: bytes) -> bool:
        """Whether the directory, if it is one, has no entry of this name."""
        return self._find(parent, name) is None

    def is_wide(self, parent: int, name: bytes) -> bool:
        """Whether the name is of a directory whose entries are in several groups."""
        entry = self._find(parent, name)
        return entry is not None and entry.fanout > 1

    def check_absent(self, parent: int, name: bytes) -> Attributes:
        """The directory in which `name` may be made. ENOENT, ENOTDIR, EEXIST, EINVAL; Held."""
        directory = self._directory(parent, name, new=True)
        self._require_absent(parent, name)
        return decode_inode(directory)

    def add_entry(
        self, parent: int, name: bytes, ino: int, file_type: FileType, fanout: int = 0
    ) -> None:
        """Give an inode, which may be at home anywhere, a name. Errors as of `check_absent`."""
        directory = self._directory(parent, name, new=True)
        self._require_absent(parent, name)
        now_ns = self._env.clock.time_ns()
        self._put_entry(parent, directory, name, Entry(ino, file_type, fanout), now_ns)

    # --------------------------------------------------------------------- removing

    def quota_of(self, parent: int, name: bytes) -> int:
        """The quota of what is in a directory. ENOENT, ENOTDIR."""
        return quota_of_inode(self._directory(parent, name))

    def remove_entry(self, parent: int, name: bytes, ino: int) -> None:
        """Take the name from an inode. ENOENT if `name` is not, or no longer, this inode; Held."""
        self.holds.require_free(parent, name)
        directory = self._directory(parent, name)
        if self._entry(parent, name).ino != ino:
            raise RemoteError(errno.ENOENT, f"this name is not inode {ino:#x} any more", name)
        self._delete_entry(parent, directory, name, self._env.clock.time_ns())

    def unlink(self, message: Unlink) -> Removed:
        """Remove the entry of a file, and its inode if that was the last, wherever that is.

        ENOENT, ENOTDIR; EISDIR for a directory, as on Linux.
        """
        parent, name = message
        if self.holds.names:
            self.holds.require_free(parent, name)
        directory = self._directory(parent, name)
        entry = self._entry(parent, name)
        if entry.type == FileType.DIRECTORY:
            raise RemoteError(errno.EISDIR, "this is a directory: remove it as one", name)
        now_ns = self._env.clock.time_ns()
        removed = self._take_name(entry, name, now_ns)
        self._delete_entry(parent, directory, name, now_ns)
        return removed._replace(reply=UnlinkReply(now_ns))

    def begin_rmdir(self, message: RemoveDirectory, call: Call | None = None) -> Intent:
        """First step: from here until the end the name is neither renamed nor removed.

        `call` is whom the recovery is to answer. ENOENT, ENOTDIR; NOT_READY while somebody else
        is removing it.
        """
        parent, name = message
        self.holds.require_free(parent, name)
        self._directory(parent, name)
        entry = self._entry(parent, name)
        if entry.type != FileType.DIRECTORY:
            raise RemoteError(errno.ENOTDIR, "this is not a directory", name)
        self.intents.require_none(IntentKind.RMDIR, entry.ino, name)
        intent = Intent(IntentKind.RMDIR, entry.ino, call, parent=parent, name=name)
        self.intents.add(intent)
        return intent

    def finish_rmdir(self, intent: Intent) -> Empty:
        """Last step, when the inode is dropped. Done already counts as done."""
        if self.intents.get(IntentKind.RMDIR, intent.ino) is not None:
            self.remove_entry(intent.parent, intent.name, intent.ino)
            self.intents.finish(intent)
        return Empty()

    def abort_rmdir(self, intent: Intent) -> None:
        """Instead of the last step, when the inode was not dropped."""
        self.intents.finish(intent)

    # ----------------------------------------------------------------------- inside

    def _is_local(self, ino: int) -> bool:
        return home_group(ino) == self.group

    def _directory(self, ino: int, name: bytes = b"", *, new: bool = False) -> bytes:
        """The value of the directory's inode, or of its part here. ENOENT, ENOTDIR.

        `new`: an entry may be made, so that a part may be, too: UnregisteredError.
        """
        value = self._rows.get(self._directory_key(ino))
        if value is None:
            if new and not self._is_local(ino):
                raise UnregisteredError(self.group, ino, name)
            raise RemoteError(
                errno.ENOENT, f"there is no directory {ino:#x} in group {self.group}", name
            )
        if type_of_inode(value) != FileType.DIRECTORY:
            raise RemoteError(errno.ENOTDIR, f"inode {ino:#x} is not a directory", name)
        return value

    def _directory_key(self, ino: int) -> bytes:
        key = inode_key if self._is_local(ino) else part_key
        return key(self.group, ino)

    def _find(self, parent: int, name: bytes) -> Entry | None:
        value = self._rows.get(entry_key(self.group, parent, name))
        return None if value is None else decode_entry(value)

    def _entry(self, parent: int, name: bytes) -> Entry:
        value = self._rows.get(entry_key(self.group, parent, name))
        if value is None:
            raise RemoteError(errno.ENOENT, "there is no entry of this name", name)
        return decode_entry(value)

    def _require_absent(self, parent: int, name: bytes) -> None:
        require_name(name)
        self.holds.require_free(parent, name)
        self.holds.require_unsealed(parent, name)
        if self._find(parent, name) is not None:
            raise RemoteError(errno.EEXIST, "there is an entry of this name", name)

    def _attributes(self, entry: Entry, name: bytes) -> Attributes | None:
        """The inode of an entry; None if another group has to be asked, or several."""
        if entry.fanout > 1 or not self._is_local(entry.ino):
            return None
        return self._local_inode(entry, name)

    def _local_inode(self, entry: Entry, name: bytes) -> Attributes:
        """The inode of an entry, which has to be at home here."""
        inode = self.inodes.find(entry.ino)
        if inode is not None:
            return inode
        if entry.type == FileType.DIRECTORY:  # it is being removed: its inode goes first
            raise RemoteError(errno.ENOENT, "the directory was removed", name)
        raise RemoteError(errno.EIO, f"inode {entry.ino:#x} of this entry is lost", name)

    def drop_name(self, inode: Attributes) -> Intent | None:
        """Take one name from a file of this group whose entry is elsewhere. As `_unlink_inode`."""
        return self._unlink_inode(inode, self._env.clock.time_ns())

    def _take_name(self, entry: Entry, name: bytes, now_ns: int) -> Removed:
        """Take one name from a file, wherever its inode is. EIO if it is lost."""
        if self._is_local(entry.ino):
            return Removed(Empty(), self._unlink_inode(self._local_inode(entry, name), now_ns))
        token = self._env.rng.token_bytes(TOKEN_BYTES)
        drop = Move(token, committed=True, drop=entry.ino)
        self.holds.put_move(drop)
        return Removed(Empty(), None, drop)

    def _unlink_inode(self, inode: Attributes, now_ns: int) -> Intent | None:
        """Take one name from a file. With the last one, it goes, and its chunks are to go.

        If somebody may have it open, it stays as an orphan until nobody has.
        """
        held = self._holders is not None and self._holders.is_held(inode.ino)
        if inode.nlink > 1 or held:
            self.inodes.put(
                inode._replace(nlink=inode.nlink - 1, ctime_ns=now_ns, change=inode.change + 1)
            )
            if inode.nlink == 1 and self._holders is not None:
                self._rows.put(orphan_key(self.group, inode.ino), b"")
                self._holders.orphaned(inode.ino)
            return None
        return self._delete_inode(inode)

    def orphans(self) -> list[int]:
        """The inodes without names."""
        prefix = kind_prefix(self.group, Kind.ORPHAN)
        return [ino_of_orphan_key(key) for key, _ in self._rows.scan(prefix)]

    def drop_orphan(self, ino: int) -> Intent | None:
        """Remove an inode without names, which nobody has open any more; its chunks are to go."""
        inode = self.inodes.find(ino) if self._rows.delete(orphan_key(self.group, ino)) else None
        return None if inode is None or inode.nlink else self._delete_inode(inode)

    def _delete_inode(self, inode: Attributes) -> Intent | None:
        self.inodes.delete(inode.ino)
        if inode.type != FileType.FILE:
            return None  # it has no chunks
        if self._holders is not None and self._holders.drop_chunks(inode):
            return None
        intent = Intent(
            IntentKind.PURGE,
            inode.ino,
            truncation=inode.truncation,
            size=inode.size,
            layout=inode.layout,
        )
        self.intents.add(intent)
        return intent

    def _put_entry(
        self, parent: int, directory: bytes, name: bytes, entry: Entry, now_ns: int
    ) -> None:
        self._rows.put(entry_key(self.group, parent, name), encode_entry(*entry))
        self._touch(parent, directory, 1, now_ns)

    def _delete_entry(self, parent: int, directory: bytes, name: bytes, now_ns: int) -> None:
        self._rows.delete(entry_key(self.group, parent, name))
        self._touch(parent, directory, -1, now_ns)

    def _touch(self, ino: int, directory: bytes, delta: int, now_ns: int) -> None:
        """Note that `delta` entries came to a directory whose inode had the value `directory`."""
        self._rows.put(self._directory_key(ino), inode_with_entry_change(directory, now_ns, delta))


def require_name(name: bytes) -> None:
    """Raise RemoteError EINVAL or ENAMETOOLONG for what cannot name an entry."""
    problem = check_name(name)
    if problem:
        raise RemoteError(problem, "nothing can have this name", name)


def _require_layout(layout: LayoutRecord, name: bytes) -> None:
    try:
        shared_layout(*layout)
    except ValueError as problem:
        raise RemoteError(errno.EINVAL, str(problem), name) from None
