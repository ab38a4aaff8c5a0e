"""What a transport is: a few small protocols that every engine implements.

A transport connects and listens; what it gives is a `Link`, an ordered stream of bytes to one
peer. A link asks its `Receiver` where the next bytes belong and tells it how many came, so a
payload is received straight into its destination. Addresses are URLs: tcp://host:port,
unix:///path, mem://name. All calls belong to the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

Buffer = bytes | bytearray | memoryview

# When more than this waits to be sent, a server stops reading that peer's requests: eight
# replies of 1 MiB keep a link busy, and a peer that does not read cannot fill the memory.
HIGH_WATER_BYTES = 8 * 1024 * 1024


class TransportUnavailableError(OSError):
    """A transport that was asked for cannot be used here; the text says what to do, for people."""


class Peer(NamedTuple):
    """The other end, as the transport can vouch for it; all but the address on unix sockets only.

    `groups` are the supplementary ones.
    """

    address: str
    uid: int | None = None
    gid: int | None = None
    pid: int | None = None
    groups: tuple[int, ...] = ()


class Link(Protocol):
    """One connection's stream. Nothing here waits; errors arrive at `Receiver.lost`."""

    peer: Peer
    waiting_bytes: int  # written, not yet handed to the kernel
    passes_descriptors: bool  # unix sockets do

    def write(
        self,
        buffers: Sequence[Buffer],
        *,
        descriptors: Sequence[int] = (),
        then: Callable[[], None] | None = None,
    ) -> None:
        """Queue buffers, to be left unchanged until sent, and `then` be called (also on loss).

        `descriptors` go with the first byte and are closed once sent, or on loss. Where they
        cannot be passed, raises OSError, and they stay the caller's.
        """

    def flush(self) -> None:
        """Send what is queued, as far as the kernel takes it; the rest follows by itself."""

    def pause_reading(self) -> None:
        """Receive nothing until `resume_reading`."""

    def resume_reading(self) -> None:
        """Receive again."""

    def settle(self) -> None:
        """The receiver is about to change its buffer: use the old one no more.

        Bytes that are in it already are told by `received` before this returns.
        """

    def expect_descriptors(self) -> None:
        """From now on descriptors may come in; they wait for `take_descriptor`.

        Raises OSError where they cannot be passed.
        """

    def take_descriptor(self) -> int | None:
        """The next descriptor received, now the caller's to close."""

    def close(self) -> None:
        """Send what is queued (for a bounded time), then end. Idempotent."""

    def abort(self) -> None:
        """End now. Idempotent."""


class Receiver(Protocol):
    """Who a link belongs to."""

    def connected(self, link: Link) -> None:
        """Called once, before anything else."""

    def get_buffer(self) -> memoryview:
        """Where the next bytes belong; not empty."""

    def received(self, count: int) -> None:
        """`count` bytes are in the buffer."""

    def drained(self) -> None:
        """`waiting_bytes` fell below half of HIGH_WATER_BYTES after being over it."""

    def lost(self, reason: str) -> None:
        """The link ended; called exactly once, last."""


class Listener(Protocol):
    """A place where peers connect."""

    address: str  # with the real port where port 0 was asked for

    def close(self) -> None:
        """Accept no more; links already accepted stay."""


class Transport(Protocol):
    """An engine that carries links for some URL schemes."""

    name: str
    schemes: frozenset[str]

    async def connect(self, address: str, receiver: Receiver) -> Link:
        """Connect; raises OSError. The caller bounds the time."""

    async def listen(self, address: str, accept: Callable[[], Receiver]) -> Listener:
        """Listen; `accept` makes the receiver of each new link. Raises OSError."""
