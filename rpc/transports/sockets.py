"""The `sockets` engine: non-blocking TCP and unix sockets on any asyncio event loop.

It drives the sockets itself (`add_reader`, `recv_into`, `sendmsg`) and not through
`loop.create_connection`: asyncio's stream transports copy what the kernel did not take at
once (1.8 GB/s of 4 MiB replies against 8 GB/s here, unix socket, same run; uvloop's 6.0) and
cannot pass descriptors. `docs/decisions/001-sockets-engine.md` has the table.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
import struct
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from benchfs.rpc.transports.base import HIGH_WATER_BYTES, Buffer, Peer, Receiver

# Larger socket buffers mean fewer wake-ups per megabyte; the kernel caps them for non-root.
SOCKET_BUFFER_BYTES = 1024 * 1024
# Buffers per sendmsg: IOV_MAX is 1024, and a turn rarely queues more than this.
GATHER = 128
# How long a closing link may still send what was queued.
LINGER_SECONDS = 1.0
# How long to stop accepting when the process has no descriptor left.
ACCEPT_PAUSE_SECONDS = 0.1
BACKLOG = 1024
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
        self._receiver.lost(reason)

    def _drop_queue(self) -> None:
        self.waiting_bytes = 0
        queue, self._queue = self._queue, deque()
        for item in queue:
            if callable(item):
                item()
            elif isinstance(item, _Descriptors):
                _close_all(item.descriptors)


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
        _tune(sock)
        self._make_link(self._loop, sock, _peer(sock, self.address), self._accept())

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._stop()
        # The path goes first: nobody else can have taken it while this socket still listens.
        parts = urlsplit(self.address)
        if parts.scheme == "unix":
            with contextlib.suppress(FileNotFoundError):
                Path(parts.path).unlink()
        self._sock.close()


class SocketTransport:
    """TCP and unix sockets; see the module's docstring. Other engines make links of their own."""

    name = "sockets"
    schemes = frozenset({"tcp", "unix"})
    make_link: MakeLink = SocketLink
    make_listener: type[SocketListener] = SocketListener

    async def connect(self, address: str, receiver: Receiver) -> SocketLink:
        loop = asyncio.get_running_loop()
        *others, last = await _resolve(address)
        for family, target in others:
            with contextlib.suppress(OSError):
                sock = await _connect(loop, family, target)
                break
        else:
            sock = await _connect(loop, *last)
        return self.make_link(loop, sock, _peer(sock, address), receiver)

    async def listen(self, address: str, accept: Callable[[], Receiver]) -> SocketListener:
        loop = asyncio.get_running_loop()
        family, target = (await _resolve(address))[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            if family == socket.AF_UNIX:
                _remove_stale(str(target))
            else:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(target)
            if family == socket.AF_UNIX:
                Path(str(target)).chmod(0o600)
            else:
                host, port = sock.getsockname()[:2]
                address = f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
            sock.listen(BACKLOG)
            sock.setblocking(False)
            return self.make_listener(loop, sock, address, accept, self.make_link)
        except BaseException:
            sock.close()
            raise


async def _connect(
    loop: asyncio.AbstractEventLoop, family: int, target: str | tuple[str, int]
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        _tune(sock)
        await loop.sock_connect(sock, target)
    except BaseException:
        sock.close()
        raise
    return sock


async def _resolve(address: str) -> list[tuple[int, str | tuple[str, int]]]:
    """Socket families and socket addresses of a URL: a name may have several. Never empty."""
    parts = urlsplit(address)
    if parts.scheme == "unix":
        if len(os.fsencode(parts.path)) > 107:
            raise OSError(errno.ENAMETOOLONG, "a unix socket's path has 107 bytes at most", address)
        return [(socket.AF_UNIX, parts.path)]
    if parts.scheme != "tcp" or parts.hostname is None or parts.port is None:
        raise OSError(errno.EINVAL, "an address is tcp://host:port or unix:///path", address)
    infos = await asyncio.get_running_loop().getaddrinfo(
        parts.hostname, parts.port, type=socket.SOCK_STREAM
    )
    return [(info[0], (str(info[4][0]), int(info[4][1]))) for info in infos]


def _tune(sock: socket.socket) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _peer(sock: socket.socket, address: str) -> Peer:
    if sock.family != socket.AF_UNIX:
        return Peer(address)
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", credentials)
    return Peer(address, uid, gid, pid)


def _remove_stale(path: str) -> None:
    """Remove the socket that a killed process left; refuse when somebody listens on it."""
    try:
        if not stat.S_ISSOCK(Path(path).lstat().st_mode):
            raise OSError(errno.EADDRINUSE, "there is something else at the socket's path", path)
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
            return
    raise OSError(errno.EADDRINUSE, "another process listens on the socket", path)


def _close_all(descriptors: Sequence[int] | deque[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
