"""Speed at a mount point, as IOR and mdtest measure it: `python -m benchfs.bench.fuse [DIRECTORY]`.

Any directory will do, so that other file systems can be measured alike. Without one, a cluster of
two nodes is started and mounted, and the time on CPUs that its mount and its daemons used is shown
for each figure. Pages are dropped before reading; each process reads what another one wrote.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchfs.bench.processes import cpu_seconds
from benchfs.localcluster import LocalCluster

MIB = 1024 * 1024
HARD_BYTES = 47_008  # of IOR hard: neither pages nor chunks fit
RANDOM_BYTES = 4096
WAIT_SECONDS = 300.0
Work = Callable[["Part"], int]


@dataclass(frozen=True, slots=True)
class Part:
    """What one process does: `number` of `processes`, in `directory`."""

    directory: Path
    number: int
    processes: int
    file_bytes: int
    files: int

    @property
    def neighbour(self) -> int:
        """Whose files this one reads."""
        return (self.number + 1) % self.processes


@dataclass(frozen=True, slots=True)
class Figure:
    """One row. `cpu_seconds`: used meanwhile by the mount's process and by the daemons."""

    name: str
    unit: str
    rate: float
    seconds: float
    mount_cpu_seconds: float
    daemons_cpu_seconds: float


# ---------------------------------------------------------------- what is done


