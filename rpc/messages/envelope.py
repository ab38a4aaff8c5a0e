"""What all calls have in common: the envelope of a request, the failure, the empty reply.

And `Operation`, the row that says which request and which reply belong to a number. Every
subject's module ends with its rows; `table` puts them together.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple, TypeVar

from benchfs.rpc.messages.numbers import Op
from benchfs.rpc.schema import U16, U32, U64, Limit, Text

Message = TypeVar("Message", bound=tuple[object, ...])


class Envelope(NamedTuple):
    """What precedes the fields of every request."""

    operation: U16
    deadline_ms: U32  # how long the caller still waits
    group: U16  # the group it is addressed to; with epoch 0: the node as such
    epoch: U64  # the group's epoch as the caller knows it
    slot: U16  # the caller's slot, for mutations
    sequence: U64  # its sequence number there; 0: not a mutation


class Failure(NamedTuple):
    """The fields of an ERROR frame."""

    code: U16  # errno, or a Code
    text: Text
    path: Annotated[bytes, Limit(4096)]
    node: Text
    detail: Annotated[bytes, Limit(65_536)]


class Empty(NamedTuple):
    """A reply that says no more than: done."""


class Operation(NamedTuple):
    """One operation: its number, its request and its reply."""

    op: Op
    request: type
    reply: type
    mutates: bool  # carries a slot and a sequence, and is executed exactly once
