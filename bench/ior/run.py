"""A run of IOR: its phases in their order, by every rank; rank 0 sums up.

What goes wrong on one rank ends the run on all of them, at the end of the phase: the outcome then
has the phases that were complete, and says what happened. Files are removed all the same.
"""

from __future__ import annotations

import contextlib
import posixpath
import time
from collections.abc import Sequence

from benchfs.bench.backends.base import Backend
from benchfs.bench.backends.choose import Target
from benchfs.bench.gathering import all_parts, meet, require_room, together
from benchfs.bench.ior.order import sources
from benchfs.bench.ior.phase import CHECK, READ, WRITE, Part, Task, Worker
from benchfs.bench.ior.result import Outcome, summed
from benchfs.bench.ior.settings import Settings, read_status, write_status
from benchfs.bench.launch.base import RankLostError, Ranks, StoppedError
from benchfs.bench.measurement import measure_on_ranks
from benchfs.bench.pattern import Pattern

CHECK_SHIFT = 2  # IOR checks what was written from two nodes further
ALIGNED_TRANSFER = 64 << 10  # where copying takes longer than deciding what to copy


def run(target: Target, settings: Settings, tasks: int | None = None) -> Outcome | None:
    """Run the test on `tasks` ranks; None on ranks of a launcher other than the first.

    Raises OSError if it could not begin, ValueError for settings that do not fit the ranks.
    """
    return measure_on_ranks(measure, target, settings, tasks)


async def measure(ranks: Ranks, backend: Backend, api: str, settings: Settings) -> Outcome:
    """The test over a backend, connected or not; the outcome is known to every rank.

    Raises OSError if it cannot begin.
    """
    company = await meet(ranks, backend)
    if settings.write and not settings.deadline:
        needed = settings.total_bytes(ranks.size)
        directory = posixpath.dirname(settings.file) or "."
        await require_room(ranks, backend, directory, needed, "see -b, -s, -D")
    signature = (await ranks.exchange(int(time.time())))[0]
    if settings.signature is not None:
        signature = settings.signature
    aligned = settings.transfer >= ALIGNED_TRANSFER
    pattern = Pattern(settings.transfer, settings.packet, signature, aligned=aligned)
    worker = Worker(settings, ranks, backend, pattern)
    outcome = Outcome(settings, api, company.hosts, company.processes, time.time())
    run_of_rank = _Run(ranks, backend, settings, worker, outcome)
    try:
        for repetition in range(settings.repetitions):
            await run_of_rank.repeat(repetition)
            if outcome.failure:
                break
    except (RankLostError, StoppedError) as exc:
        outcome.failure = outcome.failure or str(exc)
        await run_of_rank.remove_alone()
    outcome.ended = time.time()
    return outcome


class _Run:
    """One rank's way through the repetitions. The outcome is filled on every rank."""

    def __init__(
        self, ranks: Ranks, backend: Backend, settings: Settings, worker: Worker, outcome: Outcome
    ) -> None:
        self._ranks = ranks
        self._backend = backend
        self._settings = settings
        self._worker = worker
        self._outcome = outcome

    async def repeat(self, repetition: int) -> None:
        """Write, check, read, remove; stops after the phase that fails."""
        settings, ranks = self._settings, self._ranks
        written = [await self._limit()] * ranks.size
        if settings.write:
            await self._prepare()
            limit = settings.wear_out_transfers or settings.transfers
            tasks = [Task(WRITE, rank, limit, verify=False) for rank in range(ranks.size)]
            parts = await self._phase(tasks, repetition)
            written = [part.transfers for part in parts]
            if settings.status_file and not self._outcome.failure:
                await together(ranks, lambda: self._tell_later_runs(max(written)))
        later = ((CHECK, settings.check_write, CHECK_SHIFT), (READ, settings.reads, 0))
        for access, wanted, shift in later:
            if wanted and not self._outcome.failure:
                far = shift or settings.task_offset
                order = sources(settings, self._outcome.hosts, repetition, far)
                verify = access == CHECK or settings.check_read
                tasks = [Task(access, rank, written[rank], verify) for rank in order]
                await self._phase(tasks, repetition)
        if not self._keeps():
            await self._timed_removal()

    async def _limit(self) -> int:
        """How many transfers of each rank an earlier run has written, as rank 0 knows it."""
        settings = self._settings
        found = settings.wear_out_transfers or settings.transfers

        async def look() -> None:
            nonlocal found
            if self._ranks.rank == 0:
                found = min(read_status(settings.status_file), found)

        if settings.status_file and not settings.write:
            await together(self._ranks, look)
        return (await self._ranks.exchange(found))[0]

    async def _tell_later_runs(self, transfers: int) -> None:
        if self._ranks.rank == 0:
            write_status(self._settings.status_file, transfers)

    async def _phase(self, tasks: Sequence[Task], repetition: int) -> list[Part]:
        """Everybody's parts of one phase; the outcome has its sum."""
        work = self._worker.run(tasks[self._ranks.rank])
        parts, nodes = await all_parts(self._ranks, self._backend, work)
        phase = summed(tasks[0].access, repetition, parts, nodes)
        if phase.failure:
            self._outcome.failure = f"{phase.access}: {phase.failure}"
            self._outcome.failed = phase
        else:
            self._outcome.phases.append(phase)
        return parts

    # ------------------------------------------------------------ files

    async def _prepare(self) -> None:
        """Before writing: no file of an earlier run, and with -u the directories."""
        settings, rank = self._settings, self._ranks.rank

        async def prepare() -> None:
            if settings.unique_directory:
                await self._backend.makedirs(posixpath.dirname(settings.path(rank)))
            if not settings.use_existing:
                await self._remove_own()

        await together(self._ranks, prepare)

    def _keeps(self) -> bool:
        settings, outcome = self._settings, self._outcome
        return (
            settings.keep or not settings.write or (settings.keep_with_error and outcome.errors > 0)
        )

    async def _timed_removal(self) -> None:
        """All ranks remove their files; rank 0 notes how long that took."""
        await self._ranks.exchange(None)
        started = time.perf_counter()
        await together(self._ranks, self._remove)
        self._outcome.removed.append(time.perf_counter() - started)

    async def remove_alone(self) -> None:
        """After others were lost: remove this rank's file, as far as that goes."""
        if not self._keeps():
            with contextlib.suppress(OSError):  # the run has failed already, and said why
                await self._remove()

    async def _remove(self) -> None:
        await self._remove_own()
        if self._settings.unique_directory:
            await self._backend.rmdir(posixpath.dirname(self._settings.path(self._ranks.rank)))

    async def _remove_own(self) -> None:
        if self._settings.file_per_process or self._ranks.rank == 0:
            with contextlib.suppress(FileNotFoundError):
                await self._backend.unlink(self._settings.path(self._ranks.rank))
