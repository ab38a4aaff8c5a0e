"""What a benchmark finds: the parts of its ranks, phases made of parts, and the run as a whole.

Each benchmark adds what it measures; what they have in common, and reports show, is here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Generic, TypeVar

from benchfs.bench.backends.base import Counters, NodeFigures
from benchfs.bench.samples import Latencies, Timeline

NO_COUNTERS = Counters()


@dataclass(slots=True)
class RankPart:
    """What one rank did in a phase.

    `source`: whose data or items. `errors`: what was read with other bytes than were written.
    `stonewall`: seconds and amount when the deadline came, None if it did not. `failure`: what
    ended the rank's part early; its other figures are up to there.
    """

    rank: int
    source: int
    _: KW_ONLY
    errors: int = 0
    stonewall: tuple[float, int] | None = None
    cpu_seconds: float = 0.0
    latencies: Latencies = field(default_factory=Latencies)
    timeline: Timeline = field(default_factory=Timeline)
    counters: Counters = NO_COUNTERS
    failure: str = ""

    @property
    @abstractmethod
    def amount(self) -> int:
        """How much this rank did, in what the benchmark counts."""

    @property
    @abstractmethod
    def seconds(self) -> float:
        """How long that took."""


Part_co = TypeVar("Part_co", bound=RankPart, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RanksPhase(Generic[Part_co]):
    """One phase of one repetition, all ranks. `nodes`: of each its figures before and after."""

    iteration: int
    parts: Sequence[Part_co]
    nodes: Sequence[tuple[NodeFigures, NodeFigures]]

    @property
    def errors(self) -> int:
        """What was read with other bytes than were written."""
        return sum(part.errors for part in self.parts)

    @property
    def latencies(self) -> Latencies:
        """Of all ranks."""
        return Latencies.sum(part.latencies for part in self.parts)

    @property
    def timeline(self) -> Timeline:
        """Amounts of all ranks."""
        return Timeline.sum(part.timeline for part in self.parts)

    @property
    def counters(self) -> Counters:
        """Sums over the clients."""
        return Counters.sum([part.counters for part in self.parts])

    @property
    def failure(self) -> str:
        """The first rank that failed, and why; empty if none did."""
        return next((f"rank {one.rank}: {one.failure}" for one in self.parts if one.failure), "")


AnyPhase = TypeVar("AnyPhase", bound=RanksPhase[RankPart])
AnySettings = TypeVar("AnySettings")


@dataclass(slots=True)
class RunOutcome(Generic[AnySettings, AnyPhase]):
    """A whole run, as far as it came. `hosts`: each rank's machine, `processes` its process.

    `began`, `ended`: seconds since 1970. `failure`: why there is not more, `failed` what the
    ranks had done of that phase.
    """

    settings: AnySettings
    api: str
    hosts: Sequence[str]
    processes: Sequence[int]
    began: float
    _: KW_ONLY
    ended: float = 0.0
    phases: list[AnyPhase] = field(default_factory=list)
    failure: str = ""
    failed: AnyPhase | None = None

    @property
    def errors(self) -> int:
        """What was read with other bytes than were written, in all phases."""
        return sum(phase.errors for phase in self.phases)
