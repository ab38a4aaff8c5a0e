"""Blocking ping-pong of the bytes of a call: the floor of `benchfs.bench.rpc`.

Two plain processes, one request in flight, no event loop, no codec: a request as long as a
ReadChunk frame, a reply as long as the frame of its answer with `size` bytes of payload.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import msgpack

from benchfs.bench.floor import receive
from benchfs.rpc.frames import HEADER_BYTES
from benchfs.rpc.messages import Envelope, Op, ReadChunk, ReadChunkReply

DEADLINE_SECONDS = 30.0


def request_bytes(size: int) -> int:
    """Bytes of the frame that asks for `size` bytes."""
    envelope = Envelope(Op.READ_CHUNK, 30_000, 0, 0, 0, 0)
    return HEADER_BYTES + len(msgpack.packb([*envelope, *ReadChunk(1, 0, 0, size)]))


def reply_bytes(size: int) -> int:
    """Bytes of the frame that answers, with its payload."""
    return HEADER_BYTES + len(msgpack.packb([int(Op.READ_CHUNK), *ReadChunkReply(1, b"")])) + size


def serve(address: str, size: int, ready: Callable[[str], None]) -> None:
    """Answer the first who connects until that one leaves; `ready` gets the real address."""
    with _listening(address) as listener:
        port = listener.getsockname()[1] if listener.family == socket.AF_INET else 0
        ready(f"tcp://127.0.0.1:{port}" if port else address)
        sock, _ = listener.accept()
    reply = bytes(reply_bytes(size))
    buffer = memoryview(bytearray(request_bytes(size)))
    with sock:
        _prepare(sock)
        try:
            while True:
                receive(sock, buffer)
                sock.sendall(reply)
        except ConnectionError:
            return


def connected(address: str) -> socket.socket:
    """A blocking connection to `serve`."""
    parts = urlsplit(address)
    if parts.scheme == "unix":
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(DEADLINE_SECONDS)
        sock.connect(parts.path)
    else:
        sock = socket.create_connection((parts.hostname, parts.port), DEADLINE_SECONDS)
    _prepare(sock)
    return sock


def ask(sock: socket.socket, size: int, seconds: float, most: int) -> list[float]:
    """Ask for `seconds`, `most` times at the most; the latencies in seconds."""
    request = bytes(request_bytes(size))
    buffer = memoryview(bytearray(reply_bytes(size)))
    clock = time.perf_counter
    end = clock() + seconds
    latencies: list[float] = []
    now = clock()
    while True:
        began = now
        sock.sendall(request)
        receive(sock, buffer)
        now = clock()
        latencies.append(now - began)
        if len(latencies) >= most or now >= end:
            return latencies


def _listening(address: str) -> socket.socket:
    parts = urlsplit(address)
    if parts.scheme == "unix":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(parts.path)
        listener.listen(1)
    else:
        listener = socket.create_server((parts.hostname or "", parts.port or 0))
    listener.settimeout(DEADLINE_SECONDS)
    return listener


def _prepare(sock: socket.socket) -> None:
    sock.settimeout(DEADLINE_SECONDS)
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
