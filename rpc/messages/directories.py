"""Directories: where their entries are, and pages of them.

A directory's entries may lie in several groups. Each of these keeps a part of the directory: its
rights, and the times and the count of the entries there.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from benchfs.rpc.messages.envelope import Empty, Operation
from benchfs.rpc.messages.inodes import Attributes, AttributesReply
from benchfs.rpc.messages.numbers import Op
from benchfs.rpc.schema import U8, U16, U64, Bool, Limit, Name


class EntryRecord(NamedTuple):
    """One name of a directory, with attributes when they live in the same group."""

    name: Name
    ino: U64
    type: U8
    attributes: Attributes | None
    fanout: U16  # of a directory: the shards of its entries


class GetParts(NamedTuple):
    """Where a directory's entries are; to its home group."""

    ino: U64


class PartsReply(NamedTuple):
    """The groups that may have entries, each to be read by itself."""

    groups: Annotated[tuple[U16, ...], Limit(65_535)]


class ReadDirectory(NamedTuple):
    """Entries of one part in the order of their names, after the name `after` (empty: all)."""

    ino: U64
    after: Name
    most: U16  # entries in a page, at the most


class ReadDirectoryReply(NamedTuple):
    """A page; `more` tells whether another one follows."""

    entries: Annotated[tuple[EntryRecord, ...], Limit(4096)]
    more: Bool
    searchable: Bool  # whether the caller may look up what is in it; else no attributes come along


class RegisterPart(NamedTuple):
    """Before the first entry of a directory in a group; to the directory's home group."""

    ino: U64
    group: U16


class GetPart(NamedTuple):
    """A directory's attributes with the entries and the times of one part; ENOENT: none yet."""

    ino: U64


class SetPart(NamedTuple):
    """Rights of a directory changed: a part notes them, unless it knows newer ones."""

    attributes: Attributes


OPERATIONS = (
    Operation(Op.GET_PARTS, GetParts, PartsReply, False),
    Operation(Op.READ_DIRECTORY, ReadDirectory, ReadDirectoryReply, False),
    Operation(Op.REGISTER_PART, RegisterPart, AttributesReply, False),
    Operation(Op.GET_PART, GetPart, AttributesReply, False),
    Operation(Op.SET_PART, SetPart, Empty, False),
)
