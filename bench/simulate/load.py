"""How a load spreads over the nodes of a simulated cluster.

Some clients make, look at and remove files at a given rate, all together, in one of three places:
directories of their own, some for each node; one directory; one wide directory. A request of the
load is one that reached a node while it was on, whoever sent it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from benchfs.bench.simulate.cluster import SimulatedCluster
from benchfs.client import AsyncClient

KNOWN_SECONDS = 1.0  # the default of clients
STEPS = 3  # create, stat, unlink


@dataclass(frozen=True, slots=True)
class Offered:
    """`operations` of `clients`, `per_second` all together; `directories` of their own a node."""

    clients: int = 16
    operations: int = 6000
    per_second: float = 10_000.0
    directories: int = 4

    def __post_init__(self) -> None:
        if min(self.clients, self.operations, self.directories) < 1 or self.per_second <= 0:
            raise ValueError("there must be a client, an operation, a rate and a directory")


@dataclass(frozen=True, slots=True)
class Balance:
    """What the nodes got. `busiest` and `mean` are requests per second of one node."""

    requests: float  # an operation, what clients ask to find its directory included
    mean: float
    busiest: float
    idle_nodes: int  # that got no request
    connections_of_a_client: float
    connections_of_a_node: float  # of clients, and of other nodes either way
    most_connections_of_a_node: int

    @property
    def imbalance(self) -> float:
        """The busiest node's share of the mean; 1 is even."""
        return self.busiest / self.mean


async def balances(cluster: SimulatedCluster, offered: Offered) -> dict[str, Balance]:
    """The same load in each of the places, one after the other."""
    async with cluster.client(KNOWN_SECONDS) as fs:
        own = [f"/own{number}" for number in range(offered.directories * len(cluster.nodes))]
        for path in own:
            await fs.mkdir(path)
        await fs.mkdir("/shared")
        await fs.mkdir("/spread", wide=True)
    return {
        "own directories": await _balance(cluster, offered, lambda i: own[i % len(own)]),
        "one directory": await _balance(cluster, offered, lambda _: "/shared"),
        "one wide directory": await _balance(cluster, offered, lambda _: "/spread"),
    }


async def _balance(
    cluster: SimulatedCluster, offered: Offered, place: Callable[[int], str]
) -> Balance:
    loop = asyncio.get_running_loop()
    files = max(1, offered.operations // STEPS)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(cluster.client(KNOWN_SECONDS))
            for _ in range(offered.clients)
        ]
        before, began = cluster.requests_by_node(), loop.time()
        async with asyncio.TaskGroup() as tasks:
            for number in range(files):
                tasks.create_task(
                    _one_file(
                        clients[number % len(clients)],
                        f"{place(number)}/{number}",
                        began + number * STEPS / offered.per_second,
                    )
                )
        seconds = loop.time() - began
        after = cluster.requests_by_node()
        connections = cluster.traffic.connections_by_name()
        per_client = [connections[name] for name in cluster.client_names]
        per_node = [connections[node.node.node_id] for node in cluster.nodes]
    counts = [now - then for now, then in zip(after, before, strict=True)]
    return Balance(
        requests=sum(counts) / (files * STEPS),
        mean=sum(counts) / len(counts) / seconds,
        busiest=max(counts) / seconds,
        idle_nodes=counts.count(0),
        connections_of_a_client=sum(per_client) / offered.clients,
        connections_of_a_node=sum(per_node) / len(per_node),
        most_connections_of_a_node=max(per_node),
    )


async def _one_file(fs: AsyncClient, path: str, when: float) -> None:
    """Its three operations, from loop time `when` on."""
    await asyncio.sleep(max(0.0, when - asyncio.get_running_loop().time()))
    await (await fs.open(path, "xb")).close()
    await fs.stat(path)
    await fs.unlink(path)
