"""Open files: what a session holds, that it lives, and the end of a file that it appends to.

A session holds an inode open under the greatest number that it was opened with. Numbers are
the session's own and grow with each open, so that a release that was overtaken by another open
releases nothing.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from benchfs.rpc.messages.envelope import Empty, Operation
from benchfs.rpc.messages.inodes import Attributes
from benchfs.rpc.messages.locks import LockRecord
from benchfs.rpc.messages.numbers import Op
from benchfs.rpc.schema import U8, U16, U32, U64, Blob, Bool, Limit, Token


class HoldRecord(NamedTuple):
    """An inode that a session holds open."""

    ino: U64
    number: U64
    writes: Bool


class OpenInode(NamedTuple):
    """Hold an inode open that was found by number: to its home group, as `hold` of Open."""

    ino: U64
    hold: U64
    writes: Bool
    wanted: U8 = 0  # as of Open
    brings: U16 = 0  # as of Open


class AccessReply(NamedTuple):
    """The inode, and a capability for what was wanted, as in OpenReply."""

    attributes: Attributes
    capability: Token
    checks: Blob = b""  # as in OpenReply


class Release(NamedTuple):
    """To a node: the session's last handles of these inodes are closed.

    `spilled`: those among them that may have chunks beyond the size that was reported.
    """

    holds: Annotated[tuple[HoldRecord, ...], Limit(4096)]
    spilled: Annotated[tuple[U64, ...], Limit(4096)] = ()


class Renew(NamedTuple):
    """To a node: the session lives.

    `holds` and `locks`: all it has there, when they did not agree.
    """

    settled: U64  # no open with a number up to this one is under way
    held: U32  # inodes held there under such numbers
    holds: Annotated[tuple[HoldRecord, ...], Limit(32_768)] | None
    locks: Annotated[tuple[LockRecord, ...], Limit(8_192)]


class RenewReply(NamedTuple):
    """`agreed`: node and session hold the same to be open; else all is to be sent."""

    agreed: Bool
    gone: Annotated[tuple[U64, ...], Limit(32_768)]  # what was sent, and is no more
    unlocked: Annotated[tuple[U64, ...], Limit(8_192)]  # where locks that were sent are lost


class ReserveEnd(NamedTuple):
    """To the home group: make the file `length` bytes longer, for the caller to write there."""

    ino: U64
    length: U64


class ReserveEndReply(NamedTuple):
    """The bytes from `offset` on are the caller's, as long as the truncation epoch holds."""

    offset: U64
    attributes: Attributes


OPERATIONS = (
    Operation(Op.OPEN_INODE, OpenInode, AccessReply, False),  # a number: repeats do no harm
    Operation(Op.RELEASE, Release, Empty, False),
    Operation(Op.RENEW, Renew, RenewReply, False),
    Operation(Op.RESERVE_END, ReserveEnd, ReserveEndReply, True),
)
