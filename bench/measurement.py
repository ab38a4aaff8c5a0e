"""A measurement by ranks: what each is given, its backend, and whose outcome counts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Generic, TypeVar

from benchfs.bench.backends.base import Backend
from benchfs.bench.backends.choose import Target
from benchfs.bench.launch.base import Ranks
from benchfs.bench.launch.choose import launch

Settings = TypeVar("Settings")
Outcome = TypeVar("Outcome")
# Over a backend that is not connected, by the name of its kind. OSError: it could not begin.
Measure = Callable[[Ranks, Backend, str, Settings], Coroutine[object, object, Outcome]]


@dataclass(frozen=True, slots=True)
class _Job(Generic[Settings, Outcome]):
    """What every rank is given."""

    measure: Measure[Settings, Outcome]
    target: Target
    settings: Settings


def measure_on_ranks(
    measure: Measure[Settings, Outcome], target: Target, settings: Settings, tasks: int | None
) -> Outcome | None:
    """Measure on `tasks` ranks; None on ranks of a launcher other than the first.

    `measure` is a module's function: processes are given its name. Raises OSError if it could
    not begin, and what `measure` raises.
    """
    job = _Job(measure, target, settings)
    return launch(_program, job, tasks)


async def _program(ranks: Ranks, job: _Job[Settings, Outcome]) -> Outcome | None:
    """What every rank does."""
    backend = job.target.make()
    try:
        outcome = await job.measure(ranks, backend, job.target.backend, job.settings)
        return outcome if ranks.rank == 0 else None
    finally:
        with contextlib.suppress(OSError):  # errors of the files were met at their close
            await backend.close()
