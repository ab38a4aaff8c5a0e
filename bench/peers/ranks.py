"""What the processes of a stage do: its steps in their order, as IOR and mdtest do them.

Beside the rate of each step, rank 0 notes the time that all processes it can see spent on CPUs
meanwhile: in namespaces of their own these are the ranks and the system that is measured.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from benchfs.bench.backends.base import Backend
from benchfs.bench.backends.choose import Target
from benchfs.bench.gathering import together
from benchfs.bench.ior import run as ior
from benchfs.bench.ior.settings import Settings as IorSettings
from benchfs.bench.launch.base import RankLostError, Ranks, StoppedError
from benchfs.bench.mdtest import run as mdtest
from benchfs.bench.peers.work import MIB, Step

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: MiB or operations a second, and CPU seconds (client and servers) of each."""

    rate: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Job:
    """What every rank is given: steps below `directory` of the target."""

    target: Target
    directory: str
    steps: tuple[Step, ...]


@dataclass(slots=True)
class Outcome:
    """Samples by the titles of rows, as far as it came. `failure`: why there are not more."""

    samples: dict[str, Sample] = field(default_factory=dict)
    failure: str = ""


async def program(ranks: Ranks, job: Job) -> Outcome:
    """What every rank does."""
    backend = job.target.make()
    outcome = Outcome()
    try:
        await together(ranks, backend.connect)
        await together(ranks, lambda: _prepare(ranks, backend, job.directory))
        for step in job.steps:
            outcome.samples[step.row.title] = await _step(ranks, backend, job.target.backend, step)
    except (StoppedError, RankLostError) as exc:
        outcome.failure = str(exc)
    finally:
        with contextlib.suppress(OSError):  # errors of the files were met at their close
            await backend.close()
    return outcome


async def _prepare(ranks: Ranks, backend: Backend, directory: str) -> None:
    if ranks.rank == 0:
        await backend.makedirs(directory)


async def _step(ranks: Ranks, backend: Backend, api: str, step: Step) -> Sample:
    """One row. StoppedError on every rank if it failed on one."""
    before = cpu_seconds_of_all()
    if isinstance(step.settings, IorSettings):
        moved = await ior.measure(ranks, backend, api, step.settings)
        _require(step, moved.failure)
        [transfers] = moved.phases
        by_bytes = step.row.is_bandwidth
        amount = transfers.bytes / MIB if by_bytes else float(transfers.transfers)
        rate = amount / transfers.total_s
    else:
        made = await mdtest.measure(ranks, backend, api, step.settings)
        _require(step, made.failure)
        [files] = [phase for phase in made.phases if phase.operation.startswith("File")]
        amount, rate = float(files.items), files.rate
    return Sample(rate, spent(before, cpu_seconds_of_all()) / amount)


def _require(step: Step, failure: str) -> None:
    if failure:
        raise StoppedError(f"{step.row.title}: {failure}")


def cpu_seconds_of_all() -> dict[int, float]:
    """Of every process that /proc shows: user and system time, threads that have ended included."""
    found = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                fields = (place / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
                found[int(place.name)] = (int(fields[11]) + int(fields[12])) / TICKS
    return found


def spent(before: dict[int, float], after: dict[int, float]) -> float:
    """CPU seconds between the two; of processes that ended in between nothing is known."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())
