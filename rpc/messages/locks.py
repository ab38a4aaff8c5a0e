"""Locks of files and of ranges of their bytes."""

from __future__ import annotations

from typing import NamedTuple

from benchfs.rpc.messages.envelope import Empty, Operation
from benchfs.rpc.messages.numbers import Op
from benchfs.rpc.schema import U32, U64, Bool


class LockRecord(NamedTuple):
    """A lock that a session has."""

    ino: U64
    handle: U64  # the open file that it belongs to: a number that the session gave it
    whole: Bool  # the lock of the file as such (flock), beside those of byte ranges
    exclusive: Bool
    start: U64
    end: U64


class Lock(NamedTuple):
    """To the home group: lock bytes from `start` up to `end`. Repeats do no harm."""

    ino: U64
    handle: U64
    whole: Bool
    exclusive: Bool
    start: U64
    end: U64  # 2^63: the end of the file, however it grows
    number: U64  # grows with each Lock and Unlock of the session
    wait_ms: U32  # 0: do not wait. In vain: EAGAIN


class Unlock(NamedTuple):
    """To the home group: unlock them. A Lock with a lower number that comes later is refused."""

    ino: U64
    handle: U64
    whole: Bool
    start: U64
    end: U64
    number: U64


OPERATIONS = (
    Operation(Op.LOCK, Lock, Empty, False),
    Operation(Op.UNLOCK, Unlock, Empty, False),
)
