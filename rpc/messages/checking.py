"""What a check of the cluster asks and repairs. For the superuser only."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, NamedTuple

from benchfs.rpc.messages.envelope import Operation
from benchfs.rpc.messages.inodes import Attributes
from benchfs.rpc.messages.numbers import Op
from benchfs.rpc.schema import I64, U8, U16, U32, U64, Blob, Bool, Limit, Name, Text, Token


class RepairHow(IntEnum):
    """What REPAIR does, if it is still needed: to the group of the row that changes."""

    REMOVE_ENTRY = 1  # parent, name, ino: the inode, or the directory, is gone
    REMOVE_DIRECTORY = 2  # ino: it has no name and is empty
    REMOVE_FILE = 3  # ino: it has neither names nor links, and nobody has it open
    SET_LINKS = 4  # ino: `value` names lead to it
    SET_PARENT = 5  # ino: `parent` has the directory's name
    ADD_ENTRY = 6  # parent, name, ino: to be found there
    COUNT_ENTRIES = 7  # ino: the count in this group is what is there
    REMOVE_PART = 8  # ino: the directory is gone
    REGISTER_PART = 9  # ino: the directory does not know of this group's part
    SET_SIZE = 10  # ino: `value` bytes arrived at the nodes
    PURGE_CHUNKS = 11  # ino: it is gone


class ListInodes(NamedTuple):
    """The inodes at home in the group, by number, of which number modulo `shares` is `share`."""

    after: U64  # the last one of the page before; 0: from the first
    share: U32
    shares: U32


class SurveyedInode(NamedTuple):
    """An inode as a check needs it."""

    attributes: Attributes
    open: Bool  # somebody has it open, or may have
    pending: Bool  # something about it is unfinished


class ListInodesReply(NamedTuple):
    """A page of inodes. Of rows that fail their check there are only the keys."""

    inodes: Annotated[tuple[SurveyedInode, ...], Limit(4096)]
    damaged: Annotated[tuple[Name, ...], Limit(4096)]
    next: U64  # `after` of the next page; 0: this was the last
    time_ns: I64  # the node's wall clock


class ListParts(NamedTuple):
    """The group's parts of directories at home elsewhere, by number."""

    after: U64
    share: U32  # as in ListInodes
    shares: U32


class ListEntries(NamedTuple):
    """The group's entries, by directory and name, whose inode or directory is of the share."""

    parent: U64  # with `after`: the last entry of the page before; 0: from the first
    after: Name
    share: U32  # as in ListInodes
    shares: U32


class SurveyedEntry(NamedTuple):
    """An entry as a check needs it."""

    parent: U64
    name: Name
    ino: U64
    type: U8
    lost: Bool  # this group has neither the directory nor a part of it
    held: Bool  # a rename or a removal of it is under way


class ListEntriesReply(NamedTuple):
    """A page of entries."""

    entries: Annotated[tuple[SurveyedEntry, ...], Limit(4096)]
    damaged: Annotated[tuple[Blob, ...], Limit(4096)]  # keys of rows that fail their check
    more: Bool
    parent: U64  # the next page is after this one
    after: Name


class ListChunks(NamedTuple):
    """The node's chunks, in whatever groups, by group, inode and number."""

    group: U16
    ino: U64  # with `chunk`: the last one of the page before; 0: from the group's first
    chunk: U32
    share: U32  # of inodes; as in ListInodes
    shares: U32


class SurveyedChunk(NamedTuple):
    """A chunk as a check needs it."""

    group: U16
    ino: U64
    chunk: U32
    length: U32
    truncation: U32  # the file's truncation epoch when it was last changed


class ListChunksReply(NamedTuple):
    """A page of chunks."""

    chunks: Annotated[tuple[SurveyedChunk, ...], Limit(4096)]
    damaged: Annotated[tuple[Name, ...], Limit(4096)]  # keys of records that fail their check
    more: Bool
    group: U16  # the next page is after this one
    ino: U64
    chunk: U32


class ListPending(NamedTuple):
    """What was begun in the group and is not finished."""

    after: Token  # the mark of the last one of the page before; empty: from the first


class PendingRecord(NamedTuple):
    """Something that was begun and is not finished."""

    kind: Text
    ino: U64  # what it is about
    mark: Token  # of no other in the cluster, now or later


class ListPendingReply(NamedTuple):
    """A page of what is not finished."""

    pending: Annotated[tuple[PendingRecord, ...], Limit(4096)]
    more: Bool


class ExamineInode(NamedTuple):
    """An inode at home in the group, or the group's part of a directory."""

    ino: U64
    counting: Bool  # count the entries in this group: 0.2 µs each


class ExamineInodeReply(NamedTuple):
    """What there is of the inode in the group."""

    inode: SurveyedInode | None
    purging: Bool  # it is gone, and its chunks are being removed
    counted: U64
    parts: Annotated[tuple[U16, ...], Limit(4096)]  # groups that may have parts of it


class ExamineEntry(NamedTuple):
    """One entry."""

    parent: U64
    name: Name


class ExamineEntryReply(NamedTuple):
    """The entry, if it is there."""

    entry: SurveyedEntry | None


class FindEntries(NamedTuple):
    """The group's entries of these inodes, in one directory or (0) in all. Looks at each row."""

    inos: Annotated[tuple[U64, ...], Limit(4096)]
    within: U64
    parent: U64  # with `after`: as in ListEntries
    after: Name


class VerifyChunks(NamedTuple):
    """Hold the node's next chunks, by group, inode and number, against their checks."""

    group: U16
    ino: U64  # as in ListChunks
    chunk: U32
    most: U32  # bytes: stop after these; at least one chunk is verified


class DamageRecord(NamedTuple):
    """Bytes that do not match their check, or cannot be read."""

    group: U16
    ino: U64
    chunk: U32
    offset: U32  # in the chunk
    length: U32  # 0: its record is damaged


class VerifyChunksReply(NamedTuple):
    """What was verified."""

    chunks: U32
    verified: U64  # bytes
    damaged: Annotated[tuple[DamageRecord, ...], Limit(4096)]
    more: Bool
    group: U16  # go on after this one
    ino: U64
    chunk: U32


class Repair(NamedTuple):
    """Put one thing right, unless it was changed since."""

    how: U8  # RepairHow
    ino: U64
    parent: U64
    name: Name
    value: U64
    change: U64  # of the inode when it was looked at, where that matters


class RepairReply(NamedTuple):
    """Whether it was done: not if what was wrong is so no longer."""

    done: Bool


OPERATIONS = (
    Operation(Op.LIST_INODES, ListInodes, ListInodesReply, False),
    Operation(Op.LIST_PARTS, ListParts, ListInodesReply, False),
    Operation(Op.LIST_ENTRIES, ListEntries, ListEntriesReply, False),
    Operation(Op.LIST_CHUNKS, ListChunks, ListChunksReply, False),
    Operation(Op.LIST_PENDING, ListPending, ListPendingReply, False),
    Operation(Op.EXAMINE_INODE, ExamineInode, ExamineInodeReply, False),
    Operation(Op.EXAMINE_ENTRY, ExamineEntry, ExamineEntryReply, False),
    Operation(Op.FIND_ENTRIES, FindEntries, ListEntriesReply, False),
    Operation(Op.VERIFY_CHUNKS, VerifyChunks, VerifyChunksReply, False),
    Operation(Op.REPAIR, Repair, RepairReply, False),  # looks before it acts
)
