"""The sending half of a link: its queue, the receiver's window, the offers in flight.

Short buffers are joined into messages of their own, of which only a window may be unread at the
receiver: UCX itself would take them all. A long buffer is offered: its bytes move when the
receiver takes them, straight from here.

A rendezvous may read the sender's buffer at any time, also after its link was aborted and the
buffer belongs to somebody else again. So bytes that were taken count for the receiver only when
the sender has confirmed that they were left alone until UCX was done with them.
"""

from __future__ import annotations

import errno
import struct
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence

from benchfs.rpc.transports.base import HIGH_WATER_BYTES, Buffer
from benchfs.rpc.transports.ucx import binding
from benchfs.rpc.transports.ucx.binding import Pointer
from benchfs.rpc.transports.ucx.introduction import NUMBER_BYTES
from benchfs.rpc.transports.ucx.worker import Worker

# The header of a message: whose it is, what it is, its number in the stream, a value.
HEADER = struct.Struct(f"<{NUMBER_BYTES}sB3xIQ")
NUMBERS = 1 << 32
# The stream.
DATA, OFFER, FIN = 1, 2, 3
# Not in the stream: handled when they arrive, whatever waits in it.
HELLO, WELCOME, CREDIT, CONFIRM, FIN_SEEN = 16, 17, 18, 19, 20

# From here on a buffer is offered; below, copying it costs less than the further messages.
OFFER_FROM_BYTES = 48 * 1024
OFFER_MOST_BYTES = 16 * 1024 * 1024
# A longer buffer is offered in pieces: that one was taken is a sign that the peer lives.
PIECE_BYTES = 4 * 1024 * 1024
OFFERS_MOST = 4  # in flight
# Short buffers are joined until a message has this much.
JOIN_BYTES = 32 * 1024
# Joined bytes that the receiver has not read.
WINDOW_BYTES = 512 * 1024


class _Sent:
    """Bytes that were given to UCX, until it is done with them."""

    __slots__ = ("done", "size")

    def __init__(self, size: int, done: bool) -> None:
        self.size = size
        self.done = done


