"""Quotas of directory trees, and the allowances that groups are granted of them.

A quota is known by the inode of the directory that it was set on, and kept in that directory's
home group. The groups of the inodes that count to it are granted allowances.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from benchfs.rpc.messages.envelope import Empty, Operation
from benchfs.rpc.messages.numbers import Op
from benchfs.rpc.schema import U16, U64, Bool, Limit, Path


class SetQuota(NamedTuple):
    """To the directory's home group: limit what is made below it from now on."""

    ino: U64
    path: Path  # of the directory, as texts are to call it
    bytes: U64  # 2^63 - 1: no limit
    inodes: U64  # 2^63 - 1: no limit
    marked: Bool  # what was there before counts to it by now


class GetQuota(NamedTuple):
    """To the directory's home group: the quota and its use, asked of all nodes; ENOENT."""

    ino: U64
    recount: Bool  # have the nodes count their inodes anew


class QuotaReply(NamedTuple):
    """A quota. `exact`: every node has answered; else what it may use counts as used."""

    ino: U64
    path: Path
    bytes: U64
    inodes: U64
    marked: Bool
    used_bytes: U64
    used_inodes: U64
    exact: Bool


class ClearQuota(NamedTuple):
    """To the directory's home group: from now on nothing is limited. Done already is done."""

    ino: U64


class MarkInodes(NamedTuple):
    """To a home group: these inodes count to this quota; what is gone is passed over."""

    inos: Annotated[tuple[U64, ...], Limit(1024)]
    quota: U64  # 0: none


class MarkInodesReply(NamedTuple):
    """Directories among them that have a quota of their own, and keep it."""

    own: Annotated[tuple[U64, ...], Limit(1024)]


class GrantAllowance(NamedTuple):
    """Between nodes, to the quota's group: `group` uses so much, and asks for so much more.

    It may use no more than it says until it is answered. EDQUOT.
    """

    quota: U64
    group: U16
    number: U64  # grows with all that the group says about this quota
    used_bytes: U64
    used_inodes: U64
    more_bytes: U64
    more_inodes: U64


class GrantAllowanceReply(NamedTuple):
    """What the group may use in all; void if the group has said something later, `number`."""

    number: U64
    bytes: U64
    inodes: U64


class RecallAllowances(NamedTuple):
    """Between nodes, to a node as such: give back what the groups it leads do not use."""

    quota: U64
    groups: Annotated[tuple[U16, ...], Limit(65_535)]  # tell of these, also if they use nothing
    recount: Bool


class UsageRecord(NamedTuple):
    """What the inodes of a group use of a quota, and with it all that it may use."""

    group: U16
    number: U64
    bytes: U64
    inodes: U64


class RecallAllowancesReply(NamedTuple):
    """Of all groups that the node leads, but those that are asking for more just now."""

    usages: Annotated[tuple[UsageRecord, ...], Limit(65_535)]


OPERATIONS = (
    Operation(Op.SET_QUOTA, SetQuota, QuotaReply, False),  # absolute: repeats do no harm
    Operation(Op.GET_QUOTA, GetQuota, QuotaReply, False),
    Operation(Op.CLEAR_QUOTA, ClearQuota, Empty, False),
    Operation(Op.MARK_INODES, MarkInodes, MarkInodesReply, False),
    Operation(Op.GRANT_ALLOWANCE, GrantAllowance, GrantAllowanceReply, False),  # a number
    Operation(Op.RECALL_ALLOWANCES, RecallAllowances, RecallAllowancesReply, False),
)
