"""A run of IO500: every rank goes through the phases, rank 0 keeps their results.

A phase that fails ends the run; the results until then are kept. What the run wrote is removed
at its end, whatever happened.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from benchfs.bench.backends.base import Backend, Counters
from benchfs.bench.backends.choose import Target
from benchfs.bench.detail import Json, phase_detail
from benchfs.bench.gathering import meet, together
from benchfs.bench.io500.find import Found, Wanted, find
from benchfs.bench.io500.score import PHASES, Result
from benchfs.bench.io500.settings import HARD_FILE_BYTES, Settings
from benchfs.bench.ior import document as ior_document
from benchfs.bench.ior import run as ior
from benchfs.bench.launch.base import RankLostError, Ranks, StoppedError
from benchfs.bench.mdtest import document as mdtest_document
from benchfs.bench.mdtest import run as mdtest
from benchfs.bench.measurement import measure_on_ranks
from benchfs.bench.samples import Latencies, Timeline

GIB = 1 << 30


@dataclass(slots=True)
class Outcome:
    """A run, as far as it came.

    `failure`: why there is not more, `failed` what the ranks had done of that phase.
    """

    settings: Settings
    api: str
    hosts: Sequence[str]
    processes: Sequence[int]
    began: float
    ended: float = 0.0
    results: list[Result] = field(default_factory=list)
    found: int = 0
    failure: str = ""
    failed: dict[str, Json] | None = None


def run(target: Target, settings: Settings, tasks: int | None = None) -> Outcome | None:
    """Run on `tasks` ranks; None on ranks of a launcher other than the first.

    Raises OSError if it could not begin.
    """
    return measure_on_ranks(measure, target, settings, tasks)


async def measure(ranks: Ranks, backend: Backend, api: str, settings: Settings) -> Outcome:
    """All phases over a backend. Raises OSError if it cannot begin."""
    company = await meet(ranks, backend)
    outcome = Outcome(settings, api, company.hosts, company.processes, time.time())

    async def make_directories() -> None:
        if ranks.rank == 0:
            await backend.mkdir(settings.directory)
            for name in ("ior-easy", "ior-hard", "mdtest-easy", "mdtest-hard"):
                await backend.mkdir(f"{settings.directory}/{name}")

    await together(ranks, make_directories)
    signature = (await ranks.exchange(int(outcome.began)))[0]
    phases = _Phases(ranks, backend, outcome, signature)
    try:
        for name in PHASES:
            await phases.run(name)
    except (StoppedError, RankLostError) as exc:
        outcome.failure = str(exc)
    if ranks.rank == 0:
        try:
            await backend.rmtree(settings.directory)
        except OSError as exc:
            outcome.failure = "; ".join(filter(None, (outcome.failure, f"remove: {exc}")))
    outcome.ended = time.time()
    return outcome


class _Phases:
    """The phases, and what later ones need of earlier ones."""

    def __init__(self, ranks: Ranks, backend: Backend, outcome: Outcome, signature: int) -> None:
        self._ranks = ranks
        self._backend = backend
        self._outcome = outcome
        self._settings = outcome.settings
        self._signature = signature
        self._transfers: dict[str, int] = {}  # by difficulty: of each rank
        self._items: dict[str, int] = {}
        self._timestamp_ns = 0
        self._acts: dict[str, Callable[[str], Awaitable[Result]]] = {
            "timestamp": self._timestamp,
            "find": self._find,
        }

    async def run(self, name: str) -> None:
        """One phase. StoppedError on every rank if it failed on one."""
        act = self._acts.get(name, self._ior if name.startswith("ior") else self._mdtest)
        self._outcome.results.append(await act(name))

    async def _ior(self, name: str) -> Result:
        _, difficulty, access = name.split("-")
        settings = self._settings
        if access == "write":
            deadline = {"deadline": settings.stonewall, "wear_out": True}
            wanted = settings.ior(difficulty, self._signature, read=False, **deadline)
        else:
            written = {"wear_out_transfers": self._transfers[difficulty]}
            reading = {"write": False, "check_read": True}
            wanted = settings.ior(difficulty, self._signature, **reading, **written)
        outcome = await ior.measure(self._ranks, self._backend, self._outcome.api, wanted)
        if outcome.failure:
            if outcome.failed is not None:
                self._outcome.failed = ior_document.detail(outcome.failed) | {"name": name}
            raise StoppedError(f"{name}: {outcome.failure}")
        [phase] = outcome.phases
        self._transfers[difficulty] = max(part.transfers for part in phase.parts)
        detail = ior_document.detail(phase) | {"name": name}
        score = phase.bytes / GIB / phase.total_s
        return Result(name, score, phase.total_s, phase.errors, detail)

    async def _mdtest(self, name: str) -> Result:
        _, difficulty, operation = name.split("-")
        settings = self._settings
        if operation == "write":
            deadline = {"deadline": settings.stonewall, "create": True, "sync": settings.sync}
            wanted = settings.mdtest(difficulty, **deadline)
        else:
            flag = "remove" if operation == "delete" else operation
            checks = {"verify": True} if operation == "read" else {}
            items = {"created": self._items[difficulty]}
            wanted = settings.mdtest(difficulty, **{flag: True}, **checks, **items)
        outcome = await mdtest.measure(self._ranks, self._backend, self._outcome.api, wanted)
        if outcome.failure:
            if outcome.failed is not None:
                self._outcome.failed = mdtest_document.detail(outcome.failed) | {"name": name}
            raise StoppedError(f"{name}: {outcome.failure}")
        [phase] = [one for one in outcome.phases if one.operation.startswith("File")]
        self._items[difficulty] = outcome.items
        detail = mdtest_document.detail(phase) | {"name": name}
        return Result(name, phase.rate / 1000, phase.seconds, phase.errors, detail)

    async def _timestamp(self, name: str) -> Result:
        """A file: what is newer than it was written after it."""
        path = f"{self._settings.directory}/timestampfile"
        began = time.perf_counter()

        async def make() -> None:
            if self._ranks.rank == 0:
                await (await self._backend.open(path, "xb")).close()

        async def look() -> None:
            self._timestamp_ns = (await self._backend.stat(path)).mtime_ns

        await together(self._ranks, make)
        await together(self._ranks, look)
        return Result(name, 0.0, time.perf_counter() - began, 0, None)

    async def _find(self, name: str) -> Result:
        wanted = Wanted(self._timestamp_ns, HARD_FILE_BYTES)
        seen = await find(self._ranks, self._backend, self._settings.directory, wanted)
        seconds = max(one.seconds for one in seen)
        total = sum(one.total for one in seen)
        self._outcome.found = sum(one.matches for one in seen)
        return Result(name, total / seconds / 1000, seconds, 0, _find_detail(seen, total, seconds))


def _find_detail(seen: Sequence[Found], total: int, seconds: float) -> dict[str, Json]:
    return phase_detail(
        name="find",
        iteration=0,
        unit="ops/s",
        value=total / seconds,
        seconds=seconds,
        timeline=Timeline.sum(one.timeline for one in seen).rates(),
        latencies=Latencies.sum(one.latencies for one in seen),
        counters=Counters(),
        nodes=[],
        clients=[
            {
                "rank": one.rank,
                "source": one.rank,
                "amount": one.total,
                "seconds": one.seconds,
                "cpu_s": one.cpu_seconds,
                "errors": 0,
            }
            for one in seen
        ],
    )
