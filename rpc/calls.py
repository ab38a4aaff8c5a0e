"""What a handler sees of a request and gives for it, and the gate that holds answers back.

A handler that need not wait returns its `Reply`; one that must wait returns an awaitable of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from benchfs.rpc.messages import Envelope, Operation
from benchfs.rpc.transports.base import Buffer


class Caller(NamedTuple):
    """The authenticated peer of a connection."""

    session: bytes  # client id of its HELLO
    role: str
    purpose: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()  # supplementary


class Call(NamedTuple):
    """One request as a handler sees it."""

    operation: Operation
    envelope: Envelope
    message: tuple[object, ...]
    payload: memoryview | None
    caller: Caller
    deadline: float  # loop time


class Reply(NamedTuple):
    """A handler's answer. `done` is called when the payload has been sent, or never will be."""

    message: tuple[object, ...]
    payload: tuple[Buffer, ...] = ()
    descriptors: tuple[int, ...] = ()
    done: Callable[[], None] | None = None


Handler = Callable[[Call], Reply | Awaitable[Reply]]


class Gate(Protocol):
    """Where replies wait for the storage transaction of this turn."""

    @property
    def batch_open(self) -> bool:
        """Whether something was stored in this turn and is not committed yet."""

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call back when the open batch has committed."""
