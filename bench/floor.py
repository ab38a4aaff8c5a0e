"""The floor: what two plain blocking processes reach on this machine, over a unix socket.

Every figure of BenchFS is quoted as a ratio of it, measured in the same minute: machines
differ, and the same machine differs from minute to minute. Three figures, each between two
processes that are pinned, since the scheduler's choice alone changes the ping-pong threefold:

*copy*: 1 MiB at a time, from a file (pread, sendall) to a file (recv_into, pwrite), the faster of
one CPU and two: on two it falls to a third when something else wants one of them, and a floor
that is too low flatters.
*pings together*: a request of 50 bytes and a reply of 4 KiB, one at a time, both on one CPU.
*pings apart*: the same with each process on a CPU of its own, so each message wakes a sleeping
CPU, as it does between a client and a node. None where there is one CPU only.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

TRANSFER_BYTES = 1 << 20
COPY_BYTES = 256 << 20
PINGS = 20_000
REQUEST_BYTES = 50
REPLY_BYTES = 4096
REPEATS = 5
DEADLINE_SECONDS = 120
DEADLINE_TIMEVAL = struct.pack("ll", DEADLINE_SECONDS, 0)

Work = Callable[[socket.socket], None]


@dataclass(frozen=True, slots=True)
class Sample:
    """The floor of one moment: MiB/s and calls a second."""

    copy_mib_s: float
    pings_together_s: float
    pings_apart_s: float | None


@dataclass(frozen=True, slots=True)
class Floor:
    """Medians, figure by figure, and the samples they are of."""

    copy_mib_s: float
    pings_together_s: float
    pings_apart_s: float | None
    samples: tuple[Sample, ...]


def default_directory() -> Path:
    """Where data of measurements goes: memory where there is some."""
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())


def measure(
    directory: Path, *, copy_bytes: int = COPY_BYTES, pings: int = PINGS, repeats: int = REPEATS
) -> Floor:
    """Take `repeats` samples. Files are made below `directory` and removed. Errors: `sample`."""
    return summary([sample(directory, copy_bytes, pings) for _ in range(repeats)])


def sample(directory: Path, copy_bytes: int = COPY_BYTES, pings: int = PINGS) -> Sample:
    """Measure each figure once. ValueError for sizes that cannot be, OSError if a process fails."""
    if copy_bytes <= 0 or copy_bytes % TRANSFER_BYTES or pings <= 0:
        raise ValueError(
            f"cannot copy {copy_bytes} bytes in pieces of 1 MiB, or ping {pings} times"
        )
    first, *others = sorted(os.sched_getaffinity(0))
    second = others[0] if others else None
    places = [(first, first)] if second is None else [(first, first), (first, second)]
    return Sample(
        max(_copy(directory, copy_bytes, cpus) for cpus in places),
        _pings(pings, (first, first)),
        None if second is None else _pings(pings, (first, second)),
    )


def busy_share(seconds: float = 0.2) -> float:
    """How much of all CPUs' time is used now, by whatever runs or by other machines: 0 to 1."""
    before = _cpu_times()
    time.sleep(seconds)
    idle, everything = (now - then for now, then in zip(_cpu_times(), before, strict=True))
    return 1 - idle / max(1, everything)


