"""What a run of mdtest found: phases, each the sum of its ranks' parts, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchfs.bench.mdtest import phase as phases
from benchfs.bench.mdtest.phase import Part
from benchfs.bench.mdtest.settings import Settings
from benchfs.bench.outcome import RanksPhase, RunOutcome

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
class Phase(RanksPhase[Part]):
    """One operation of one iteration, all ranks: `seconds` are those of the slowest."""

    operation: str

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
    def stonewall_seconds(self) -> float | None:
        """When the last rank was stopped by the deadline; None if none was."""
        return max((part.stonewall[0] for part in self.parts if part.stonewall), default=None)


@dataclass(slots=True)
class Outcome(RunOutcome[Settings, Phase]):
    """A whole run of mdtest. `items`: how many each rank has made."""

    items: int = field(default=0, kw_only=True)

    @property
    def rows(self) -> Sequence[str]:
        """The operations that mdtest's table shows for these settings."""
        directories = () if self.settings.files_only else DIRECTORY_ROWS
        files = () if self.settings.directories_only else FILE_ROWS
        return (*directories, *files, *TREE_ROWS)

    def rates(self, operation: str) -> list[float]:
        """Of each iteration in which it was measured."""
        return [phase.rate for phase in self.phases if phase.operation == operation]
