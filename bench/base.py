"""The base figures, as ratios of the floor of the same minute: `make bench`.

Three nodes with their data in memory, one client process. Every round takes the floor, then every
figure, and divides; the table shows medians of the rounds. Exit status 0 whatever comes out: this
measures, it does not judge.

Rates are held against the ping-pong, which depends on where its two processes run: see floor.py.
The targets were set with a floor of about 35,000 pings a second. That is what pings *apart* reach
on two cores of a quiet virtual machine (32,000 to 37,000; 10,000 to 28,000 when others use it),
while pings *together* reach 75,000 there, disturbed or not. Both ratios are shown; the verdict is
by the stricter, and says so where only the ratio to pings apart reaches the target.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from benchfs.bench import md
from benchfs.bench.floor import (
    REPEATS,
    Floor,
    Sample,
    busy_share,
    default_directory,
    sample,
    summary,
)
from benchfs.client import AsyncClient
from benchfs.localcluster import LocalCluster

TRANSFER_BYTES = 1 << 20
TASKS = 32
WRITE = "write 1 MiB"
READ = "read 1 MiB"
LOCAL_READ = "read 1 MiB, local"
# What each should reach, as a ratio of the copy or of the ping-pong.
TARGETS = {
    WRITE: 0.5,
    READ: 0.6,
    LOCAL_READ: 1.5,
    md.RANDOM_READ: 0.35,
    md.STAT: 0.35,
    md.CREATE: 0.12,
}
COPIES = (WRITE, READ, LOCAL_READ)
# A machine that is busier than this before a round, with nothing asked of it, disturbs the round.
QUIET_SHARE = 0.1
SETTLE_SECONDS = 3.0  # for what the round before left the nodes to do


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of one round: bytes of the files, operations of each rate."""

    file_bytes: int = 256 << 20
    operations: int = 8000


@dataclass(frozen=True, slots=True)
class Figure:
    """A row: medians of the speed and of its ratios, in `unit` the first.

    `ratio` is to the copy or to pings together, `apart` to pings apart (None where that is not
    what it is held against). `target` is None for a figure that has none.
    """

    name: str
    unit: str
    median: float
    ratio: float
    apart: float | None
    target: float | None
    samples: tuple[float, ...]

    @property
    def verdict(self) -> str:
        """Whether the target is reached, and against which floor."""
        if self.target is None:
            return ""
        if self.ratio >= self.target:
            return "reached"
        if self.apart is not None and self.apart >= self.target:
            return "apart only"
        return "not reached"


