"""The inodes of one group: their rows, their numbers, their attributes; sizes: `file_sizes.py`.

Each function is one synchronous transaction: it checks everything, then writes, so that one
that raises has written nothing. Errors are RemoteErrors with an errno, as they travel.
Directories have an nlink of 1, as on btrfs: their subdirectories are not counted.
"""

from __future__ import annotations

import errno
import stat

from benchfs.env import Env
from benchfs.inode import (
    READ,
    ROOT_INO,
    FileType,
    atime_is_due,
    counter_of,
    home_group,
    make_ino,
)
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    Attributes,
    AttributesReply,
    CheckAccess,
    DropInode,
    Empty,
    GetAttributes,
    LayoutRecord,
    MakeInode,
    RecordReads,
    SetAttributes,
)
from benchfsd import quotas
from benchfsd.allowances import Allowances
from benchfsd.attributes import PERMISSION_BITS, changed
from benchfsd.file_sizes import FileSizes
from benchfsd.holds import Holds, Role
from benchfsd.intents import Intents
from benchfsd.rights import SUPERUSER, User, may_access, require_access
from benchfsd.rows import (
    NO_LAYOUT,
    Rows,
    counter_key,
    decode_counter,
    decode_inode,
    encode_counter,
    encode_inode,
    entry_prefix,
    inode_key,
    inode_with_change,
    part_key,
    target_key,
    type_of_inode,
    xattrs_key,
)

ROOT_MODE = 0o755

# Numbers are reserved in blocks, so that a create writes no row for its number. A restart
# skips what is left of a block: of 2^32 numbers a group, enough for a million restarts.
COUNTER_BLOCK = 4096
FIRST_COUNTER = 16  # below: numbers with a meaning, as ROOT_INO
COUNTERS = 2**32
CHANCES = 2**16  # what is random in a number, and no secret


