"""Figures of processes for the benchmarks, and what idle daemons cost."""

from __future__ import annotations

import mmap
import os
import threading
import time

from benchfs.bench import idle
from benchfs.bench.processes import cpu_seconds, peak_bytes, resident_bytes


def test_cpu_time_is_that_of_all_threads() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=lambda: spin_until(stop))
    own, all_threads = time.thread_time(), cpu_seconds(os.getpid())
    thread.start()
    while cpu_seconds(os.getpid()) - all_threads < 0.1:
        time.sleep(0.001)
    elsewhere = cpu_seconds(os.getpid()) - all_threads - (time.thread_time() - own)
    stop.set()
    thread.join()

    assert elsewhere > 0


def spin_until(stop: threading.Event) -> None:
    while not stop.is_set():
        sum(range(1000))


def test_memory_grows_by_what_is_touched() -> None:
    """Mapped apart: the allocator may hand out pages that are resident already."""
    before = resident_bytes(os.getpid())
    with mmap.mmap(-1, 32 << 20) as held:
        held.write(b"x" * len(held))
        touched = resident_bytes(os.getpid())
        peak = peak_bytes(os.getpid())

    assert touched - before > 30 << 20
    assert peak >= touched


async def test_idle_daemons_are_measured_one_by_one() -> None:
    found = await idle.measure("sockets", seconds=0.05, settle=0.0)

    assert found.transport == "sockets"
    assert len(found.shares) == len(found.resident) == idle.NODES
    assert all(share >= 0 for share in found.shares)
    assert all(size > 1 << 20 for size in found.resident)


def test_the_busiest_daemon_decides() -> None:
    assert idle.Idle("sockets", (0.001, 0.009), (1, 1)).good
    assert not idle.Idle("sockets", (0.001, 0.011), (1, 1)).good