async def one_round(url: str, sizes: Sizes) -> dict[str, float]:
    """Take every figure once; MiB/s and operations a second."""
    found = {}
    data = os.urandom(TRANSFER_BYTES)
    path = f"/base-{os.urandom(4).hex()}"
    async with AsyncClient(url, local_reads=False) as fs:
        started = time.perf_counter()
        async with await fs.open(path, "xb") as file:
            for _ in range(sizes.file_bytes // TRANSFER_BYTES):
                await file.write(data)
        found[WRITE] = _mib_s(sizes.file_bytes, started)
    for name, local in ((READ, False), (LOCAL_READ, True)):
        found[name] = await _read(url, path, data, sizes.file_bytes, local=local)
    async with AsyncClient(url) as fs:
        await fs.unlink(path)
    settings = md.Settings(sizes.operations, TASKS, sizes.file_bytes)
    wanted = {md.CREATE, md.STAT, md.UNLINK, md.STORE, md.LOAD, md.RANDOM_READ}
    rates = await md.run(url, settings)
    found |= {rate.name: rate.per_s for rate in rates if rate.name in wanted}
    return found


async def _read(url: str, path: str, data: bytes, size: int, *, local: bool) -> float:
    """Read from start to end with a client that has cached nothing."""
    async with AsyncClient(url, local_reads=local) as fs:
        buffer = bytearray(TRANSFER_BYTES)
        got = 0
        started = time.perf_counter()
        async with await fs.open(path) as file:
            while count := await file.readinto(buffer):
                got += count
        speed = _mib_s(size, started)
        if got != size or buffer != data:
            raise OSError(f"{path} was not read as it was written")
        return speed


def _mib_s(size: int, started: float) -> float:
    return size / (1 << 20) / (time.perf_counter() - started)


@dataclass(frozen=True, slots=True)
class Measured:
    """All of a run. `busy`: the share of the CPUs that others used before each round, 0 to 1."""

    floor: Floor
    figures: list[Figure]
    busy: list[float]

    @property
    def disturbed(self) -> int:
        """How many rounds began while the machine had other things to do."""
        return sum(share > QUIET_SHARE for share in self.busy)


def measure(repeats: int, sizes: Sizes) -> Measured:
    """The floor and every figure, `repeats` times in turn."""
    floors, rounds, busy = [], [], []
    with tempfile.TemporaryDirectory(dir=default_directory()) as name:
        place = Path(name)
        with LocalCluster(nodes=3, data=place / "data") as cluster:
            for _ in range(repeats):
                busy.append(settle())
                floors.append(sample(place))
                rounds.append(uvloop.run(one_round(cluster.url, sizes)))
    return Measured(summary(floors), figures(floors, rounds), busy)


def settle() -> float:
    """Wait until the machine is quiet, a few seconds at most; the share of it that is used then."""
    give_up_at = time.monotonic() + SETTLE_SECONDS
    while (share := busy_share()) > QUIET_SHARE and time.monotonic() < give_up_at:
        pass
    return share


def figures(floors: Sequence[Sample], rounds: Sequence[dict[str, float]]) -> list[Figure]:
    """Medians over the rounds, of the speeds and of each round's own ratios."""
    names = [*TARGETS, *(name for name in rounds[0] if name not in TARGETS)]
    return [_figure(name, floors, [one[name] for one in rounds]) for name in names]


def _figure(name: str, floors: Sequence[Sample], speeds: list[float]) -> Figure:
    copied = name in COPIES
    bases = [one.copy_mib_s if copied else one.pings_together_s for one in floors]
    apart = [
        speed / one.pings_apart_s
        for speed, one in zip(speeds, floors, strict=True)
        if one.pings_apart_s is not None and not copied
    ]
    return Figure(
        name,
        "MiB/s" if copied else "/s",
        statistics.median(speeds),
        statistics.median(speed / base for speed, base in zip(speeds, bases, strict=True)),
        statistics.median(apart) if apart else None,
        TARGETS.get(name),
        tuple(speeds),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", metavar="FILE", help="also write all samples there; - is stdout")
    parser.add_argument(
        "--repeats", type=int, default=REPEATS, help=f"rounds, {REPEATS} unless set"
    )
    parser.add_argument("--operations", type=int, default=Sizes().operations, help="of each rate")
    arguments = parser.parse_args()
    if arguments.repeats < 1 or arguments.operations < 1:
        parser.error("there must be one round of one operation at least")
    measured = measure(arguments.repeats, Sizes(operations=arguments.operations))
    document = {
        "floor": asdict(measured.floor),
        "busy": measured.busy,
        "figures": [asdict(figure) | {"verdict": figure.verdict} for figure in measured.figures],
    }
    if arguments.json == "-":
        json.dump(document, sys.stdout, indent=2)
        return
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(document, indent=2) + "\n")
    show(measured)


def show(measured: Measured) -> None:
    """The floor in a line, the figures in a table, and whether the machine was quiet."""
    floor = measured.floor
    apart = "not measured" if floor.pings_apart_s is None else f"{floor.pings_apart_s:,.0f} /s"
    console = Console(highlight=False)
    console.print(
        f"floor (medians of {len(floor.samples)}): copy {floor.copy_mib_s:,.0f} MiB/s, 4 KiB "
        f"pings together {floor.pings_together_s:,.0f} /s, apart {apart}"
    )
    console.print(
        f"medians of the figures (rates: {TASKS} tasks), and of their ratios to the floor:"
    )
    titles = ("figure", "median", "to copy", "together", "apart", "target", "verdict")
    table = Table(*titles, box=None, pad_edge=False)
    for column in table.columns[1:6]:
        column.justify = "right"
    for one in measured.figures:
        table.add_row(
            one.name,
            f"{one.median:,.0f} {one.unit}",
            f"{one.ratio:.2f}" if one.name in COPIES else "",
            "" if one.name in COPIES else f"{one.ratio:.2f}",
            "" if one.apart is None else f"{one.apart:.2f}",
            "" if one.target is None else f"{one.target:.2f}",
            one.verdict,
        )
    console.print(table)
    if measured.disturbed:
        console.print(
            f"{measured.disturbed} of {len(measured.busy)} rounds began on a busy machine: "
            "measure again when it is quiet"
        )


if __name__ == "__main__":
    main()
