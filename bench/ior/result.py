"""What a run found: phases, each the sum of its ranks' parts, and how the run ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchfs.bench.backends.base import NodeFigures
from benchfs.bench.ior.phase import Part
from benchfs.bench.ior.settings import Settings
from benchfs.bench.outcome import RanksPhase, RunOutcome

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Stonewall:
    """Where the ranks stood when the deadline came: seconds of the last, bytes of all."""

    seconds: float
    bytes: int

    @property
    def mib_s(self) -> float:
        """Bandwidth to there."""
        return self.bytes / MIB / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase(RanksPhase[Part]):
    """One access of one repetition; the columns of IOR's table.

    The times are from the first rank's start to the last rank's end. `latency_s`: the mean
    duration of a transfer. `operations_s` is by the time of moving, as IOR's is.
    """

    access: str
    bytes: int
    transfers: int
    latency_s: float
    open_s: float
    move_s: float
    close_s: float
    total_s: float
    stonewall: Stonewall | None

    @property
    def mib_s(self) -> float:
        """Bandwidth over the whole phase."""
        return self.bytes / MIB / self.total_s

    @property
    def operations_s(self) -> float:
        """Transfers a second while transfers were made."""
        return self.transfers / self.move_s if self.move_s else 0.0


def summed(
    access: str,
    iteration: int,
    parts: Sequence[Part],
    nodes: Sequence[tuple[NodeFigures, NodeFigures]],
) -> Phase:
    """The phase that these parts make."""
    spans = [[getattr(part, name) for part in parts] for name in ("opening", "moving", "closing")]
    times = [max(s.end for s in steps) - min(s.start for s in steps) for steps in spans]
    transfers = sum(part.transfers for part in parts)
    moved_s = sum(part.seconds for part in parts)
    return Phase(
        iteration=iteration,
        parts=tuple(parts),
        nodes=tuple(nodes),
        access=access,
        bytes=sum(part.bytes for part in parts),
        transfers=transfers,
        latency_s=moved_s / transfers if transfers else 0.0,
        open_s=times[0],
        move_s=times[1],
        close_s=times[2],
        total_s=max(s.end for s in spans[2]) - min(s.start for s in spans[0]),
        stonewall=_stonewall(parts),
    )


def _stonewall(parts: Sequence[Part]) -> Stonewall | None:
    """None if no rank was stopped; one that was done before the deadline has moved all it had."""
    walls = [part.stonewall or (part.moving.end, part.bytes) for part in parts]
    if not any(part.stonewall for part in parts):
        return None
    return Stonewall(max(seconds for seconds, _ in walls), sum(moved for _, moved in walls))


@dataclass(slots=True)
class Outcome(RunOutcome[Settings, Phase]):
    """A whole run of IOR. `removed`: seconds that removing the files took, by repetition."""

    removed: list[float] = field(default_factory=list, kw_only=True)

    @property
    def tasks_per_host(self) -> int:
        """Of the host of rank 0, as IOR counts them."""
        return list(self.hosts).count(self.hosts[0])

    def of(self, access: str) -> list[Phase]:
        """The repetitions of an access."""
        return [phase for phase in self.phases if phase.access == access]