class Inodes(FileSizes):
    """The inodes whose home is `group`. One object a group: it hands out their numbers."""

    __slots__ = (
        *("_chance", "_env", "_first_counter", "_holds", "_intents", "_next_counter"),
        *("_reserved_counter", "_rows", "allowances", "group"),
    )

    def __init__(self, group: int, rows: Rows, env: Env, intents: Intents, holds: Holds) -> None:
        self.group = group
        self._rows = rows
        self._env = env
        self._intents = intents
        self._holds = holds
        self.allowances = Allowances(group, rows, env)
        self._next_counter = self._reserved_counter = self._first_counter = self._chance = 0

    # ------------------------------------------------------------------------- rows

    def find(self, ino: int) -> Attributes | None:
        """The inode, if it is in this group."""
        value = self._rows.get(inode_key(self.group, ino))
        return None if value is None else decode_inode(value)

    def get(self, ino: int) -> Attributes:
        """The inode. ENOENT if it is not in this group."""
        inode = self.find(ino)
        if inode is None:
            raise RemoteError(errno.ENOENT, f"there is no inode {ino:#x} in group {self.group}")
        return inode

    def put(self, inode: Attributes) -> None:
        """Store the inode as it is now."""
        self._rows.put(inode_key(self.group, inode.ino), encode_inode(inode))

    def touch(self, ino: int, now_ns: int) -> None:
        """Note that the inode, if it is in this group, was changed: ctime and the counter."""
        key = inode_key(self.group, ino)
        value = self._rows.get(key)
        if value is not None:
            self._rows.put(key, inode_with_change(value, now_ns))

    def delete(self, ino: int) -> None:
        """Remove the inode with all that hangs on it. Its number is never used again."""
        if self.allowances:  # else no inode of the group has a quota
            inode = self.find(ino)
            if inode is not None and inode.quota:
                self.allowances.charge(inode.quota, -inode.size, -1)
                if inode.quota == ino:
                    quotas.forget(self._rows, self.group, ino)
        self._rows.delete(inode_key(self.group, ino))
        self._rows.delete(target_key(self.group, ino))
        self._rows.delete(xattrs_key(self.group, ino))

    def allocate(self) -> int:
        """A number that was never used. ENOSPC when the group has handed out all of them."""
        if self._next_counter == self._reserved_counter:
            self._reserve_counters()
        counter = self._next_counter
        self._next_counter += 1
        return make_ino(self.group, self._chance, counter)

    def _reserve_counters(self) -> None:
        """Take a block of counters: the row says what is reserved, whether used or not.

        The random part is drawn once for all of them: so files made one after the other are
        beside each other in the database, and making 32 changes one page of inodes, not 32.
        """
        value = self._rows.get(counter_key(self.group))
        start = FIRST_COUNTER if value is None else decode_counter(value)
        if start >= COUNTERS:
            raise RemoteError(errno.ENOSPC, f"group {self.group} has no inode numbers left")
        end = min(start + COUNTER_BLOCK, COUNTERS)
        self._rows.put(counter_key(self.group), encode_counter(end))
        self._next_counter, self._reserved_counter = start, end
        self._chance = self._env.rng.randrange(CHANCES)
        self._first_counter = self._first_counter or start

    def is_new(self, ino: int) -> bool:
        """Whether this object made the number, so since this process leads the group."""
        return 0 < self._first_counter <= counter_of(ino)

    # ------------------------------------------------------------------- attributes

    def get_attributes(self, message: GetAttributes) -> AttributesReply:
        """The inode. ENOENT."""
        return AttributesReply(self.get(message.ino))

    def set_attributes(
        self, message: SetAttributes, user: User | None = SUPERUSER
    ) -> AttributesReply:
        """Change what is not None, and ctime with it. ENOENT; EPERM and EACCES as of `changed`."""
        before = self.get(message.ino)
        after = changed(before, message, user, self._env.clock.time_ns())
        if after is not before:
            self.put(after)
        return AttributesReply(after)

    def check_access(self, message: CheckAccess, user: User | None) -> Attributes:
        """The inode, if `user` may do with it what is wanted. ENOENT, EACCES."""
        inode = self.get(message.ino)
        require_access(inode, user, message.wanted)
        return inode

    def record_reads(self, message: RecordReads, user: User | None = SUPERUSER) -> Empty:
        """Set atime where that is due; what is gone or may not be read is passed over.

        Neither ctime nor `change` moves: nothing changed that anybody could have cached.
        """
        now_ns = self._env.clock.time_ns()
        atime_ns = min(message.atime_ns, now_ns)
        for ino in message.inos:
            inode = self.find(ino)
            if inode is None or not may_access(inode, user, READ):
                continue
            due = atime_is_due(inode.atime_ns, inode.mtime_ns, inode.ctime_ns, now_ns)
            if due and atime_ns > inode.atime_ns:
                self.put(inode._replace(atime_ns=atime_ns))
        return Empty()

    # ----------------------------------------------------------------------- quotas

    def mark(self, inode: Attributes, quota: int) -> Attributes:
        """Have an inode count to another quota, whatever that allows."""
        if inode.quota == quota:
            return inode
        self.allowances.charge(inode.quota, -inode.size, -1)
        self.allowances.charge(quota, inode.size, 1)
        inode = inode._replace(quota=quota, change=inode.change + 1)
        self.put(inode)
        return inode

    def recount(self, quota: int) -> None:
        """Count anew what this group uses of a quota."""
        arriving = [
            prepared.size
            for prepared in self._holds.all_prepared()
            if prepared.role is Role.QUOTA and prepared.parent == quota
        ]
        self.allowances.recount(quota, arriving)

    # ------------------------------------------------------------------ directories

    def format_root(self, uid: int, gid: int) -> Attributes:
        """Make the root directory, if it is not there yet: 0o755, and the caller's own."""
        if self.group != home_group(ROOT_INO):
            raise ValueError(f"the root's home is group {home_group(ROOT_INO)}, not {self.group}")
        root = self.find(ROOT_INO)
        if root is None:
            root = self._new_directory(ROOT_INO, ROOT_INO, ROOT_MODE, uid, gid)
        return root

    def make_inode(self, message: MakeInode) -> AttributesReply:
        """Make a directory's inode in this group. Its entry is made by the parent's group.

        ShortError.
        """
        self.allowances.require(message.quota, 0, 1)
        inode = self._new_directory(
            self.allocate(),
            message.parent,
            message.mode,
            message.uid,
            message.gid,
            max(1, message.fanout),
            message.quota,
        )
        self.allowances.charge(message.quota, 0, 1)
        return AttributesReply(inode)

    def _new_directory(  # noqa: PLR0917 (the parts of an inode)
        self,
        ino: int,
        parent: int,
        mode: int,
        uid: int,
        gid: int,
        fanout: int = 1,
        quota: int = 0,
    ) -> Attributes:
        inode = new_inode(
            ino,
            FileType.DIRECTORY,
            mode=mode,
            uid=uid,
            gid=gid,
            now_ns=self._env.clock.time_ns(),
            layout=NO_LAYOUT,
            quota=quota,
        )._replace(parent=parent, fanout=fanout)
        self.put(inode)
        return inode

    def drop_inode(self, message: DropInode) -> Empty:
        """Remove the inode of an empty directory. From then on nothing can be made in it.

        Done already counts as done. ENOTEMPTY; ENOTDIR; EBUSY for the root; Held.
        """
        self.require_empty(message.ino)
        self.delete(message.ino)
        return Empty()

    def require_empty(self, ino: int, name: bytes = b"") -> None:
        """Raise RemoteError unless the directory may be dropped. See `drop_inode`."""
        key = inode_key if home_group(ino) == self.group else part_key
        value = self._rows.get(key(self.group, ino))
        if value is None:
            return
        if ino == ROOT_INO:
            raise RemoteError(errno.EBUSY, "the root directory cannot be removed", name)
        if type_of_inode(value) != FileType.DIRECTORY:
            raise RemoteError(errno.ENOTDIR, f"inode {ino:#x} is not a directory", name)
        # The count and the entries are changed together: asking both costs nothing, and
        # entries are never lost to a wrong count.
        some = next(self._rows.scan(entry_prefix(self.group, ino)), None)
        if some is not None or decode_inode(value).entries:
            raise RemoteError(errno.ENOTEMPTY, f"directory {ino:#x} is not empty", name)
        self._holds.require_unsealed(ino, name)
        self._holds.require_no_arrivals(ino, name)


def new_inode(
    ino: int,
    file_type: FileType,
    *,
    mode: int,
    uid: int,
    gid: int,
    now_ns: int,
    layout: LayoutRecord,
    quota: int = 0,
) -> Attributes:
    """An inode that begins now, with one link and no bytes."""
    return Attributes(
        ino=ino,
        type=file_type,
        mode=mode & PERMISSION_BITS,
        nlink=1,
        uid=uid,
        gid=gid,
        size=0,
        truncation=0,
        atime_ns=now_ns,
        mtime_ns=now_ns,
        ctime_ns=now_ns,
        change=1,
        parent=0,
        entries=0,
        fanout=0,
        layout=layout,
        quota=quota,
    )


def inherit(
    parent_mode: int, parent_gid: int, mode: int, gid: int, *, directory: bool
) -> tuple[int, int]:
    """Mode and gid of something new in a directory: as asked for, unless that is setgid.

    Then, as on Linux, new things belong to the directory's group, and new directories are
    setgid too.
    """
    if not parent_mode & stat.S_ISGID:
        return mode, gid
    return (mode | stat.S_ISGID if directory else mode), parent_gid
