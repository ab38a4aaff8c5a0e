"""What a phase records while it runs: how long each operation took, and what moved when.

Both are bounded however long the phase is, and can be added up over ranks. Recording one
operation takes half a microsecond.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

STEPS_PER_OCTAVE = 8  # a bucket's bounds are 9 % apart
SHORTEST_SECONDS = 1e-9
MOST_SLOTS = 400
FIRST_SLOT_SECONDS = 0.05


class Latencies:
    """Durations, in buckets that grow by a constant factor."""

    __slots__ = ("buckets",)

    def __init__(self) -> None:
        self.buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Record one operation."""
        self.buckets[math.floor(math.log2(max(seconds, SHORTEST_SECONDS)) * STEPS_PER_OCTAVE)] += 1

    @property
    def count(self) -> int:
        """How many operations there were."""
        return self.buckets.total()

    def quantile(self, share: float) -> float:
        """Seconds within which `share` of the operations were done, to a bucket's upper bound.

        ValueError if there were none.
        """
        if not self.buckets:
            raise ValueError("no operation was recorded")
        wanted = share * self.count
        passed = 0
        bucket = 0
        for bucket in sorted(self.buckets):
            passed += self.buckets[bucket]
            if passed >= wanted:
                break
        return float(2 ** ((bucket + 1) / STEPS_PER_OCTAVE))

    @classmethod
    def sum(cls, parts: Iterable[Latencies]) -> Latencies:
        """Those of several ranks."""
        total = cls()
        for part in parts:
            total.buckets.update(part.buckets)
        return total


class Timeline:
    """Amounts by slots of time; the slots get wider when there would be too many."""

    __slots__ = ("slot_seconds", "slots")

    def __init__(self) -> None:
        self.slot_seconds = FIRST_SLOT_SECONDS
        self.slots = [0.0]

    def add(self, at: float, amount: float) -> None:
        """`amount` was done at `at` seconds after the phase began."""
        slot = int(at / self.slot_seconds)
        while slot >= MOST_SLOTS:
            self._widen()
            slot = int(at / self.slot_seconds)
        if slot >= len(self.slots):
            self.slots.extend([0.0] * (slot + 1 - len(self.slots)))
        self.slots[slot] += amount

    def _widen(self) -> None:
        pairs = [*self.slots, 0.0][: len(self.slots) + len(self.slots) % 2]
        self.slots = [a + b for a, b in zip(pairs[::2], pairs[1::2], strict=True)]
        self.slot_seconds *= 2

    def rates(self) -> list[tuple[float, float]]:
        """The middle of each slot, in seconds, and the amount a second in it."""
        width = self.slot_seconds
        return [((i + 0.5) * width, amount / width) for i, amount in enumerate(self.slots)]

    @classmethod
    def sum(cls, parts: Iterable[Timeline]) -> Timeline:
        """Those of several ranks, which began together."""
        parts = list(parts)
        total = cls()
        widest = max((part.slot_seconds for part in parts), default=FIRST_SLOT_SECONDS)
        while total.slot_seconds < widest:
            total._widen()
        for part in parts:
            for middle, rate in part.rates():
                total.add(middle, rate * part.slot_seconds)
        return total
