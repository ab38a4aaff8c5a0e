"""A recorded run: the machine, the versions, and of every round all samples; as JSON and back.

Medians are of the rounds that have the figure; ratios are taken within a round, since a machine
is not the same from minute to minute.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from benchfs.bench import floor
from benchfs.bench.peers.ranks import Sample
from benchfs.bench.peers.work import Row, Sizes

FORM = 1
DIGITS = 6
QUIET_SHARE = 0.1  # of the CPUs: what others may use before a round without disturbing it


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was, without names: what figures depend on."""

    processor: str
    cpus: int
    memory_gib: int
    kernel: str
    file_system: str
    is_virtual: bool


@dataclass(frozen=True, slots=True)
class Round:
    """`busy`: the share of CPUs that others used before it. Samples by system and row's title.

    `failures`: of systems, by name; what a system measured before it failed is kept.
    """

    busy: float
    floor: floor.Sample
    yardstick: dict[str, float]
    systems: dict[str, dict[str, Sample]]
    failures: dict[str, str]


class Spread(NamedTuple):
    """Over the rounds."""

    median: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Record:
    """A whole run. `asked`: how many rounds there were to be."""

    machine: Machine
    versions: dict[str, str]
    sizes: Sizes
    seconds: float
    asked: int
    rounds: tuple[Round, ...]

    @property
    def failures(self) -> list[str]:
        """What went wrong in which round, and whether the run was interrupted."""
        found = [
            f"round {number}: {name}: {why}"
            for number, one in enumerate(self.rounds, 1)
            for name, why in one.failures.items()
        ]
        if len(self.rounds) < self.asked:
            found.append(f"interrupted after {len(self.rounds)} of {self.asked} rounds")
        return found

    @property
    def disturbed(self) -> int:
        """How many rounds began while others used the machine."""
        return sum(one.busy > QUIET_SHARE for one in self.rounds)

    @property
    def systems(self) -> list[str]:
        """Those that have a figure."""
        found = dict.fromkeys(name for one in self.rounds for name in one.systems)
        return [name for name in found if any(one.systems.get(name) for one in self.rounds)]

    def rate(self, system: str, row: Row) -> float | None:
        """Median; None if it was never measured."""
        return _median([one.rate for one in self._samples(system, row)])

    def cpu_s(self, system: str, row: Row) -> float | None:
        """Median of the CPU seconds of each MiB or operation."""
        return _median([one.cpu_s for one in self._samples(system, row)])

    def ratio(self, row: Row, system: str, others: Sequence[str]) -> Spread | None:
        """To the best of others in the same round; None if no round has all of them."""

        def of_round(one: Round) -> float | None:
            found = [one.systems.get(name, {}).get(row.title) for name in (system, *others)]
            rates = [sample.rate for sample in found if sample is not None]
            return rates[0] / max(rates[1:]) if len(rates) == 1 + len(others) else None

        return self.spread(of_round)

    def ratio_to_floor(self, row: Row, system: str) -> Spread | None:
        """Of bandwidth to copying, of rates to pings apart (together, where there is one CPU)."""

        def of_round(one: Round) -> float | None:
            sample = one.systems.get(system, {}).get(row.title)
            pings = one.floor.pings_apart_s or one.floor.pings_together_s
            base = one.floor.copy_mib_s if row.is_bandwidth else pings
            return None if sample is None else sample.rate / base

        return self.spread(of_round)

    def spread(self, of_round: Callable[[Round], float | None]) -> Spread | None:
        """Of a figure over the rounds that have it."""
        found = [value for value in map(of_round, self.rounds) if value is not None]
        return Spread(statistics.median(found), min(found), max(found)) if found else None

    def _samples(self, system: str, row: Row) -> list[Sample]:
        found = [one.systems.get(system, {}).get(row.title) for one in self.rounds]
        return [sample for sample in found if sample is not None]


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def save(record: Record, path: Path) -> None:
    """Write it as JSON. OSError."""
    document = {"form": FORM, **asdict(record)}
    path.write_text(json.dumps(_rounded(document), indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Record:
    """Read what `save` has written. OSError, ValueError if it is something else."""
    document = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict) or document.get("form") != FORM:
        raise ValueError(f"{path} is no record of form {FORM}")
    return Record(
        Machine(**document["machine"]),
        document["versions"],
        Sizes(**document["sizes"]),
        document["seconds"],
        document["asked"],
        tuple(
            Round(
                one["busy"],
                floor.Sample(**one["floor"]),
                one["yardstick"],
                {
                    name: {title: Sample(**sample) for title, sample in samples.items()}
                    for name, samples in one["systems"].items()
                },
                one["failures"],
            )
            for one in document["rounds"]
        ),
    )


def _rounded(value: object) -> object:
    """The same with no more digits than a measurement has."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value
