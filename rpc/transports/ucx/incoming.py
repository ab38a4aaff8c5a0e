"""The receiving half of a link: parts of the stream, in order, into the receiver's buffer.

Joined bytes have arrived and are copied into the receiver's buffer; an offer is taken when its
turn comes, straight into that buffer if it fits there. While the link is paused nothing is taken,
so the sender's buffers wait where they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from benchfs.rpc.transports.base import Receiver
from benchfs.rpc.transports.ucx.binding import Pointer
from benchfs.rpc.transports.ucx.outgoing import (
    DATA,
    FIN,
    JOIN_BYTES,
    NUMBERS,
    OFFER,
    OFFER_FROM_BYTES,
    OFFER_MOST_BYTES,
    OFFERS_MOST,
    WINDOW_BYTES,
)
from benchfs.rpc.transports.ucx.owners import Owner
from benchfs.rpc.transports.ucx.worker import Worker

# A sender may begin its last message with one byte of window left.
UNREAD_MOST_BYTES = WINDOW_BYTES + JOIN_BYTES + OFFER_FROM_BYTES
# The sender is told of what was read when it is this much.
CREDIT_BYTES = WINDOW_BYTES // 4
# How long a receive under way may take when its buffer is wanted back.
SETTLE_SECONDS = 0.25


class StreamError(Exception):
    """The peer does not keep to the rules of the stream; the text says which."""


class _Part:
    """Bytes of the stream that have arrived or are offered."""

    __slots__ = ("bytes", "confirmed", "direct", "kind", "landed", "offer", "position", "size")

    def __init__(self, kind: int, data: bytes, offer: Pointer, size: int) -> None:
        self.kind = kind
        self.bytes = memoryview(data)  # of an offer: once it is taken
        self.offer = offer  # None once it is taken
        self.size = size
        self.position = 0  # of what the receiver has
        self.direct = False  # taken into the receiver's own buffer
        self.landed = self.confirmed = offer is None


class Incoming:
    """Receives a stream. `add`, `confirm` note what arrived, `pump` tells the receiver."""

    def __init__(self, worker: Worker, owner: Owner, credit: Callable[[int], None]) -> None:
        self.receiver: Receiver | None = None
        self.paused = False
        self.ended = False
        self.fin_arrived = False
        self.finished = False  # the stream's end was reached
        self.failed = 0  # status with which a receive ended
        self.cut = False  # the endpoint is gone: nothing can be taken
        self._worker = worker
        self._owner = owner
        self._tell_credit = credit
        self._number = 0  # of the next part in order
        self._early: dict[int, _Part] = {}  # parts that came before their turn
        self._parts: deque[_Part | bytes] = deque()  # bytes: joined ones that came in order
        self._unconfirmed: dict[int, _Part] = {}  # by number
        self.strays: list[Pointer] = []  # offers that are no part of the stream
        self._unread = 0
        self._read = 0  # what the sender was not told of
        self._pumping = False

    def add_joined(self, number: int, data: bytes) -> None:
        """Joined bytes have arrived. Raises StreamError."""
        size = len(data)
        fits = 0 < size <= UNREAD_MOST_BYTES - self._unread
        if not fits or self._early or number != self._number:
            self.add(DATA, number, data, None, size)
            return
        self._number = (number + 1) % NUMBERS
        self._unread += size
        self._parts.append(data)

    def add(self, kind: int, number: int, data: bytes, offer: Pointer, size: int) -> None:
        """A part has arrived. Raises StreamError."""
        part = _Part(kind, data, offer, size)
        self.fin_arrived = self.fin_arrived or kind == FIN
        if offer is not None:
            self._unconfirmed[number] = part
        else:
            self._unread += size
        if number == self._number and not self._early:
            self._number = (number + 1) % NUMBERS
            self._parts.append(part)
        else:
            self._early[number] = part
        if self._unread > UNREAD_MOST_BYTES or len(self._unconfirmed) > OFFERS_MOST + 1:
            raise StreamError("the peer sends more than its window")
        if size > OFFER_MOST_BYTES or (not size and kind != FIN):
            raise StreamError(f"the peer sends a part of {size} bytes")
        while self._early and (part_next := self._early.pop(self._number, None)) is not None:
            self._number = (self._number + 1) % NUMBERS
            self._parts.append(part_next)
        if len(self._early) > UNREAD_MOST_BYTES // 64:
            raise StreamError("the peer's messages lack one in between")

    def confirm(self, number: int) -> None:
        """The sender left the buffer of a part alone until it was taken."""
        part = self._unconfirmed.pop(number, None)
        if part is not None:
            part.confirmed = True

    def pump(self) -> None:
        """Tell the receiver as much as there is, and take what is offered."""
        if self._pumping or self.receiver is None:
            return
        self._pumping = True
        try:
            while self._parts and not self.paused and not self.ended:
                part = self._parts[0]
                if isinstance(part, bytes):
                    self._give(part, self.receiver)
                    continue
                if part.kind == FIN:
                    self.finished = True
                    break
                if part.offer is not None and not self.cut:
                    self._take(part, self.receiver)
                if not part.landed or not part.confirmed:
                    break
                if part.direct:
                    self._parts.popleft()
                    self.receiver.received(part.size)
                else:
                    self._copy(part, self.receiver)
        finally:
            self._pumping = False

    def _give(self, joined: bytes, receiver: Receiver) -> None:
        """Copy the first bytes in order as a whole; if they do not fit, make them a part."""
        buffer = receiver.get_buffer()
        size = len(joined)
        if size > len(buffer):
            self._parts[0] = _Part(DATA, joined, None, size)
            return
        buffer[:size] = joined
        self._parts.popleft()
        self._was_read(size)
        receiver.received(size)

    def _copy(self, part: _Part, receiver: Receiver) -> None:
        buffer = receiver.get_buffer()
        begin = part.position
        count = min(len(buffer), part.size - begin)
        buffer[:count] = part.bytes[begin : begin + count]
        part.position += count
        if part.position == part.size:
            self._parts.popleft()
            if part.kind == OFFER:
                self._worker.buffers.give(part.bytes)
            else:
                self._was_read(part.size)
        receiver.received(count)

    def _was_read(self, size: int) -> None:
        """The receiver has so many joined bytes: the sender may send more."""
        self._unread -= size
        self._read += size
        if self._read >= CREDIT_BYTES:
            read, self._read = self._read, 0
            self._tell_credit(read)

    def _take(self, part: _Part, receiver: Receiver) -> None:
        buffer = receiver.get_buffer()
        offer, part.offer = part.offer, None
        part.direct = len(buffer) >= part.size and self._worker.gets_buffers_back
        part.bytes = buffer[: part.size] if part.direct else self._worker.buffers.take(part.size)

        def landed(status: int) -> None:
            part.landed = True
            if status < 0:
                self.failed = status
            if not self._pumping:
                self._worker.touch(self._owner)

        self._worker.receive(offer, part.bytes, landed)

    def settle(self) -> bool:
        """Have the receiver's buffer back; False when the peer does not let go of it in time."""
        part = self._parts[0] if self._parts else None
        if not isinstance(part, _Part) or not part.direct:
            return True
        if not self._worker.progress_until(lambda: part.landed, SETTLE_SECONDS):
            return False
        part.bytes = memoryview(bytes(part.bytes))
        part.direct = False
        return True

    def under_way(self) -> bool:
        """Whether UCX may still write into the receiver's buffer."""
        part = self._parts[0] if self._parts else None
        return isinstance(part, _Part) and part.direct and not part.landed

    def refuse(self) -> None:
        """Drop all that is offered; the endpoint is still there."""
        self.ended = True
        while self.strays:
            self._worker.drop(self.strays.pop())
        for part in (*self._parts, *self._early.values()):
            if isinstance(part, _Part) and part.offer is not None:
                self._worker.drop(part.offer)
                part.offer = None
