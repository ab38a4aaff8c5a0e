"""Two runs side by side: for each phase the ratio of B to A, and how far it may be trusted.

The ratio is that of the means over repetitions. Its spread goes from the worst of B against the
best of A to the best of B against the worst of A: if that includes 1, the runs do not differ.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Samples:
    """One kind of phase over all its repetitions."""

    name: str
    unit: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A phase in both runs. `least` and `most` bound the spread."""

    name: str
    unit: str
    first: float
    second: float
    ratio: float
    least: float
    most: float
    repetitions: tuple[int, int]

    @property
    def differs(self) -> bool:
        """Whether all of B is on one side of all of A. One repetition each cannot tell."""
        return min(self.repetitions) > 1 and not self.least <= 1 <= self.most


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ratios, and the phases that only one of the runs has."""

    ratios: list[Ratio]
    only_first: list[str]
    only_second: list[str]


def compare(first: Sequence[Samples], second: Sequence[Samples]) -> Comparison:
    """B's figures as ratios of A's, phase by phase. ValueError if no phase is in both."""
    theirs = {(one.name, one.unit): one for one in second}
    ours = {(one.name, one.unit): one for one in first}
    ratios = [
        _ratio(one, theirs[key]) for key, one in ours.items() if key in theirs and all(one.values)
    ]
    if not ratios:
        raise ValueError("the runs have no phase in common")
    return Comparison(
        ratios,
        [name for name, unit in ours if (name, unit) not in theirs],
        [name for name, unit in theirs if (name, unit) not in ours],
    )


def _ratio(first: Samples, second: Samples) -> Ratio:
    before, after = statistics.mean(first.values), statistics.mean(second.values)
    return Ratio(
        first.name,
        first.unit,
        before,
        after,
        after / before,
        min(second.values) / max(first.values),
        max(second.values) / min(first.values),
        (len(first.values), len(second.values)),
    )
