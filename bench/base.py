"""The base figures, as ratios of the floor of the same run: `make bench`.

Three nodes with their data in memory, one client process, medians of 5, floor and figures in
turn. Exit status 0 whatever comes out: this measures, it does not judge.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from benchfs.bench.floor import REPEATS, default_directory
from benchfs.bench.floor import sample as floor_sample
from benchfs.client import AsyncClient
from benchfs.localcluster import LocalCluster

FILE_BYTES = 256 << 20
TRANSFER_BYTES = 1 << 20
TASKS = 32
OPERATIONS = 8000

COPY, PING = "copy", "ping"
# figure: what it is held against, and what it should reach
TARGETS = {
    "write 1 MiB": (COPY, 0.5),
    "read 1 MiB": (COPY, 0.6),
    "read 1 MiB, local reads": (COPY, 1.5),
    "read 4 KiB at random, 32 tasks": (PING, 0.35),
    "stat, 32 tasks": (PING, 0.35),
    "create + close, 32 tasks": (PING, 0.12),
}
Samples = dict[str, list[float]]


async def round_of_figures(url: str, samples: Samples, number: int) -> None:
    """Take every figure once."""
    data = os.urandom(TRANSFER_BYTES)
    path = f"/data-{number}"
    async with AsyncClient(url, local_reads=False) as fs:
        started = time.perf_counter()
        async with await fs.open(path, "wb") as file:
            for _ in range(FILE_BYTES // TRANSFER_BYTES):
                await file.write(data)
        samples["write 1 MiB"].append(_mib_s(started))
    for name, local in (("read 1 MiB", False), ("read 1 MiB, local reads", True)):
        async with AsyncClient(url, local_reads=local) as fs:
            buffer = bytearray(TRANSFER_BYTES)
            started = time.perf_counter()
            async with await fs.open(path) as file:
                while await file.readinto(buffer):
                    pass
            samples[name].append(_mib_s(started))
            if buffer != data:
                raise ValueError(f"{path} was not read as it was written")
    async with AsyncClient(url, local_reads=False) as fs:
        async with await fs.open(path) as file:
            rng = random.Random(number)

            async def read(_: int) -> None:
                await file.pread(4096, rng.randrange(FILE_BYTES - 4096))

            samples["read 4 KiB at random, 32 tasks"].append(await _rate(read))
        directory = f"/many-{number}"
        await fs.mkdir(directory)

        async def create(index: int) -> None:
            await (await fs.open(f"{directory}/{index}", "xb")).close()

        async def stat(index: int) -> None:
            await fs.stat(f"{directory}/{index}")

        samples["create + close, 32 tasks"].append(await _rate(create))
        samples["stat, 32 tasks"].append(await _rate(stat))
        await fs.rmtree("/")


def _mib_s(started: float) -> float:
    return FILE_BYTES / (1 << 20) / (time.perf_counter() - started)


async def _rate(act: Callable[[int], Awaitable[None]]) -> float:
    """Operations a second of TASKS tasks that share OPERATIONS of them."""
    numbers = iter(range(OPERATIONS))

    async def work() -> None:
        for number in numbers:
            await act(number)

    started = time.perf_counter()
    await asyncio.gather(*[work() for _ in range(TASKS)])
    return OPERATIONS / (time.perf_counter() - started)


def measure(repeats: int = REPEATS) -> tuple[Samples, Samples]:
    """Samples of the figures and of the floor, taken in turn."""
    samples: Samples = {name: [] for name in TARGETS}
    floor: Samples = {COPY: [], PING: []}
    with tempfile.TemporaryDirectory(dir=default_directory()) as name:
        place = Path(name)
        with LocalCluster(nodes=3, data=place / "data") as cluster:
            for number in range(repeats):
                found = floor_sample(place)
                floor[COPY].append(found.copy_mib_s)
                floor[PING].append(found.pings_together_s)
                uvloop.run(round_of_figures(cluster.url, samples, number))
    return samples, floor


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    arguments = parser.parse_args()
    samples, floor = measure(arguments.repeats)
    medians = {name: statistics.median(values) for name, values in floor.items()}
    table = Table("figure", "median", "ratio to floor", "target", "", box=None)
    rows = {}
    for name, values in samples.items():
        against, target = TARGETS[name]
        ratios = [value / base for value, base in zip(values, floor[against], strict=True)]
        ratio = statistics.median(ratios)
        unit = "MiB/s" if against == COPY else "/s"
        rows[name] = {"samples": values, "ratio": ratio, "target": target, "floor": against}
        table.add_row(
            name,
            f"{statistics.median(values):.0f} {unit}",
            f"{ratio:.2f}",
            f"{target:.2f}",
            "reached" if ratio >= target else "[bold]not reached[/]",
        )
    if arguments.json:
        json.dump({"floor": floor, "figures": rows}, sys.stdout, indent=2)
        return
    console = Console(highlight=False)
    console.print(
        f"floor: copy {medians[COPY]:.0f} MiB/s, 4 KiB ping-pong {medians[PING]:.0f} /s "
        f"(medians of {arguments.repeats})"
    )
    console.print(table)


if __name__ == "__main__":
    main()
