"""The frames of one turn of the loop on their way to the link, packed into few buffers.

What is small is joined, payloads too: a link spends about 0.5 µs on every buffer it is given,
copying 4 KiB takes 0.15. Bulk payloads go as they are. The order of frames is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchfs.rpc.transports.base import Buffer, Link

# A frame up to this size is copied, its payload included.
SMALL_BYTES = 8 * 1024
# Joined frames are not more than this together: larger blocks are fresh memory at every turn.
JOINED_BYTES = 64 * 1024


class _Write(NamedTuple):
    """What one `Link.write` takes."""

    buffers: Sequence[Buffer]
    descriptors: tuple[int, ...]
    then: Callable[[], None] | None


class Outbox:
    """Frames that wait for the end of the turn, or for what they must not overtake."""

    __slots__ = ("_sealed_bytes", "_small", "_then", "_writes", "waiting_bytes")

    def __init__(self) -> None:
        self.waiting_bytes = 0  # of all frames in here
        self._writes: list[_Write] = []  # come before `_small`
        self._sealed_bytes = 0  # of these
        self._small: list[Buffer] = []
        self._then: list[Callable[[], None]] = []  # to be called when `_small` is sent

    def add(self, frame: bytes) -> None:
        """A frame without a payload."""
        self._small.append(frame)
        self.waiting_bytes += len(frame)
        if self.waiting_bytes - self._sealed_bytes > JOINED_BYTES:
            self._seal()

    def add_with_payload(
        self,
        head: bytes,
        payload: Sequence[Buffer],
        payload_bytes: int,
        then: Callable[[], None] | None = None,
    ) -> None:
        """A frame whose payload stays unchanged until `then` is called."""
        size = len(head) + payload_bytes
        if size > SMALL_BYTES:
            self.add_bulk((head, *payload), size, (), then)
            return
        self._small.append(head)
        self._small += payload
        self.waiting_bytes += size
        if then is not None:
            self._then.append(then)
        if self.waiting_bytes - self._sealed_bytes > JOINED_BYTES:
            self._seal()

    def add_bulk(
        self,
        buffers: Sequence[Buffer],
        size: int,
        descriptors: tuple[int, ...],
        then: Callable[[], None] | None,
    ) -> None:
        """A frame of `size` bytes that is sent from its own buffers, or takes descriptors."""
        self._seal()
        self._writes.append(_Write(buffers, descriptors, then))
        self.waiting_bytes += size
        self._sealed_bytes = self.waiting_bytes

    def send(self, link: Link) -> None:
        """Write everything to `link`, which also takes care of it when it has ended."""
        if self._writes:
            self._seal()
            writes, self._writes = self._writes, []
            self.waiting_bytes = self._sealed_bytes = 0
            for buffers, descriptors, then in writes:
                link.write(buffers, descriptors=descriptors, then=then)
        elif self._small:
            small = self._small
            if len(small) > 1:
                small = [b"".join(small)]
            self._small = []
            self.waiting_bytes = 0
            if self._then:
                link.write(small, then=self._take_then())
            else:
                link.write(small)

    def _seal(self) -> None:
        """Join the small frames: what follows is not joined to them."""
        if self._small:
            self._writes.append(_Write((b"".join(self._small),), (), self._take_then()))
            self._sealed_bytes = self.waiting_bytes
            self._small = []

    def _take_then(self) -> Callable[[], None] | None:
        callbacks, self._then = self._then, []
        if len(callbacks) <= 1:
            return callbacks[0] if callbacks else None

        def call_all() -> None:
            for callback in callbacks:
                callback()

        return call_all
