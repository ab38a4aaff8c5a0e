"""The rates of `md.py` by several processes at once, in narrow and in wide directories.

Every process is a client of its own, and all work in one directory: a narrow one, whose names
are all kept by one group, or a wide one, whose names are spread over the cluster. They begin each
phase together; a phase takes as long as the slowest of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchfs.bench.launch import local
from benchfs.bench.launch.base import Ranks
from benchfs.bench.md import Rate, Settings, Work, new_directory, rate
from benchfs.client import AsyncClient

NARROW, WIDE = "narrow", "wide"


@dataclass(frozen=True, slots=True)
class Job:
    """What every process is given."""

    cluster: str | None
    settings: Settings
    directory: str
    wide: bool


@dataclass(frozen=True, slots=True)
class Column:
    """All phases by so many processes in a directory of one kind."""

    directory: str  # NARROW or WIDE
    processes: int
    rates: list[Rate]


def parse_processes(text: str) -> list[int]:
    """1,2,4 as numbers. ValueError."""
    parts = text.split(",")
    if not all(part.strip().isdigit() and 1 <= int(part) <= local.MOST_TASKS for part in parts):
        most = local.MOST_TASKS
        raise ValueError(f"--processes {text!r}: numbers from 1 to {most}, with commas between")
    return [int(part) for part in parts]


def measure(cluster: str | None, settings: Settings, processes: Sequence[int]) -> Iterator[Column]:
    """Column by column, as they come. Raises OSError if anything fails or was read wrongly."""
    for directory in (NARROW, WIDE):
        for count in processes:
            job = Job(cluster, settings, new_directory(), directory == WIDE)
            yield Column(directory, count, local.run(program, job, count))


async def program(ranks: Ranks, job: Job) -> list[Rate]:
    """What every process does; the directory is the first one's to make and to remove."""
    first = ranks.rank == 0
    async with AsyncClient(job.cluster, local_reads=job.settings.local_reads) as fs:
        if first:
            await fs.mkdir(job.directory, wide=job.wide)
        try:
            work = Work(fs, job.directory, job.settings, ranks.rank, ranks.size)
            rates = []
            for phase in work.phases():
                await ranks.exchange(None)
                rates.append(rate(await ranks.exchange(await phase())))
            return rates
        finally:
            if first:
                with contextlib.suppress(FileNotFoundError):  # another still removed something
                    await fs.rmtree(job.directory)
