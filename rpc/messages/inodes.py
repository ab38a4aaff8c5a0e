"""Inodes: attributes, sizes, what a symbolic link says. To the inode's home group.

Names of inodes are in `names`, what several groups change together in `changes`.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from benchfs.rpc.messages.envelope import Empty, Operation
from benchfs.rpc.messages.numbers import Op
from benchfs.rpc.schema import I64, U8, U16, U32, U64, Bool, Limit, Path


class LayoutRecord(NamedTuple):
    """Where a file's chunks live: chunk i is in group stripe[(first + i) mod len(stripe)]."""

    chunk_size: U32
    first: U16
    stripe: Annotated[tuple[U16, ...], Limit(4096)]  # empty: all groups of the cluster


class Attributes(NamedTuple):
    """An inode, as stat and open need it."""

    ino: U64
    type: U8  # benchfs.inode.FileType
    mode: U16  # permission bits
    nlink: U32
    uid: U32
    gid: U32
    size: U64
    truncation: U32  # truncation epoch: sizes reported under an older one are ignored
    atime_ns: I64
    mtime_ns: I64
    ctime_ns: I64
    change: U64  # counts every change of content or attributes
    parent: U64  # of a directory; 0 for others
    entries: U64  # in a directory; 0 for others
    fanout: U16  # shards of a directory's entries; 0 for others
    layout: LayoutRecord
    quota: U64 = 0  # the directory whose quota it counts to; 0: none


class AttributesReply(NamedTuple):
    """The inode after the call."""

    attributes: Attributes


class GetAttributes(NamedTuple):
    """Attributes of an inode by number."""

    ino: U64


class GetManyAttributes(NamedTuple):
    """Attributes of inodes of any groups; to a node that leads some of them."""

    inos: Annotated[tuple[U64, ...], Limit(1024)]


class ManyAttributesReply(NamedTuple):
    """Of the first `answered` inodes, without those that have to be asked for alone."""

    answered: U16
    attributes: Annotated[tuple[Attributes, ...], Limit(1024)]


class SetAttributes(NamedTuple):
    """Change what is not None."""

    ino: U64
    mode: U16 | None
    uid: U32 | None
    gid: U32 | None
    atime_ns: I64 | None
    mtime_ns: I64 | None
    atime_now: Bool = False  # the node's time, in place of atime_ns
    mtime_now: Bool = False  # the node's time, in place of mtime_ns


class RecordReads(NamedTuple):
    """A reader's report: these inodes were read at this time; merged by maximum, as relatime."""

    inos: Annotated[tuple[U64, ...], Limit(4096)]
    atime_ns: I64


class CheckAccess(NamedTuple):
    """Attributes of an inode, if the caller may do with it what `wanted` says; EACCES."""

    ino: U64
    wanted: U8  # 4 read, 2 write, 1 execute or search, and sums of them; 0: nothing


class ReadLink(NamedTuple):
    """What a symbolic link says. It never changes."""

    ino: U64


class ReadLinkReply(NamedTuple):
    """The target, relative to the link's directory unless it begins with a slash."""

    target: Path


class ReportSize(NamedTuple):
    """A writer's greatest end of acknowledged bytes; merged by maximum, see DESIGN of sizes."""

    ino: U64
    truncation: U32
    end: U64
    mtime_ns: I64


class Truncate(NamedTuple):
    """Set the size, up or down. Starts a new truncation epoch."""

    ino: U64
    size: U64


class MakeInode(NamedTuple):
    """Between nodes: make a directory's inode in the group addressed."""

    parent: U64
    mode: U16
    uid: U32
    gid: U32
    fanout: U16
    quota: U64 = 0  # of the parent


class DropInode(NamedTuple):
    """Between nodes: remove a directory's inode if it is empty; done already counts as done."""

    ino: U64


OPERATIONS = (
    Operation(Op.GET_ATTRIBUTES, GetAttributes, AttributesReply, False),
    Operation(Op.GET_MANY_ATTRIBUTES, GetManyAttributes, ManyAttributesReply, False),
    Operation(Op.SET_ATTRIBUTES, SetAttributes, AttributesReply, True),
    Operation(Op.RECORD_READS, RecordReads, Empty, False),  # a maximum: repeats do no harm
    Operation(Op.CHECK_ACCESS, CheckAccess, AttributesReply, False),
    Operation(Op.READ_LINK, ReadLink, ReadLinkReply, False),
    Operation(Op.REPORT_SIZE, ReportSize, AttributesReply, False),  # a maximum: repeats do no harm
    Operation(Op.TRUNCATE, Truncate, AttributesReply, True),
    Operation(Op.MAKE_INODE, MakeInode, AttributesReply, True),
    Operation(Op.DROP_INODE, DropInode, Empty, True),
)
