"""What a run found: phases, each the sum of its ranks' parts, and how the run ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchfs.bench.backends.base import Counters, NodeFigures
from benchfs.bench.ior.phase import Part
from benchfs.bench.ior.settings import Settings
from benchfs.bench.samples import Latencies, Timeline

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


@dataclass(frozen=True, slots=True)
class Phase:
    """One access of one repetition; the columns of IOR's table.

    The times are from the first rank's start to the last rank's end. `latency_s`: the mean
    duration of a transfer. `operations_s` is by the time of moving, as IOR's is.
    """

    access: str
    iteration: int
    bytes: int
    transfers: int
    latency_s: float
    open_s: float
    move_s: float
    close_s: float
    total_s: float
    errors: int
    stonewall: Stonewall | None
    parts: Sequence[Part]
    nodes: Sequence[tuple[NodeFigures, NodeFigures]]

    @property
    def mib_s(self) -> float:
        """Bandwidth over the whole phase."""
        return self.bytes / MIB / self.total_s

    @property
    def operations_s(self) -> float:
        """Transfers a second while transfers were made."""
        return self.transfers / self.move_s if self.move_s else 0.0

    @property
    def latencies(self) -> Latencies:
        """Of all ranks."""
        return Latencies.sum(part.latencies for part in self.parts)

    @property
    def timeline(self) -> Timeline:
        """Bytes of all ranks."""
        return Timeline.sum(part.timeline for part in self.parts)

    @property
    def counters(self) -> Counters:
        """Sums over the clients."""
        return Counters.sum([part.counters for part in self.parts])


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
    moved_s = sum(part.moving.end - part.moving.start for part in parts)
    return Phase(
        access,
        iteration,
        sum(part.bytes for part in parts),
        transfers,
        moved_s / transfers if transfers else 0.0,
        times[0],
        times[1],
        times[2],
        max(s.end for s in spans[2]) - min(s.start for s in spans[0]),
        sum(part.errors for part in parts),
        _stonewall(parts),
        tuple(parts),
        tuple(nodes),
    )


def _stonewall(parts: Sequence[Part]) -> Stonewall | None:
    """None if no rank was stopped; one that was done before the deadline has moved all it had."""
    walls = [part.stonewall or (part.moving.end, part.bytes) for part in parts]
    if not any(part.stonewall for part in parts):
        return None
    return Stonewall(max(seconds for seconds, _ in walls), sum(moved for _, moved in walls))


@dataclass(slots=True)
class Outcome:
    """A whole run, as far as it came. `hosts`: each rank's machine, `processes` its process.

    `removed`: seconds that removing the files took, by repetition. `failure`: why there is not
    more, with what `failed` phase and what its ranks had done until then.
    """

    settings: Settings
    api: str
    hosts: Sequence[str]
    processes: Sequence[int]
    began: float
    ended: float
    phases: list[Phase]
    removed: list[float]
    failure: str = ""
    failed: Phase | None = None

    @property
    def tasks_per_host(self) -> int:
        """Of the host of rank 0, as IOR counts them."""
        return list(self.hosts).count(self.hosts[0])

    @property
    def errors(self) -> int:
        """Transfers that were read with other bytes than were written."""
        return sum(phase.errors for phase in self.phases)

    def of(self, access: str) -> list[Phase]:
        """The repetitions of an access."""
        return [phase for phase in self.phases if phase.access == access]
