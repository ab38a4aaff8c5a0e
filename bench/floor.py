"""The floor: what two plain blocking processes reach on this machine, over a unix socket.

Every figure of BenchFS is quoted as a ratio of it, measured in the same run: these machines
differ, and the same machine differs from minute to minute.

*copy*: 1 MiB at a time, from a file (pread, sendall) to a file (recv_into, pwrite).
*ping-pong*: a request of 50 bytes and a reply of 4 KiB, one at a time.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TRANSFER_BYTES = 1 << 20
COPY_BYTES = 256 << 20
PINGS = 20_000
REQUEST_BYTES = 50
REPLY_BYTES = 4096
REPEATS = 5
DEADLINE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Floor:
    """Medians, and the samples they are of."""

    copy_mib_s: float
    pings_s: float
    copies: tuple[float, ...]
    pings: tuple[float, ...]


def default_directory() -> Path:
    """Where data of measurements goes: memory where there is some."""
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())


def measure(
    directory: Path, *, copy_bytes: int = COPY_BYTES, pings: int = PINGS, repeats: int = REPEATS
) -> Floor:
    """Measure both, `repeats` times in turn. Files are made below `directory` and removed."""
    copies, rates = [], []
    for _ in range(repeats):
        copies.append(copy_once(directory, copy_bytes))
        rates.append(ping_once(pings))
    return Floor(statistics.median(copies), statistics.median(rates), tuple(copies), tuple(rates))


def copy_once(directory: Path, size: int) -> float:
    """MiB/s of one copy."""
    source, target = directory / "floor-source", directory / "floor-target"
    source.write_bytes(os.urandom(TRANSFER_BYTES) * (size // TRANSFER_BYTES))
    try:
        started, ended = _with_peer(_receive_file, (str(target), size), _send_file, source, size)
        return size / (1 << 20) / (ended - started)
    finally:
        source.unlink(missing_ok=True)
        target.unlink(missing_ok=True)


def ping_once(count: int) -> float:
    """Calls a second of one ping-pong."""
    started, ended = _with_peer(_answer, (count,), _ask, count)
    return count / (ended - started)


def _with_peer(
    peer: Callable[..., None],
    arguments: tuple[object, ...],
    work: Callable[..., None],
    *own: object,
) -> tuple[float, float]:
    """Run `work` here and `peer` in another process, on the ends of a socket; when `work` ran."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    ours.settimeout(DEADLINE_SECONDS)
    process = multiprocessing.get_context("fork").Process(target=peer, args=(theirs, *arguments))
    process.start()
    theirs.close()
    try:
        with ours:
            started = time.perf_counter()
            work(ours, *own)
            return started, time.perf_counter()
    finally:
        process.join(DEADLINE_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()


def _send_file(sock: socket.socket, source: Path, size: int) -> None:
    buffer = memoryview(bytearray(TRANSFER_BYTES))
    descriptor = os.open(source, os.O_RDONLY)
    try:
        for offset in range(0, size, TRANSFER_BYTES):
            os.preadv(descriptor, [buffer], offset)
            sock.sendall(buffer)
        sock.recv(1)
    finally:
        os.close(descriptor)


def _receive_file(sock: socket.socket, target: str, size: int) -> None:
    sock.settimeout(DEADLINE_SECONDS)
    buffer = memoryview(bytearray(TRANSFER_BYTES))
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for offset in range(0, size, TRANSFER_BYTES):
        receive(sock, buffer)
        os.pwrite(descriptor, buffer, offset)
    sock.sendall(b"!")
    os.close(descriptor)


def _ask(sock: socket.socket, count: int) -> None:
    request = bytes(REQUEST_BYTES)
    buffer = memoryview(bytearray(REPLY_BYTES))
    for _ in range(count):
        sock.sendall(request)
        receive(sock, buffer)


def _answer(sock: socket.socket, count: int) -> None:
    sock.settimeout(DEADLINE_SECONDS)
    reply = bytes(REPLY_BYTES)
    buffer = memoryview(bytearray(REQUEST_BYTES))
    for _ in range(count):
        receive(sock, buffer)
        sock.sendall(reply)


def receive(sock: socket.socket, buffer: memoryview) -> None:
    """Fill the buffer. Raises ConnectionError when the peer ends before."""
    got = 0
    while got < len(buffer):
        count = sock.recv_into(buffer[got:])
        if not count:
            raise ConnectionError("the other process ended")
        got += count
