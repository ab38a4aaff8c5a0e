"""What a run of mdtest found: phases, each the sum of its ranks' parts, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchfs.bench.backends.base import Counters, NodeFigures
from benchfs.bench.mdtest import phase as phases
from benchfs.bench.mdtest.phase import Part
from benchfs.bench.mdtest.settings import Settings
from benchfs.bench.samples import Latencies, Timeline

# mdtest's table has these, in this order.
DIRECTORY_ROWS = (
    phases.DIRECTORY_CREATION,
    phases.DIRECTORY_STAT,
    phases.DIRECTORY_RENAME,
    phases.DIRECTORY_REMOVAL,
)
FILE_ROWS = (phases.FILE_CREATION, phases.FILE_STAT, phases.FILE_READ, phases.FILE_REMOVAL)
TREE_ROWS = (phases.TREE_CREATION, phases.TREE_REMOVAL)


@dataclass(frozen=True, slots=True)
class Phase:
    """One operation of one iteration, all ranks: `seconds` are those of the slowest."""

    operation: str
    iteration: int
    parts: Sequence[Part]
    nodes: Sequence[tuple[NodeFigures, NodeFigures]]

    @property
    def items(self) -> int:
        """Operations of all ranks."""
        return sum(part.items for part in self.parts)

    @property
    def seconds(self) -> float:
        """From the barrier to the end of the last rank's work."""
        return max(part.seconds for part in self.parts)

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.items / self.seconds

    @property
    def errors(self) -> int:
        """Files that were read with other bytes than were written."""
        return sum(part.errors for part in self.parts)

    @property
    def stonewall_seconds(self) -> float | None:
        """When the last rank was stopped by the deadline; None if none was."""
        return max((part.stonewall[0] for part in self.parts if part.stonewall), default=None)

    @property
    def latencies(self) -> Latencies:
        """Of all ranks."""
        return Latencies.sum(part.latencies for part in self.parts)

    @property
    def timeline(self) -> Timeline:
        """Operations of all ranks."""
        return Timeline.sum(part.timeline for part in self.parts)

    @property
    def counters(self) -> Counters:
        """Sums over the clients."""
        return Counters.sum([part.counters for part in self.parts])


@dataclass(slots=True)
class Outcome:
    """A whole run, as far as it came. `hosts`: each rank's machine, `processes` its process.

    `items`: how many each rank has made. `failure`: why there is not more, `failed` what the
    ranks had done of that phase.
    """

    settings: Settings
    api: str
    hosts: Sequence[str]
    processes: Sequence[int]
    began: float
    ended: float
    phases: list[Phase]
    items: int = 0
    failure: str = ""
    failed: Phase | None = None

    @property
    def errors(self) -> int:
        """Files that were read with other bytes than were written."""
        return sum(phase.errors for phase in self.phases)

    @property
    def rows(self) -> Sequence[str]:
        """The operations that mdtest's table shows for these settings."""
        directories = () if self.settings.files_only else DIRECTORY_ROWS
        files = () if self.settings.directories_only else FILE_ROWS
        return (*directories, *files, *TREE_ROWS)

    def rates(self, operation: str) -> list[float]:
        """Of each iteration in which it was measured."""
        return [phase.rate for phase in self.phases if phase.operation == operation]
