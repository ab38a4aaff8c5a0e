"""What idle daemons cost: their share of a CPU core, for each engine.

`python -m benchfs.bench.idle --seconds 30` starts three nodes with one client connected that
does nothing, and reads how long each daemon was on a CPU meanwhile. Target: 1 % of a core each.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchfs.bench.processes import cpu_seconds, resident_bytes
from benchfs.client import AsyncClient
from benchfs.localcluster import LocalCluster
from benchfs.rpc.transports.choose import ENGINES, choose

NODES = 3
SECONDS = 30.0
SETTLE_SECONDS = 2.0  # what a start leaves to do is done by then
TARGET_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Idle:
    """One engine's idle daemons."""

    transport: str
    shares: tuple[float, ...]  # of a core, each daemon
    resident: tuple[int, ...]  # bytes, each daemon

    @property
    def good(self) -> bool:
        """Whether the busiest is below the target."""
        return max(self.shares) < TARGET_SHARE


async def measure(transport: str, seconds: float, settle: float = SETTLE_SECONDS) -> Idle:
    """Let a cluster with one connected client be idle for some seconds."""
    async with LocalCluster(NODES, settings={"transport": transport}) as cluster:
        pids = [node.pid for node in cluster.nodes]
        async with AsyncClient(cluster.url, transport=transport) as fs:
            await fs.status()  # connects to each node
            await asyncio.sleep(settle)
            before, started = [cpu_seconds(pid) for pid in pids], time.perf_counter()
            await asyncio.sleep(seconds)
            after, taken = [cpu_seconds(pid) for pid in pids], time.perf_counter() - started
            shares = tuple((b - a) / taken for a, b in zip(before, after, strict=True))
            return Idle(transport, shares, tuple(resident_bytes(pid) for pid in pids))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each engine and print; 1 if a daemon is over the target."""
    parser = argparse.ArgumentParser(prog="benchfs.bench.idle", description="Idle daemons.")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args(arguments)
    table = Table("engine", "share of a core, each daemon", "target", "MiB", box=None)
    good = True
    for name in ENGINES:
        if choose(name).summary != name:
            table.add_row(name, "cannot be used here", "", "")
            continue
        found = asyncio.run(measure(name, options.seconds))
        good = good and found.good
        shares = ", ".join(f"{share:.2%}" for share in found.shares)
        table.add_row(name, shares, f"{TARGET_SHARE:.0%}", f"{max(found.resident) / (1 << 20):.0f}")
    Console(highlight=False).print(table)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
