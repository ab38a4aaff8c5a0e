"""Names: look up, open, make, remove, rename. To the group of the entry."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from benchfs.rpc.messages.envelope import Empty, Operation
from benchfs.rpc.messages.inodes import Attributes, AttributesReply, LayoutRecord
from benchfs.rpc.messages.numbers import Op
from benchfs.rpc.schema import I64, U8, U16, U32, U64, Blob, Bool, Name, Path, Token


class RenameHow(IntEnum):
    """What a rename does with something that has the new name."""

    REPLACE = 0
    KEEP = 1  # refuse: EEXIST
    EXCHANGE = 2  # give it the old name; ENOENT if there is nothing


class Lookup(NamedTuple):
    """The entry `name` of the directory `parent`."""

    parent: U64
    name: Name


class LookupReply(NamedTuple):
    """Attributes are absent when the inode's home is another group: ask there."""

    ino: U64  # 0: there is no entry of this name
    type: U8
    attributes: Attributes | None
    fanout: U16  # of a directory: tells where to ask for names in it


class Open(NamedTuple):
    """Open a file by name; creates it if `create`."""

    parent: U64
    name: Name
    create: Bool
    exclusive: Bool
    mode: U16
    uid: U32
    gid: U32
    layout: LayoutRecord  # for a new file
    wanted: U8 = 0  # of a file that is there: 4 read, 2 write, 6 both; EACCES
    hold: U64 = 0  # under which the session holds the file open; 0: it does not
    writes: Bool = False  # whether it is held for writing
    brings: U16 = 0  # without `create`: all of a file of up to so many bytes, if it is at hand
    alone: Bool = False  # with `create`: whether the session wants to make names there alone


class DirectoryRecord(NamedTuple):
    """A directory after a name was made in it."""

    change: U64  # its counter: one more with each entry that comes or goes, among others
    entries: U64
    alone_ms: U32  # since its request the session alone makes names there; 0: it does not
    started_ns: U64 = 0  # when the node's process started: one before may have known more changes


class OpenReply(NamedTuple):
    """`ino`, `type` as in LookupReply; `created` tells whether this call made the file."""

    ino: U64
    type: U8
    created: Bool
    attributes: Attributes | None
    capability: Token = b""  # for Present; empty: none is needed
    checks: Blob = b""  # of the payload, which is all of the file; empty: there is none
    directory: DirectoryRecord | None = None  # if the file was made, and `alone` was wanted


class MakeDirectory(NamedTuple):
    """Make a directory entry and its inode, which gets a home group of its own."""

    parent: U64
    name: Name
    mode: U16
    uid: U32
    gid: U32
    fanout: U16  # shards of its entries, no more than there are groups; 0: as its parent has


class Unlink(NamedTuple):
    """Remove the entry of a file, and the file with its last entry."""

    parent: U64
    name: Name


class UnlinkReply(NamedTuple):
    """The entry is gone."""

    time_ns: I64 = 0  # mtime and ctime of the directory since then, if no other change followed


class RemoveDirectory(NamedTuple):
    """Remove the entry of an empty directory, and the directory."""

    parent: U64
    name: Name


class Rename(NamedTuple):
    """Give an entry another name. To the group of the old name, which drives the rename."""

    parent: U64
    name: Name
    new_parent: U64
    new_name: Name
    new_group: U16  # of the new name
    how: U8  # RenameHow


class MakeSymlink(NamedTuple):
    """Make an entry and a symbolic link's inode. The reply is an AttributesReply."""

    parent: U64
    name: Name
    target: Path  # 1 to 4,095 bytes, none of them NUL
    uid: U32
    gid: U32


class MakeSpecial(NamedTuple):
    """Make an entry and the inode of a FIFO or a socket. The reply is an AttributesReply."""

    parent: U64
    name: Name
    type: U8
    mode: U16
    uid: U32
    gid: U32


class Link(NamedTuple):
    """Give an inode that is no directory one more name. The reply is an AttributesReply."""

    parent: U64
    name: Name
    ino: U64  # at home in any group


OPERATIONS = (
    Operation(Op.LOOKUP, Lookup, LookupReply, False),
    Operation(Op.OPEN, Open, OpenReply, True),
    Operation(Op.MAKE_DIRECTORY, MakeDirectory, AttributesReply, True),
    Operation(Op.UNLINK, Unlink, UnlinkReply, True),
    Operation(Op.REMOVE_DIRECTORY, RemoveDirectory, Empty, True),
    Operation(Op.RENAME, Rename, Empty, True),
    Operation(Op.MAKE_SYMLINK, MakeSymlink, AttributesReply, True),
    Operation(Op.MAKE_SPECIAL, MakeSpecial, AttributesReply, True),
    Operation(Op.LINK, Link, AttributesReply, True),
)
