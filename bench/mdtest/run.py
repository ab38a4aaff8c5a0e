"""A run of mdtest: its phases in their order, by every rank; the outcome is known to all.

What goes wrong on one rank ends the run on all of them, at the end of the phase. What the run
made is removed all the same, unless it was to stay.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from benchfs.bench.backends.base import Backend
from benchfs.bench.backends.choose import Target
from benchfs.bench.gathering import all_parts, meet, require_room, together
from benchfs.bench.launch.base import RankLostError, Ranks, StoppedError
from benchfs.bench.mdtest import phase as phases
from benchfs.bench.mdtest.phase import Worker
from benchfs.bench.mdtest.result import Outcome, Phase
from benchfs.bench.mdtest.settings import Settings, read_status, write_status
from benchfs.bench.mdtest.tree import Tree
from benchfs.bench.measurement import measure_on_ranks

CREATIONS = frozenset({phases.FILE_CREATION, phases.DIRECTORY_CREATION})


def run(target: Target, settings: Settings, tasks: int | None = None) -> Outcome | None:
    """Run the test on `tasks` ranks; None on ranks of a launcher other than the first.

    Raises OSError if it could not begin, ValueError for settings that do not fit the ranks.
    """
    return measure_on_ranks(measure, target, settings, tasks)


async def measure(ranks: Ranks, backend: Backend, api: str, settings: Settings) -> Outcome:
    """The test over a backend, connected or not. Raises OSError if it cannot begin."""
    company = await meet(ranks, backend)
    outcome = Outcome(settings, api, company.hosts, company.processes, time.time())
    outcome.items = settings.created or settings.total

    async def look() -> None:
        if ranks.rank == 0:
            outcome.items = min(read_status(settings.status_file), settings.total)

    if settings.status_file and not settings.create:
        await together(ranks, look)
    outcome.items = (await ranks.exchange(outcome.items))[0]
    writes = settings.create and not settings.directories_only
    if writes and settings.write_bytes and not settings.deadline:
        needed = settings.total * ranks.size * settings.write_bytes
        await require_room(ranks, backend, settings.directory, needed, "see -n, -w, -W")
    worker = Worker(settings, ranks, backend)
    made = ranks.rank == 0 and not await _exists(backend, settings.directory)
    try:
        for iteration in range(settings.iterations):
            await _iterate(ranks, backend, worker, outcome, iteration)
    except (StoppedError, RankLostError) as exc:
        outcome.failure = str(exc)
        if settings.create and settings.remove and ranks.rank == 0:
            await _remove_all(backend, outcome)
    if made and settings.remove:
        with contextlib.suppress(OSError):  # something else is in it, or it was never made
            await backend.rmdir(settings.directory)
    outcome.ended = time.time()
    return outcome


async def _exists(backend: Backend, path: str) -> bool:
    try:
        await backend.stat(path)
    except FileNotFoundError:
        return False
    return True


async def _iterate(
    ranks: Ranks, backend: Backend, worker: Worker, outcome: Outcome, iteration: int
) -> None:
    """All phases once. Raises StoppedError after a phase that failed."""
    settings = outcome.settings
    tree = Tree(settings, iteration)

    async def make_bases() -> None:
        if ranks.rank == 0:
            for base in tree.bases():
                await backend.makedirs(base)

    async def remove_bases() -> None:
        if ranks.rank == 0:
            for base in tree.bases():
                await backend.rmdir(base)

    async def tell_later_runs() -> None:
        if settings.status_file and ranks.rank == 0:
            write_status(settings.status_file, outcome.items)

    if settings.create:
        await together(ranks, make_bases)
    for operation in operations(settings):
        work = worker.run(operation, tree, outcome.items)
        parts, nodes = await all_parts(ranks, backend, work)
        phase = Phase(operation, iteration=iteration, parts=parts, nodes=nodes)
        if phase.failure:
            outcome.failed = phase
            raise StoppedError(f"{operation}: {phase.failure}")
        outcome.phases.append(phase)
        if operation in CREATIONS and settings.deadline:
            outcome.items = max(part.items for part in parts)
            await together(ranks, tell_later_runs)
    if settings.remove:
        await together(ranks, remove_bases)


def operations(settings: Settings) -> Iterator[str]:
    """The phases of an iteration, in their order."""
    wanted = {
        phases.TREE_CREATION: settings.create,
        phases.DIRECTORY_CREATION: settings.create,
        phases.DIRECTORY_STAT: settings.stat,
        phases.DIRECTORY_RENAME: settings.remove,
        phases.DIRECTORY_REMOVAL: settings.remove,
        phases.FILE_CREATION: settings.create,
        phases.FILE_STAT: settings.stat,
        phases.FILE_READ: settings.read,
        phases.FILE_REMOVAL: settings.remove,
        phases.TREE_REMOVAL: settings.remove,
    }
    for operation, is_wanted in wanted.items():
        left_out = (settings.files_only and operation.startswith("Directory")) or (
            settings.directories_only and operation.startswith("File")
        )
        if is_wanted and not left_out:
            yield operation


async def _remove_all(backend: Backend, outcome: Outcome) -> None:
    """After a failure: everything that this run may have left."""
    for iteration in range(outcome.settings.iterations):
        for base in Tree(outcome.settings, iteration).bases():
            with contextlib.suppress(OSError):  # the run has failed already, and said why
                await backend.rmtree(base)