def write(part: Part) -> int:
    """A file for each process, a MiB at a time, fsync at the end."""
    data = os.urandom(MIB)
    with (part.directory / f"easy.{part.number}").open("wb", buffering=0) as file:
        for _ in range(part.file_bytes // MIB):
            file.write(data)
        os.fsync(file.fileno())
    return part.file_bytes // MIB


def read(part: Part) -> int:
    """The neighbour's file, a MiB at a time."""
    buffer = bytearray(MIB)
    with (part.directory / f"easy.{part.neighbour}").open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return part.file_bytes // MIB


def write_hard(part: Part) -> int:
    """One file for all, pieces of 47,008 bytes in turn, fsync at the end."""
    data = os.urandom(HARD_BYTES)
    pieces = part.file_bytes // 4 // HARD_BYTES
    descriptor = os.open(part.directory / "hard", os.O_WRONLY | os.O_CREAT)
    for piece in range(pieces):
        os.pwrite(descriptor, data, (piece * part.processes + part.number) * HARD_BYTES)
    os.fsync(descriptor)
    os.close(descriptor)
    return pieces * HARD_BYTES // MIB


def read_hard(part: Part) -> int:
    """The neighbour's pieces."""
    pieces = part.file_bytes // 4 // HARD_BYTES
    descriptor = os.open(part.directory / "hard", os.O_RDONLY)
    for piece in range(pieces):
        offset = (piece * part.processes + part.neighbour) * HARD_BYTES
        if len(os.pread(descriptor, HARD_BYTES, offset)) != HARD_BYTES:
            raise AssertionError(f"short read at {offset}")
    os.close(descriptor)
    return pieces * HARD_BYTES // MIB


def read_random(part: Part) -> int:
    """4 KiB anywhere, none in the kernel's cache, no reading ahead."""
    rng = random.Random(part.number)
    descriptor = os.open(part.directory / f"easy.{part.neighbour}", os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    offsets = [rng.randrange(part.file_bytes // RANDOM_BYTES) for _ in range(part.files)]
    for offset in offsets:
        os.pread(descriptor, RANDOM_BYTES, offset * RANDOM_BYTES)
    os.close(descriptor)
    return part.files


def create(part: Part) -> int:
    """Empty files in a directory for each process."""
    directory = part.directory / f"many.{part.number}"
    directory.mkdir()
    for number in range(part.files):
        os.close(os.open(directory / str(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    return part.files


def stat(part: Part) -> int:
    """The neighbour's files."""
    directory = part.directory / f"many.{part.neighbour}"
    for number in range(part.files):
        (directory / str(number)).stat()
    return part.files


def remove(part: Part) -> int:
    """The own files."""
    directory = part.directory / f"many.{part.number}"
    for number in range(part.files):
        (directory / str(number)).unlink()
    directory.rmdir()
    return part.files


STEPS: tuple[tuple[str, str, Work], ...] = (
    ("write, 1 MiB, fsync", "MiB/s", write),
    ("read, 1 MiB", "MiB/s", read),
    ("random reads, 4 KiB", "/s", read_random),
    ("write, 47,008 bytes shared, fsync", "MiB/s", write_hard),
    ("read, 47,008 bytes shared", "MiB/s", read_hard),
    ("create", "/s", create),
    ("stat", "/s", stat),
    ("remove", "/s", remove),
)


# ---------------------------------------------------------------- how it is measured


def measure(
    directory: Path, part: Part, mount: Sequence[int], daemons: Sequence[int]
) -> list[Figure]:
    """All steps, one after the other; what they made is removed."""
    figures = []
    for name, unit, work in STEPS:
        drop_pages(directory)
        before = _used(mount), _used(daemons)
        seconds, done = _together(work, part)
        figures.append(
            Figure(
                name,
                unit,
                done / seconds,
                seconds,
                _used(mount) - before[0],
                _used(daemons) - before[1],
            )
        )
    for path in directory.iterdir():
        path.unlink()
    return figures


def drop_pages(directory: Path) -> None:
    """Have the kernel forget what it knows of the files' contents."""
    for path in directory.iterdir():
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def _used(pids: Sequence[int]) -> float:
    return sum(cpu_seconds(pid) for pid in pids)


def _together(work: Work, part: Part) -> tuple[float, int]:
    """Seconds from the common start to the last end, and how much was done."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(part.processes + 1)
    reports: Queue[int] = context.Queue()
    workers = [
        context.Process(
            target=_take_part,
            args=(
                work,
                Part(part.directory, number, part.processes, part.file_bytes, part.files),
                barrier,
                reports,
            ),
        )
        for number in range(part.processes)
    ]
    for worker in workers:
        worker.start()
    barrier.wait(WAIT_SECONDS)
    started = time.perf_counter()
    done = sum(reports.get(timeout=WAIT_SECONDS) for _ in workers)
    seconds = time.perf_counter() - started
    for worker in workers:
        worker.join(WAIT_SECONDS)
    return seconds, done


def _take_part(work: Work, part: Part, barrier: Barrier, reports: Queue[int]) -> None:
    barrier.wait(WAIT_SECONDS)
    reports.put(work(part))


@contextmanager
def mounted(nodes: int, options: Sequence[str]) -> Iterator[tuple[Path, int, list[int]]]:
    """A mount of a cluster of its own: where, its process, those of the daemons."""
    command = [sys.executable, "-m", "benchfs.cli.main"]
    with LocalCluster(nodes) as cluster, tempfile.TemporaryDirectory() as place:
        name = str(cluster.directory)
        told = subprocess.run(
            [*command, "mount", place, "--cluster", name, "--json", *options],
            check=True,
            stdout=subprocess.PIPE,
        )
        try:
            yield Path(place), json.loads(told.stdout)["pid"], [node.pid for node in cluster.nodes]
        finally:
            subprocess.run([*command, "umount", place], check=True)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchfs.bench.fuse", description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--mib", type=int, default=256, help="of each process's file")
    parser.add_argument("--files", type=int, default=2000, help="of each process")
    parser.add_argument("--nodes", type=int, default=2, help="of the cluster that is started")
    parser.add_argument("--option", action="append", default=[], help="of benchfs mount")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()

    def at(directory: Path, mount: Sequence[int], daemons: Sequence[int]) -> list[Figure]:
        with tempfile.TemporaryDirectory(dir=directory) as place:
            part = Part(Path(place), 0, given.processes, given.mib * MIB, given.files)
            return measure(Path(place), part, mount, daemons)

    if given.directory is not None:
        figures = at(given.directory, (), ())
    else:
        with mounted(given.nodes, given.option) as (place, mount, daemons):
            figures = at(place, (mount,), daemons)
    if given.json:
        print(json.dumps([asdict(figure) for figure in figures], indent=2))
        return
    for figure in figures:
        line = f"{figure.name:36}{figure.rate:10,.0f} {figure.unit:6}"
        if given.directory is None:
            line += f" mount {figure.mount_cpu_seconds / figure.seconds:4.0%}"
            line += f"  daemons {figure.daemons_cpu_seconds / figure.seconds:4.0%}"
        print(line)


if __name__ == "__main__":
    main()
