"""The `sockets` engine: non-blocking TCP and unix sockets on any asyncio event loop.

It drives the sockets itself (`add_reader`, `recv_into`, `sendmsg`) and not through
`loop.create_connection`: asyncio's stream transports copy what the kernel did not take at
once (1.8 GB/s of 4 MiB replies against 8 GB/s here, unix socket, same run; uvloop's 6.0) and
cannot pass descriptors. `docs/decisions/001-sockets-engine.md` has the table.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchfs.rpc.transports.base import HIGH_WATER_BYTES, Buffer, Link, Peer, Receiver
from benchfs.rpc.transports.endpoints import (
    connected_socket,
    listening_socket,
    peer_of,
    remove_path,
    tune,
)

# Buffers per sendmsg: IOV_MAX is 1024, and a turn rarely queues more than this.
GATHER = 128
# How long a closing link may still send what was queued.
LINGER_SECONDS = 1.0
# How long to stop accepting when the process has no descriptor left.
ACCEPT_PAUSE_SECONDS = 0.1
# The process or the machine has no descriptor or memory left for another connection.
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class _Descriptors(NamedTuple):
    """A queued buffer that takes descriptors along."""

    buffer: Buffer
    descriptors: tuple[int, ...]


class SocketLink:
    """A connected socket, driven by the loop's readiness callbacks."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        peer: Peer,
        receiver: Receiver,
    ) -> None:
        self.peer = peer
        self.waiting_bytes = 0
        self.passes_descriptors = sock.family == socket.AF_UNIX
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._receiver = receiver
        self._queue: deque[Buffer | _Descriptors | Callable[[], None]] = deque()
        self._writing = False  # the kernel's buffer was full: add_writer is set
        self._over = False  # over HIGH_WATER_BYTES
        self._paused = False
        self._closing: asyncio.TimerHandle | None = None
        self._ended = False
        self._broken = False  # the peer takes nothing any more; what it said is still read
        self._expects = False
        self._received_descriptors: deque[int] = deque()
        self._start()
        receiver.connected(self)

    # ------------------------------------------------- how readiness is learned; others override

    def _start(self) -> None:
        """Before anything else: receive."""
        self._loop.add_reader(self._fd, self._readable)

    def _watch_reading(self) -> None:
        self._loop.add_reader(self._fd, self._readable)

    def _unwatch_reading(self) -> None:
        self._loop.remove_reader(self._fd)

    def _watch_writing(self) -> None:
        self._loop.add_writer(self._fd, self._writable)

    def _unwatch_writing(self) -> None:
        self._loop.remove_writer(self._fd)

    # ------------------------------------------------------------ receiving

    def _readable(self) -> None:
        try:
            buffer = self._receiver.get_buffer()
            if self._expects:
                count = self._receive_message(buffer)
            else:
                count = self._sock.recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._end(exc.strerror or str(exc))
            return
        if count:
            self._receiver.received(count)
        else:
            self._end("the peer closed the connection")

    def _receive_message(self, buffer: memoryview) -> int:
        count, ancillary, _flags, _address = self._sock.recvmsg_into(
            [buffer], socket.CMSG_SPACE(64 * 4), socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                whole = len(data) - len(data) % 4
                self._received_descriptors.extend(struct.unpack(f"{whole // 4}i", data[:whole]))
        return count

    def pause_reading(self) -> None:
        if not self._paused and not self._ended:
            self._paused = True
            self._unwatch_reading()

    def resume_reading(self) -> None:
        if self._paused and not self._ended and self._closing is None:
            self._paused = False
            self._watch_reading()

    def settle(self) -> None:
        """Nothing to do: bytes are received only when the receiver is asked for its buffer."""

    def expect_descriptors(self) -> None:
        self._require_descriptors()
        self._expects = True

    def take_descriptor(self) -> int | None:
        return self._received_descriptors.popleft() if self._received_descriptors else None

    def _require_descriptors(self) -> None:
        if not self.passes_descriptors:  # TCP would send the bytes and drop the descriptors
            raise OSError(errno.EOPNOTSUPP, "descriptors are passed on unix sockets only")

    # ------------------------------------------------------------ sending

    def write(
        self,
        buffers: Sequence[Buffer],
        *,
        descriptors: Sequence[int] = (),
        then: Callable[[], None] | None = None,
    ) -> None:
        queue = self._queue
        if descriptors:
            self._require_descriptors()
        if self._ended or self._broken:
            _close_all(descriptors)
            if then is not None:
                then()
            return
        if descriptors:
            queue.append(_Descriptors(buffers[0], tuple(descriptors)))
            queue.extend(buffers[1:])
        else:
            queue.extend(buffers)
        if then is not None:
            queue.append(then)
        self.waiting_bytes += sum(map(len, buffers))
        if self.waiting_bytes > HIGH_WATER_BYTES:
            self._over = True

    def flush(self) -> None:
        if not self._writing and not self._ended:
            self._send()

    def _send(self) -> None:
        queue = self._queue
        while queue:
            first = queue[0]
            if callable(first):
                queue.popleft()
                first()
                if self._ended:
                    return
                continue
            if not isinstance(first, _Descriptors) and not len(first):
                queue.popleft()  # sendmsg of nothing would look like a full kernel buffer
                continue
            try:
                if isinstance(first, _Descriptors):
                    sent = self._send_descriptors(first)
                else:
                    sent = self._sock.sendmsg(self._gather())
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as exc:
                self._break(exc.strerror or str(exc))
                return
            if not self._consume(sent):
                if not self._writing:
                    self._writing = True
                    self._watch_writing()
                self._check_drained()
                return
        if self._writing:
            self._writing = False
            self._unwatch_writing()
        self._check_drained()
        if self._closing is not None:
            self.abort()

    def _writable(self) -> None:
        if not self._ended:
            self._send()

    def _gather(self) -> list[Buffer]:
        batch: list[Buffer] = []
        for item in self._queue:
            if callable(item) or isinstance(item, _Descriptors) or len(batch) == GATHER:
                break
            batch.append(item)
        return batch

    def _send_descriptors(self, item: _Descriptors) -> int:
        rights = struct.pack(f"{len(item.descriptors)}i", *item.descriptors)
        sent = self._sock.sendmsg([item.buffer], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        if sent:
            _close_all(item.descriptors)
            self._queue[0] = item.buffer
        return sent

    def _consume(self, sent: int) -> bool:
        """Drop `sent` bytes from the queue; False when the kernel took less than offered."""
        if not sent:
            return False
        queue = self._queue
        self.waiting_bytes -= sent
        while sent:
            first = queue[0]
            assert not callable(first)
            assert not isinstance(first, _Descriptors)
            if sent < len(first):
                queue[0] = memoryview(first)[sent:]
                return False
            sent -= len(first)
            queue.popleft()
        return True

    def _check_drained(self) -> None:
        if self._over and self.waiting_bytes < HIGH_WATER_BYTES // 2 and not self._ended:
            self._over = False
            self._loop.call_soon(self._report_drained)

    def _report_drained(self) -> None:
        if not self._ended:
            self._receiver.drained()

    # ------------------------------------------------------------ ending

    def _break(self, reason: str) -> None:
        """Nothing can be sent; read to the end, since the peer may have said why."""
        if self._paused:
            self._end(reason)
            return
        self._broken = True
        self._loop.call_later(LINGER_SECONDS, self._end, reason)
        if self._writing:
            self._writing = False
            self._unwatch_writing()
        self._drop_queue()

    def close(self) -> None:
        if self._ended or self._closing is not None:
            return
        if self._broken:
            self.abort()
            return
        self._closing = self._loop.call_later(LINGER_SECONDS, self.abort)
        self.pause_reading()
        if not self._writing:
            self._send()

    def abort(self) -> None:
        self._end("this side closed the connection")

    def _end(self, reason: str) -> None:
        if self._ended:
            return
        self._ended = True
        if self._closing is not None:
            self._closing.cancel()
        if not self._paused:
            self._unwatch_reading()
        if self._writing:
            self._writing = False
            self._unwatch_writing()
        self._sock.close()
        self._drop_queue()
        _close_all(self._received_descriptors)
        self._received_descriptors.clear()
        receiver, self._receiver = self._receiver, _NOBODY  # else each keeps the other alive
        receiver.lost(reason)

    def _drop_queue(self) -> None:
        self.waiting_bytes = 0
        queue, self._queue = self._queue, deque()
        for item in queue:
            if callable(item):
                item()
            elif isinstance(item, _Descriptors):
                _close_all(item.descriptors)


class _Nobody:
    """Who a link belongs to when it has ended."""

    def connected(self, link: Link) -> None:
        """Never called."""

    def get_buffer(self) -> memoryview:
        return memoryview(b"")

    def received(self, count: int) -> None:
        """Never called."""

    def drained(self) -> None:
        """Never called."""

    def lost(self, reason: str) -> None:
        """Never called."""


_NOBODY = _Nobody()
MakeLink = Callable[[asyncio.AbstractEventLoop, socket.socket, Peer, Receiver], SocketLink]


class SocketListener:
    """A listening socket; on closing, a unix socket's path is removed."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        address: str,
        accept: Callable[[], Receiver],
        make_link: MakeLink,
    ) -> None:
        self.address = address
        self._loop = loop
        self._sock = sock
        self._accept = accept
        self._make_link = make_link
        self._closed = False
        self._start()

    # ------------------------------------------- how connections are learned of; others override

    def _start(self) -> None:
        self._loop.add_reader(self._sock.fileno(), self._readable)

    def _stop(self) -> None:
        self._loop.remove_reader(self._sock.fileno())

    def _readable(self) -> None:
        while not self._closed:
            try:
                sock, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                if exc.errno not in EXHAUSTED:
                    raise
                self._stop()
                self._loop.call_later(ACCEPT_PAUSE_SECONDS, self._resume)
                return
            self._take(sock)

    def _resume(self) -> None:
        if not self._closed:
            self._start()

    # ------------------------------------------------------------ all engines

    def _take(self, sock: socket.socket) -> None:
        """Make a link of an accepted socket."""
        tune(sock)
        self._make_link(self._loop, sock, peer_of(sock, self.address), self._accept())

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._stop()
        # The path goes first: nobody else can have taken it while this socket still listens.
        remove_path(self.address)
        self._sock.close()


class SocketTransport:
    """TCP and unix sockets; see the module's docstring. Other engines make links of their own."""

    name = "sockets"
    schemes = frozenset({"tcp", "unix"})
    make_link: MakeLink = SocketLink
    make_listener: type[SocketListener] = SocketListener

    async def connect(self, address: str, receiver: Receiver) -> SocketLink:
        sock = await connected_socket(address)
        return self.make_link(asyncio.get_running_loop(), sock, peer_of(sock, address), receiver)

    async def listen(self, address: str, accept: Callable[[], Receiver]) -> SocketListener:
        sock, address = await listening_socket(address)
        try:
            loop = asyncio.get_running_loop()
            return self.make_listener(loop, sock, address, accept, self.make_link)
        except BaseException:
            sock.close()
            raise


def _close_all(descriptors: Sequence[int] | deque[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
