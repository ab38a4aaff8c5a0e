"""Changes that concern several groups: renames, removals, links, moves between quotas.

The group of the entry that goes drives a change, known by its token. The others prepare their
parts, then that group commits in one transaction and tells them to conclude. Whoever has
prepared something and hears no more asks it; what it does not know was given up.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, NamedTuple

from benchfs.rpc.messages.envelope import Empty, Operation
from benchfs.rpc.messages.inodes import AttributesReply
from benchfs.rpc.messages.numbers import Op
from benchfs.rpc.schema import U8, U16, U32, U64, Bool, Limit, Name, Token


class Outcome(IntEnum):
    """What became of a change that concerns several groups."""

    UNKNOWN = 0  # given up, or carried out everywhere and forgotten
    PENDING = 1
    COMMITTED = 2


class UserRecord(NamedTuple):
    """On whose behalf a node asks another one."""

    uid: U32
    gid: U32
    groups: Annotated[tuple[U32, ...], Limit(256)]  # supplementary groups


class PrepareName(NamedTuple):
    """Hold a name for an inode: look-ups of it wait until the change is concluded."""

    token: Token
    coordinator: U16  # the group that drives the change
    parent: U64
    name: Name
    ino: U64  # what the name is to stand for
    type: U8
    fanout: U16
    how: U8  # RenameHow
    user: UserRecord | None  # who renames, and may he? nil: the superuser


class PreparedName(NamedTuple):
    """What the name stands for now; if that is the inode asked for, nothing was prepared."""

    ino: U64  # 0: nothing
    type: U8
    fanout: U16
    quota: U64 = 0  # of the directory


class PrepareParent(NamedTuple):
    """Get ready to note a directory's new parent, in the directory's home group."""

    token: Token
    coordinator: U16
    ino: U64
    parent: U64
    user: UserRecord | None  # who has to have write permission for it; nil: the superuser


class PrepareQuota(NamedTuple):
    """Get ready to count a file or an empty directory to another quota; EXDEV for all else."""

    token: Token
    coordinator: U16
    ino: U64
    quota: U64  # 0: none


class SealDirectory(NamedTuple):
    """Let nothing be made in an empty directory, which is to go; to each of its parts."""

    token: Token
    coordinator: U16
    ino: U64


class SealedDirectory(NamedTuple):
    """The other groups that have parts of it: no more can come. From the home group only."""

    groups: Annotated[tuple[U16, ...], Limit(65_535)]


class LockMoves(NamedTuple):
    """Wait for the turn to move a directory, and refuse loops; to the home group of the root."""

    token: Token
    coordinator: U16
    ino: U64
    parent: U64  # the new one
    other_ino: U64  # of an exchange: the other directory; 0: none
    other_parent: U64


class Conclude(NamedTuple):
    """Carry out what was prepared under a token, or undo it. Done already counts as done."""

    token: Token
    commit: Bool  # false also when it is over, for what is kept until then


class GetOutcome(NamedTuple):
    """What became of the change that a group drives."""

    token: Token


class OutcomeReply(NamedTuple):
    """The outcome as it is now."""

    outcome: U8  # Outcome


class DropLink(NamedTuple):
    """Take one name from an inode that lives in this group; once for each token."""

    token: Token
    coordinator: U16
    ino: U64


class ChangeLinks(NamedTuple):
    """Between nodes: the inode gets a name in another group. The reply is an AttributesReply."""

    ino: U64
    token: U64  # it counts once, however often it comes
    quota: U64 = 0  # of the directory that gets the name; EXDEV if the inode has another


class SettleLinks(NamedTuple):
    """Between nodes: the name with this token was made, or it is not counted any more."""

    ino: U64
    token: U64
    keep: Bool


# Known by their tokens: repeats do no harm.
OPERATIONS = (
    Operation(Op.PREPARE_NAME, PrepareName, PreparedName, False),
    Operation(Op.PREPARE_PARENT, PrepareParent, Empty, False),
    Operation(Op.PREPARE_QUOTA, PrepareQuota, Empty, False),
    Operation(Op.SEAL_DIRECTORY, SealDirectory, SealedDirectory, False),
    Operation(Op.LOCK_MOVES, LockMoves, Empty, False),
    Operation(Op.CONCLUDE, Conclude, Empty, False),
    Operation(Op.GET_OUTCOME, GetOutcome, OutcomeReply, False),
    Operation(Op.DROP_LINK, DropLink, Empty, False),
    Operation(Op.CHANGE_LINKS, ChangeLinks, AttributesReply, False),  # a token: as good as a slot
    Operation(Op.SETTLE_LINKS, SettleLinks, Empty, False),
)
