"""The `uring` engine: TCP and unix sockets whose receives and accepts are io_uring operations.

Bytes are received straight into the receiver's buffer by an operation that waits in the kernel;
when data comes there is neither a readiness event nor a system call of its own. Sending is tried
at once with one gathering `sendmsg`, since it nearly always succeeds; what the socket does not
take is sent by the ring, which comes back once for a large piece and not at every free page.
Descriptors are passed by `sendmsg` and `recvmsg` as in `sockets`. The ring is the loop's
(`rpc/ring.py`), so all links together cost one submission a turn.

uring-api 0.1 has no gathering send: `docs/decisions/004-uring-engine.md` says what was measured.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from typing import TYPE_CHECKING

from benchfs.rpc import ring as rings
from benchfs.rpc.ring import LoopRing
from benchfs.rpc.transports.sockets import (
    ACCEPT_PAUSE_SECONDS,
    EXHAUSTED,
    SocketLink,
    SocketListener,
    SocketTransport,
)

if TYPE_CHECKING:
    from uring_api import Completion

# The kernel goes on sending until the whole buffer is taken, and raises no signal.
_SEND_FLAGS = socket.MSG_WAITALL | socket.MSG_NOSIGNAL
# It is given this much at a time: a peer that takes this in `DEAD_AFTER_SECONDS` is seen to live.
_SEND_BYTES = 4 * 1024 * 1024
_ACCEPT_FLAGS = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


class UringLink(SocketLink):
    """A connected socket whose bytes come and go through the loop's ring."""

    def _start(self) -> None:
        self._ring: LoopRing = rings.hold()
        self._receiving: Completion | None = None
        self._sending: Completion | None = None
        self._polling: Completion | None = None  # instead of receiving: descriptors may come
        self._arrived = 0  # bytes in the receiver's buffer that it was not told of
        self._flags = 0  # of the next receive
        self._loop.call_soon(self._receive)

    # ------------------------------------------------------------ receiving

    def _receive(self) -> None:
        """Have the kernel receive into the receiver's buffer."""
        if self._ended or self._paused or self._receiving is not None or self._expects:
            return
        self._receiving = self._ring.receive(
            self._fd, self._receiver.get_buffer(), self._flags, self._received
        )

    def _received(self, result: int, flags: int) -> None:
        self._receiving = None
        if self._ended:
            return
        if not self._take(result, flags):
            return
        if not self._paused:
            self._tell()
            self._receive()

    def _take(self, count: int, flags: int) -> bool:
        """Note what a receive brought; False if it brought the end."""
        if count > 0:
            self._arrived = count
            ring = self._ring
            self._flags = 0 if flags & ring.nonempty else ring.poll_first
        elif count == 0:
            self._loop.call_soon(self._end, "the peer closed the connection")
            return False
        elif -count not in {errno.ECANCELED, errno.EAGAIN, errno.EINTR}:
            self._loop.call_soon(self._end, os.strerror(-count))
            return False
        return True

    def _tell(self) -> None:
        """Tell the receiver what arrived."""
        if self._arrived:
            count, self._arrived = self._arrived, 0
            self._receiver.received(count)

    def settle(self) -> None:
        """The receiver changes its buffer: take what has come, and receive into the new one."""
        if self._receiving is None:
            return
        if self._take(*self._settled()):
            self._loop.call_soon(self._go_on)
            if not self._paused:
                self._tell()

    def _settled(self) -> tuple[int, int]:
        receiving, self._receiving = self._receiving, None
        assert receiving is not None
        return self._ring.settle(receiving)

    def _go_on(self) -> None:
        if not self._ended and not self._paused:
            self._tell()
            self._receive()

    def _watch_reading(self) -> None:
        if self._expects:
            self._poll()
        else:
            self._loop.call_soon(self._go_on)

    def _unwatch_reading(self) -> None:
        """A receive under way may end: its bytes wait for `resume_reading`."""

    def expect_descriptors(self) -> None:
        super().expect_descriptors()
        self.settle()
        self._poll()

    def _poll(self) -> None:
        if self._polling is None and not self._ended and not self._paused:
            self._polling = self._ring.poll(self._fd, select.POLLIN, self._polled)

    def _polled(self, _result: int, _flags: int) -> None:
        self._polling = None
        if not self._ended and not self._paused:
            self._readable()
            self._poll()

    # ------------------------------------------------------------ sending

    def _watch_writing(self) -> None:
        """The socket is full: let the ring send what is next."""
        first = self._queue[0]
        if callable(first) or not isinstance(first, (bytes, bytearray, memoryview)):
            self._sending = self._ring.poll(self._fd, select.POLLOUT, self._sendable)
        else:
            piece = memoryview(first)[:_SEND_BYTES]
            self._sending = self._ring.send(self._fd, piece, _SEND_FLAGS, self._sent)

    def _unwatch_writing(self) -> None:
        """Nothing is left to send, or nothing can be sent."""

    def _sendable(self, _result: int, _flags: int) -> None:
        self._sending = None
        if not self._ended and self._writing:
            self._writing = False
            self._send()

    def _sent(self, count: int, _flags: int) -> None:
        self._sending = None
        if self._ended or not self._writing:
            return
        if count < 0 and -count not in {errno.EAGAIN, errno.EINTR}:
            self._break(os.strerror(-count))
            return
        self._consume(max(count, 0))
        self._writing = False
        self._send()

    # ------------------------------------------------------------ ending

    def _end(self, reason: str) -> None:
        if self._ended:
            return
        self._settle_all()
        super()._end(reason)
        self._ring.let_go()

    def _settle_all(self) -> None:
        """The buffers go back to their owners: the kernel must not use them any more."""
        for operation in (self._receiving, self._sending, self._polling):
            if operation is not None:
                self._ring.settle(operation)
        self._receiving = self._sending = self._polling = None


class UringListener(SocketListener):
    """A listening socket with one accept operation that goes on and on."""

    def _start(self) -> None:
        self._ring: LoopRing = rings.hold()
        self._accepting: Completion | None = None
        self._resume()

    def _resume(self) -> None:
        if not self._closed:
            self._accepting = self._ring.accept(self._sock.fileno(), _ACCEPT_FLAGS, self._accepted)

    def _accepted(self, result: int, flags: int) -> None:
        over = not flags & self._ring.more
        if over:
            self._accepting = None
        if result >= 0:
            sock = socket.socket(fileno=result)
            if self._closed:
                sock.close()
                return
            self._take(sock)
        if over and not self._closed:
            if -result in EXHAUSTED:
                self._loop.call_later(ACCEPT_PAUSE_SECONDS, self._resume)
            elif result >= 0 or -result in {errno.ECONNABORTED, errno.EINTR, errno.EAGAIN}:
                self._resume()
            else:
                raise OSError(-result, os.strerror(-result), self.address)

    def _stop(self) -> None:
        if self._accepting is not None:
            last, _ = self._ring.settle(self._accepting)
            if last >= 0:
                os.close(last)
            self._accepting = None
        self._ring.let_go()


class UringTransport(SocketTransport):
    """TCP and unix sockets through io_uring. Raises RingUnavailableError where there is none."""

    name = "uring"

    make_link = UringLink
    make_listener = UringListener

    def __init__(self) -> None:
        rings.probe()
