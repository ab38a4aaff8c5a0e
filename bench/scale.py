"""The same work on clusters of several sizes, all on this host: what more nodes change.

On one host this shows what nodes cost, not what they bring: they share its processors and its
disks. Every size gets a cluster of its own, which is gone before the next one starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchfs.bench.backends.choose import NATIVE, Target
from benchfs.bench.ior import run as ior
from benchfs.bench.ior.settings import Settings as IorSettings
from benchfs.bench.launch import mpi
from benchfs.bench.mdtest import run as mdtest
from benchfs.bench.mdtest.settings import Settings as MdtestSettings
from benchfs.localcluster import LocalCluster

MOST_NODES = 256
TRANSFER_BYTES = 1 << 20
SMALL_FILE_BYTES = 3901


@dataclass(frozen=True, slots=True)
class Work:
    """What each size does, by `tasks` processes: `block` bytes and `items` files of each."""

    tasks: int = 2
    block: int = 256 << 20
    items: int = 1000
    repetitions: int = 3

    def __post_init__(self) -> None:
        if self.block < TRANSFER_BYTES or self.block % TRANSFER_BYTES:
            raise ValueError(f"-b {self.block}: whole MiB, one at least")
        if min(self.tasks, self.items, self.repetitions) < 1:
            raise ValueError("there must be a task, an item and a repetition")


@dataclass(slots=True)
class Size:
    """A cluster's figures: of each phase, in MiB/s or operations a second, by repetition."""

    nodes: int
    figures: dict[str, list[float]] = field(default_factory=dict)
    failure: str = ""


def parse_nodes(text: str) -> list[int]:
    """1,2,4,8 as numbers. ValueError."""
    parts = text.split(",")
    if not all(part.strip().isdigit() and 1 <= int(part) <= MOST_NODES for part in parts):
        raise ValueError(f"--nodes {text!r}: numbers from 1 to {MOST_NODES}, with commas between")
    return [int(part) for part in parts]


def measure(nodes: Sequence[int], work: Work, data: Path) -> Iterator[Size]:
    """Size by size, as they come; the nodes' data goes below `data`. Ends after a failure.

    Raises OSError if a cluster does not start, ValueError under an MPI launcher.
    """
    if mpi.launched():
        raise ValueError("this starts its clusters itself: run it without mpirun and srun")
    for count in nodes:
        with LocalCluster(nodes=count, data=data / f"nodes-{count}") as cluster:
            found = _size(count, work, Target(NATIVE, cluster.url))
        yield found
        if found.failure:
            return


def _size(count: int, work: Work, target: Target) -> Size:
    found = Size(count)
    moving = IorSettings(
        transfer=TRANSFER_BYTES,
        block=work.block,
        file_per_process=True,
        reorder=True,
        fsync=True,
        repetitions=work.repetitions,
    )
    moved = ior.run(target, moving, work.tasks)
    assert moved is not None
    found.failure = moved.failure
    for phase in moved.phases:
        found.figures.setdefault(phase.access, []).append(phase.mib_s)
    if found.failure:
        return found
    naming = MdtestSettings(
        items=work.items,
        files_only=True,
        write_bytes=SMALL_FILE_BYTES,
        read_bytes=SMALL_FILE_BYTES,
        stride=1,
        iterations=work.repetitions,
    )
    named = mdtest.run(target, naming, work.tasks)
    assert named is not None
    found.failure = named.failure
    for one in named.phases:
        if one.operation.startswith("File"):
            found.figures.setdefault(one.operation, []).append(one.rate)
    return found
