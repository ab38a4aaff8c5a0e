"""IOR against a loop that any Python program could have: what the benchmark itself costs.

One process writes a new file a MiB at a time and reads it again, in the memory of the kernel, where
nothing hides the cost, and once more with fsync, as far as the disk; first as `benchfs bench ior`
does it, then in a bare loop. Both hold what they move in aligned memory.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from benchfs.bench.aligned import aligned
from benchfs.bench.backends.choose import POSIX, Target
from benchfs.bench.backends.posix import PosixBackend
from benchfs.bench.ior import run as ior
from benchfs.bench.ior.settings import Settings
from benchfs.bench.launch import local
from benchfs.bench.launch.base import Ranks
from benchfs.bench.peers.ranks import Outcome, Sample
from benchfs.bench.peers.work import MIB

NAME = "yardstick"
IOR_WRITE, IOR_READ, IOR_DISK = "IOR, write", "IOR, read", "IOR, write to the disk"
LOOP_WRITE, LOOP_READ = "bare loop, write", "bare loop, read"
LOOP_DISK = "bare loop, write to the disk"
TURNS = 8
DISK_TURNS = 4  # each waits for the disk


def measure(place: Path, mib: int) -> Outcome:
    """The best of several turns of each, taken alternately, below a directory."""
    return local.run(program, (str(place / "file"), mib), 1)


async def program(ranks: Ranks, job: tuple[str, int]) -> Outcome:
    """What the one process does."""
    path, mib = job
    backend = PosixBackend()
    cached = Settings(transfer=MIB, block=mib * MIB, file=path)
    disk = replace(cached, read=False, fsync=True)
    outcome = Outcome()
    for turn in range(TURNS + DISK_TURNS):
        settings = cached if turn < TURNS else disk
        found = await ior.measure(ranks, backend, Target(POSIX).backend, settings)
        if found.failure:
            outcome.failure = found.failure
            break
        names = (IOR_DISK,) if settings.fsync else (IOR_WRITE, IOR_READ)
        rates = dict(zip(names, (phase.mib_s for phase in found.phases), strict=True))
        for name, rate in (rates | bare_loop(path, mib, fsync=settings.fsync)).items():
            if name not in outcome.samples or outcome.samples[name].rate < rate:
                outcome.samples[name] = Sample(rate, 0.0)
    return outcome


def bare_loop(path: str, mib: int, *, fsync: bool) -> dict[str, float]:
    """MiB/s of writing to the disk with `fsync`, else of writing and reading. Removes the file."""
    buffer = aligned(MIB)
    buffer[:] = os.urandom(MIB)
    began = time.perf_counter()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in range(mib):
        os.pwrite(descriptor, buffer, number * MIB)
    if fsync:
        os.fsync(descriptor)
    os.close(descriptor)
    written = time.perf_counter()
    if fsync:
        os.unlink(path)
        return {LOOP_DISK: mib / (written - began)}
    descriptor = os.open(path, os.O_RDONLY)
    for number in range(mib):
        os.preadv(descriptor, [buffer], number * MIB)
    os.close(descriptor)
    read = time.perf_counter()
    os.unlink(path)
    return {LOOP_WRITE: mib / (written - began), LOOP_READ: mib / (read - written)}
