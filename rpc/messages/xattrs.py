"""Extended attributes. To the inode's home group."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from benchfs.rpc.messages.envelope import Empty, Operation
from benchfs.rpc.messages.numbers import Op
from benchfs.rpc.schema import U8, U64, Limit, Name


class GetXattr(NamedTuple):
    """The value of an extended attribute."""

    ino: U64
    name: Name


class XattrReply(NamedTuple):
    """The value."""

    value: Annotated[bytes, Limit(65_536)]


class SetXattr(NamedTuple):
    """Set an extended attribute."""

    ino: U64
    name: Name
    value: Annotated[bytes, Limit(65_536)]
    flags: U8  # 1: only if it is not there, 2: only if it is


class ListXattrs(NamedTuple):
    """The names of an inode's extended attributes."""

    ino: U64


class ListXattrsReply(NamedTuple):
    """The names, sorted."""

    names: Annotated[tuple[Name, ...], Limit(16_384)]


class RemoveXattr(NamedTuple):
    """Remove an extended attribute."""

    ino: U64
    name: Name


OPERATIONS = (
    Operation(Op.GET_XATTR, GetXattr, XattrReply, False),
    Operation(Op.SET_XATTR, SetXattr, Empty, True),
    Operation(Op.LIST_XATTRS, ListXattrs, ListXattrsReply, False),
    Operation(Op.REMOVE_XATTR, RemoveXattr, Empty, True),
)
