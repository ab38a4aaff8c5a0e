"""IO500's score and its rules: pure arithmetic over the phases' results.

score = sqrt(bandwidth x metadata), each the geometric mean of its phases, in GiB/s and in
thousands of operations a second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchfs.bench.detail import Json
from benchfs.bench.io500.settings import RULES_SECONDS

GIB_S, KIOPS = "GiB/s", "kIOPS"
WRITES = ("ior-easy-write", "mdtest-easy-write", "ior-hard-write", "mdtest-hard-write")
TIMESTAMP = "timestamp"
# The twelve that count, and the timestamp between them, in IO500's order.
PHASES = (
    "ior-easy-write",
    "mdtest-easy-write",
    TIMESTAMP,
    "ior-hard-write",
    "mdtest-hard-write",
    "find",
    "ior-easy-read",
    "mdtest-easy-stat",
    "ior-hard-read",
    "mdtest-hard-stat",
    "mdtest-easy-delete",
    "mdtest-hard-read",
    "mdtest-hard-delete",
)
SCORED = tuple(name for name in PHASES if name != TIMESTAMP)


@dataclass(frozen=True, slots=True)
class Result:
    """A phase: its score in its unit, how long it took, and what makes it invalid, if anything."""

    name: str
    score: float
    seconds: float
    errors: int
    detail: dict[str, Json] | None

    @property
    def unit(self) -> str:
        """GiB/s for phases of IOR, kIOPS for all others."""
        return GIB_S if self.name.startswith("ior") else KIOPS

    @property
    def invalid(self) -> str:
        """Why the rules do not accept it; empty if they do."""
        if self.name == TIMESTAMP:
            return ""
        if self.name in WRITES and self.seconds < RULES_SECONDS:
            return f"writing took {self.seconds:.1f} s, the rules want {RULES_SECONDS}"
        if self.errors:
            return f"{self.errors} reads returned other bytes than were written"
        return "" if self.score > 0 else "there is no score"


@dataclass(frozen=True, slots=True)
class Score:
    """Of a whole run. `bandwidth` in GiB/s, `metadata` in kIOPS."""

    bandwidth: float
    metadata: float

    @property
    def total(self) -> float:
        """The score."""
        return math.sqrt(self.bandwidth * self.metadata)


def score(results: Sequence[Result]) -> Score:
    """The score of a complete run. ValueError if a phase is missing or has none."""
    found = {result.name: result.score for result in results}
    missing = [name for name in SCORED if found.get(name, 0) <= 0]
    if missing:
        raise ValueError(f"there is no score without {', '.join(missing)}")
    bandwidth = [found[name] for name in SCORED if name.startswith("ior")]
    metadata = [found[name] for name in SCORED if not name.startswith("ior")]
    return Score(_geometric_mean(bandwidth), _geometric_mean(metadata))


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(math.fsum(map(math.log, values)) / len(values))
