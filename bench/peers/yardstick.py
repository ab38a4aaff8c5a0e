"""IOR against a loop that any Python program could have: what the benchmark itself costs.

One process writes a file a MiB at a time and reads it again, from the memory of the kernel, where
nothing hides the cost; once as `benchfs bench ior` does it, once in a bare loop.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchfs.bench.backends.choose import POSIX, Target
from benchfs.bench.backends.posix import PosixBackend
from benchfs.bench.ior import run as ior
from benchfs.bench.ior.settings import Settings
from benchfs.bench.launch import local
from benchfs.bench.launch.base import Ranks
from benchfs.bench.peers.ranks import Outcome, Sample
from benchfs.bench.peers.work import MIB

NAME = "yardstick"
IOR_WRITE, IOR_READ = "IOR, write", "IOR, read"
LOOP_WRITE, LOOP_READ = "bare loop, write", "bare loop, read"
TURNS = 8


def measure(place: Path, mib: int) -> Outcome:
    """The best of several turns of each, taken alternately, below a directory."""
    return local.run(program, (str(place / "file"), mib), 1)


async def program(ranks: Ranks, job: tuple[str, int]) -> Outcome:
    """What the one process does."""
    path, mib = job
    backend = PosixBackend()
    settings = Settings(transfer=MIB, block=mib * MIB, file=path)
    outcome = Outcome()
    for _ in range(TURNS):
        found = await ior.measure(ranks, backend, Target(POSIX).backend, settings)
        if found.failure:
            outcome.failure = found.failure
            break
        rates = {IOR_WRITE: found.phases[0].mib_s, IOR_READ: found.phases[1].mib_s}
        rates |= bare_loop(path, mib)
        for name, rate in rates.items():
            if name not in outcome.samples or outcome.samples[name].rate < rate:
                outcome.samples[name] = Sample(rate, 0.0)
    return outcome


def bare_loop(path: str, mib: int) -> dict[str, float]:
    """MiB/s of writing and reading."""
    data, buffer = os.urandom(MIB), bytearray(MIB)
    began = time.perf_counter()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in range(mib):
        os.pwrite(descriptor, data, number * MIB)
    os.close(descriptor)
    written = time.perf_counter()
    descriptor = os.open(path, os.O_RDONLY)
    for number in range(mib):
        os.preadv(descriptor, [buffer], number * MIB)
    os.close(descriptor)
    read = time.perf_counter()
    os.unlink(path)
    return {LOOP_WRITE: mib / (written - began), LOOP_READ: mib / (read - written)}
