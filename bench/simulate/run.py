"""The planned load of larger clusters: simulations of several sizes, and what grows with them."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchfs.bench.processes import resident_bytes
from benchfs.bench.simulate import clock
from benchfs.bench.simulate.cluster import ONE_WAY_SECONDS, SimulatedCluster, simulated
from benchfs.bench.simulate.costs import OPERATIONS, Cost, costs
from benchfs.bench.simulate.load import Balance, Offered, balances

MOST_NODES = 4096


@dataclass(frozen=True, slots=True)
class Size:
    """A cluster's figures."""

    nodes: int
    groups: int
    most_groups_of_a_node: int
    registry_bytes: int
    connect_bytes: int  # a client's first connection, and the map that it gets
    connect_round_trips: float
    resident_bytes_of_a_node: int  # of this process, while nothing was stored
    costs: dict[str, Cost]
    balances: dict[str, Balance]
    seconds: float  # real ones, that the simulation took


def parse_sizes(text: str) -> list[int]:
    """3,10,100 as numbers. ValueError."""
    parts = text.split(",")
    if not all(part.strip().isdigit() and 1 <= int(part) <= MOST_NODES for part in parts):
        raise ValueError(f"--simulate {text!r}: numbers from 1 to {MOST_NODES}, commas between")
    return [int(part) for part in parts]


def simulate(sizes: Sequence[int], offered: Offered, place: Path, seed: int) -> Iterator[Size]:
    """Size by size, as they come; the nodes' data goes below `place`.

    The same seed gives the same figures, but for those of this machine. OSError if a cluster
    needs more descriptors or space than there are.
    """
    for count in sizes:
        directory = place / f"nodes-{count}"
        directory.mkdir()
        yield clock.run(_size(count, offered, directory, seed))


async def _size(count: int, offered: Offered, place: Path, seed: int) -> Size:
    began, resident = time.monotonic(), _resident()
    frozen = gc.get_freeze_count() > 0
    async with simulated(count, place, seed) as cluster:
        each = (_resident() - resident) // count
        connect_bytes, round_trips = await _connect(cluster)
        gc.freeze()  # what is there stays there: collections need not look at it
        led = [len(cluster.map.groups_led_by(node.node_id)) for node in cluster.map.nodes]
        found_costs = await costs(cluster)
        found_balances = await balances(cluster, offered)
    gc.unfreeze()
    if frozen:  # by whoever calls this, and it stays so: but the cluster goes
        gc.collect()
        gc.freeze()
    return Size(
        count, cluster.map.group_count, max(led), cluster.registry_bytes(), connect_bytes,
        round_trips, each, found_costs, found_balances, time.monotonic() - began,
    )  # fmt: skip


async def _connect(cluster: SimulatedCluster) -> tuple[int, float]:
    loop, before = asyncio.get_running_loop(), cluster.traffic.bytes
    began = loop.time()
    async with cluster.client(1.0):
        seconds = loop.time() - began
        carried = cluster.traffic.bytes.since(before)
    return carried.handshakes + carried.calls, seconds / (2 * ONE_WAY_SECONDS)


def _resident() -> int:
    gc.collect()
    return resident_bytes(os.getpid())


def beyond(sizes: Sequence[Size]) -> list[str]:
    """What needs more requests than it may, whatever the number of nodes: a line each."""
    return [
        f"{operation.name} at {size.nodes} nodes: {cost.most_requests} requests, "
        f"not {operation.most} at the most"
        for operation in OPERATIONS
        for size in sizes
        if operation.most is not None
        and (cost := size.costs[operation.name]).most_requests > operation.most
    ]