def _cpu_times() -> tuple[int, int]:
    """Ticks that all CPUs were idle, and all ticks, since the start of the machine."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def summary(samples: Sequence[Sample]) -> Floor:
    """The medians of one sample or more."""
    apart = [one.pings_apart_s for one in samples if one.pings_apart_s is not None]
    return Floor(
        statistics.median(one.copy_mib_s for one in samples),
        statistics.median(one.pings_together_s for one in samples),
        statistics.median(apart) if apart else None,
        tuple(samples),
    )


def _copy(directory: Path, size: int, cpus: tuple[int, int]) -> float:
    source, target = directory / "floor-source", directory / "floor-target"
    try:
        source.write_bytes(os.urandom(TRANSFER_BYTES) * (size // TRANSFER_BYTES))
        seconds = _seconds(
            partial(_send_file, source=source, size=size),
            partial(_receive_file, target=target, size=size),
            cpus,
        )
        return size / (1 << 20) / seconds
    finally:
        source.unlink(missing_ok=True)
        target.unlink(missing_ok=True)


def _pings(count: int, cpus: tuple[int, int]) -> float:
    return count / _seconds(partial(_ask, count=count), partial(_answer, count=count), cpus)


def _seconds(work: Work, peer: Work, cpus: tuple[int, int]) -> float:
    """How long `work` takes against `peer`, each in a process of its own, on its own CPU."""
    context = multiprocessing.get_context("fork")
    ends = socket.socketpair(socket.AF_UNIX)
    clock, clock_there = context.Pipe(duplex=False)
    processes = [
        context.Process(target=_pinned, args=(cpus[0], ends, work, clock_there)),
        context.Process(target=_pinned, args=(cpus[1], ends[::-1], peer, None)),
    ]
    try:
        for process in processes:
            process.start()
        for end in ends:
            end.close()
        clock_there.close()
        try:
            seconds = clock.recv() if clock.poll(DEADLINE_SECONDS) else None
        except EOFError:
            seconds = None
    finally:
        clock.close()
        for process in processes:
            process.join(10.0)
            if process.is_alive():
                process.kill()
                process.join()
    if seconds is None or any(process.exitcode for process in processes):
        raise ChildProcessError("a process of the floor has failed")
    return float(seconds)


def _pinned(
    cpu: int, ends: tuple[socket.socket, socket.socket], work: Work, clock: Connection | None
) -> None:
    """In a process of the floor: do the work at the first end, and tell how long it took."""
    os.sched_setaffinity(0, {cpu})
    ours, theirs = ends
    theirs.close()
    with ours:
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):  # settimeout() would poll each time
            ours.setsockopt(socket.SOL_SOCKET, option, DEADLINE_TIMEVAL)
        ours.sendall(b"r")  # both are ready
        _receive(ours, memoryview(bytearray(1)))
        started = time.perf_counter()
        work(ours)
        seconds = time.perf_counter() - started
    if clock is not None:
        clock.send(seconds)


def _send_file(sock: socket.socket, *, source: Path, size: int) -> None:
    buffer = memoryview(bytearray(TRANSFER_BYTES))
    descriptor = os.open(source, os.O_RDONLY)
    try:
        for offset in range(0, size, TRANSFER_BYTES):
            os.preadv(descriptor, [buffer], offset)
            sock.sendall(buffer)
        _receive(sock, memoryview(bytearray(1)))
    finally:
        os.close(descriptor)


def _receive_file(sock: socket.socket, *, target: Path, size: int) -> None:
    buffer = memoryview(bytearray(TRANSFER_BYTES))
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        for offset in range(0, size, TRANSFER_BYTES):
            _receive(sock, buffer)
            os.pwrite(descriptor, buffer, offset)
        sock.sendall(b"!")
    finally:
        os.close(descriptor)


def _ask(sock: socket.socket, *, count: int) -> None:
    request = bytes(REQUEST_BYTES)
    buffer = memoryview(bytearray(REPLY_BYTES))
    for _ in range(count):
        sock.sendall(request)
        _receive(sock, buffer)


def _answer(sock: socket.socket, *, count: int) -> None:
    reply = bytes(REPLY_BYTES)
    buffer = memoryview(bytearray(REQUEST_BYTES))
    for _ in range(count):
        _receive(sock, buffer)
        sock.sendall(reply)


def _receive(sock: socket.socket, buffer: memoryview) -> None:
    got = 0
    while got < len(buffer):
        count = sock.recv_into(buffer[got:])
        if not count:
            raise ConnectionError("the other process ended")
        got += count