class Outgoing(ABC):
    """Sends a stream; a link is one, and says what follows from it."""

    passes_descriptors = False

    def __init__(self, worker: Worker, peer_number: bytes) -> None:
        self.waiting_bytes = 0
        self._peer_number = peer_number
        self._endpoint: Pointer = None
        self._worker = worker
        self._ended = False
        self._queue: deque[Buffer | Callable[[], None]] = deque()
        self._sent: deque[_Sent | Callable[[], None]] = deque()
        self._offers: set[int] = set()  # numbers of operations
        self._window = WINDOW_BYTES
        self._number = 0
        self._over = False  # over HIGH_WATER_BYTES
        self._sending = False

    def write(
        self,
        buffers: Sequence[Buffer],
        *,
        descriptors: Sequence[int] = (),
        then: Callable[[], None] | None = None,
    ) -> None:
        if descriptors:
            raise OSError(errno.EOPNOTSUPP, "descriptors are passed on unix sockets only")
        if self._ended:
            if then is not None:
                then()
            return
        self._queue.extend(buffers)
        if then is not None:
            self._queue.append(then)
        self.waiting_bytes += sum(map(len, buffers))
        if self.waiting_bytes > HIGH_WATER_BYTES:
            self._over = True

    def flush(self) -> None:
        if self._sending or self._ended:
            return  # whoever is sending sees what has come into the queue
        if len(self._queue) == 1 and not self._sent and self._window > 0:
            first = self._queue[0]
            if type(first) is bytes and 0 < len(first) < OFFER_FROM_BYTES:
                self._queue.clear()
                self._send_alone(first)
                return
        self._sending = True
        try:
            self._send()
        finally:
            self._sending = False
        if not self._ended:
            self._check_drained()
            if not self._queue and not self._sent:
                self._all_sent()

    def _send(self) -> None:
        queue = self._queue
        while queue and not self._ended:
            first = queue[0]
            if callable(first):
                queue.popleft()
                self._sent.append(first)
                self._go_through_sent()
            elif len(first) >= OFFER_FROM_BYTES:
                if len(self._offers) >= OFFERS_MOST:
                    break
                self._offer(first)
            else:
                if self._window <= 0:
                    break
                self._send_joined()

    def _send_alone(self, first: bytes) -> None:
        """Send all that there is: a call, or an answer, that nothing else is on the way with."""
        size = len(first)
        self._window -= size
        self.waiting_bytes -= size
        self._post(DATA, first, binding.AM_SEND_EAGER, self._noted)
        if self._over:
            self._check_drained()
        self._all_sent()

    def _send_joined(self) -> None:
        """Send the short buffers at the head of the queue as one message."""
        queue, parts, size = self._queue, [], 0
        while queue and size < JOIN_BYTES:
            first = queue[0]
            if callable(first) or len(first) >= OFFER_FROM_BYTES:
                break
            parts.append(first)
            size += len(first)
            queue.popleft()
        if size:
            self._window -= size
            self._post(DATA, b"".join(parts), binding.AM_SEND_EAGER, self._noted)
            self._sent.append(_Sent(size, True))
            self._go_through_sent()

    def _offer(self, buffer: Buffer) -> None:
        """Offer the buffer at the head of the queue, or a piece of it."""
        if len(buffer) > PIECE_BYTES:
            view = memoryview(buffer)
            buffer, self._queue[0] = view[:PIECE_BYTES], view[PIECE_BYTES:]
        else:
            self._queue.popleft()
        sent = _Sent(len(buffer), False)
        self._sent.append(sent)
        number, operation = self._number, 0

        def taken(status: int) -> None:
            self._offers.discard(operation)
            if self._ended:
                return
            if status < 0:
                self._broken(status)
                return
            self._control(CONFIRM, number)
            sent.done = True
            self._go_through_sent()
            self.flush()

        operation = self._post(OFFER, buffer, binding.AM_SEND_RENDEZVOUS, taken)
        if self._worker.under_way(operation):
            self._offers.add(operation)

    def _post(self, kind: int, data: Buffer, flags: int, done: Callable[[int], None]) -> int:
        """Send a message of the stream."""
        header = HEADER.pack(self._peer_number, kind, self._number, len(data))
        self._number = (self._number + 1) % NUMBERS
        return self._worker.send(self._endpoint, header, data, flags, done)

    def _control(self, kind: int, value: int) -> None:
        """Send a message that is not in the stream."""
        header = HEADER.pack(self._peer_number, kind, 0, value)
        self._worker.send(self._endpoint, header, b"", binding.AM_SEND_EAGER, self._noted)

    def _noted(self, status: int) -> None:
        if status < 0 and not self._ended:
            self._broken(status)

    def _credited(self, size: int) -> None:
        """The receiver has read so many joined bytes."""
        self._window += size
        self.flush()

    def _go_through_sent(self) -> None:
        """Account for what is sent, in order, and call what was to be called then."""
        sent = self._sent
        while sent:
            first = sent[0]
            if callable(first):
                sent.popleft()
                first()
            elif first.done:
                sent.popleft()
                self.waiting_bytes -= first.size
            else:
                break

    def _check_drained(self) -> None:
        if self._over and self.waiting_bytes < HIGH_WATER_BYTES // 2:
            self._over = False
            self._worker.loop.call_soon(self._report_drained)

    def _take_back(self) -> None:
        """Forget what was queued: call what was to be called when it was sent."""
        self.waiting_bytes = 0
        left = [*self._sent, *self._queue]
        self._sent.clear()
        self._queue.clear()
        for item in left:
            if callable(item):
                item()

    # ------------------------------------------------------------ what a link adds

    @abstractmethod
    def _report_drained(self) -> None:
        """Little enough is queued that more may come."""

    @abstractmethod
    def _all_sent(self) -> None:
        """Nothing is queued or under way."""

    @abstractmethod
    def _broken(self, status: int) -> None:
        """The endpoint does not send any more."""
