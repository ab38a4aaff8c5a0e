"""A cluster of any size inside this process, for counting what its operations cost.

Real: the wire format and the handshake, connections and pools, the server, all handlers of
`benchfsd.services` over an LMDB environment and chunk files for each node, the planner of groups,
and the clients with their caches. The nodes are on hosts of their own, as the planner sees it.

Not real: time is virtual and computing takes none of it, links are memory with a fixed delay, all
nodes share one cluster map that is complete from the start, so no node reads the registry, and
nothing is flushed to a disk. Of a daemon's background work only what a request begins is there, and
the watch over leases.
"""

from __future__ import annotations

import asyncio
import os
import resource
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchfs.bench.simulate.clock import LoopClock
from benchfs.bench.simulate.node import SECRET, USER, SimulatedNode, engines_of
from benchfs.bench.simulate.traffic import Traffic
from benchfs.client import AsyncClient
from benchfs.clustermap import ClusterMap, GroupEntry, NodeEntry
from benchfs.clusterspec import ClusterSpec, encode_node
from benchfs.env import Env, SeededRng
from benchfs.instance import Endpoints
from benchfs.placement import NodeSpec, group_count_for, plan
from benchfs.rpc.messages import Op
from benchfs.rpc.transports.memory import Faults, MemoryNetwork
from benchfsd.mode import Mode

CHUNK_BYTES = 64 * 1024
ONE_WAY_SECONDS = 50e-6
DESCRIPTORS_A_NODE = 8  # three for its rows and chunks, the others for chunk files
ADDRESSES = 8  # that a client is given, as people do


class SimulatedCluster:
    """Nodes, their network, and a way to make clients. Made by `simulated`."""

    def __init__(self, count: int, seed: int, mode: Mode = Mode.VOLATILE) -> None:
        self.network = MemoryNetwork(seed, Faults(ONE_WAY_SECONDS, ONE_WAY_SECONDS))
        self.traffic = Traffic(self.network)
        self.nodes: list[SimulatedNode] = []
        self._rng = SeededRng(seed)
        self.client_names: list[str] = []
        names = [f"node-{number}" for number in range(count)]
        self._entries = [NodeEntry(name, f"host-{name}", (f"mem://{name}",), 1) for name in names]
        specs = [NodeSpec(entry.node_id, entry.host) for entry in self._entries]
        table = plan(group_count_for(count), specs)
        self.spec = ClusterSpec("simulated", "simulated", mode, CHUNK_BYTES, table)
        self.map = ClusterMap(
            self._entries, (GroupEntry(number, 1, nodes) for number, nodes in enumerate(table))
        )

    async def start(self, place: Path) -> None:
        """Start all nodes, with their data below `place`."""
        for entry in self._entries:
            rng = self._derived_rng()
            node = SimulatedNode(
                entry, self.spec, self.map, place / entry.node_id, rng, self.network
            )
            self.nodes.append(node)
            await node.start()

    async def stop(self) -> None:
        """Stop all nodes."""
        for node in self.nodes:
            await node.stop()

    @asynccontextmanager
    async def client(
        self, attribute_seconds: float, timeout: float | None = None
    ) -> AsyncIterator[AsyncClient]:
        """A client that is connected, of a host without a node. `timeout`: None for the default."""
        rng = self._derived_rng()
        name = f"client-{len(self.client_names)}"
        self.client_names.append(name)
        addresses = tuple(entry.addresses[0] for entry in self._entries[:ADDRESSES])
        client = AsyncClient(
            attribute_seconds=attribute_seconds,
            local_reads=False,
            timeout=timeout,
            env=Env(LoopClock(asyncio.get_running_loop()), rng),
            user=USER,
            engines=engines_of(self.network, name),
            endpoints=Endpoints(addresses, SECRET, "simulated"),
        )
        async with client:
            yield client

    def registry_bytes(self) -> int:
        """Of all values that the registry of such a cluster holds."""
        return len(self.spec.encode()) + sum(len(encode_node(entry)) for entry in self._entries)

    def requests(self) -> Counter[str]:
        """Requests so far of all nodes together, by operation."""
        total: Counter[int] = Counter()
        for node in self.nodes:
            total.update({number: many for number, many in node.node.requests.items() if many})
        return Counter({Op(number).name.lower(): many for number, many in total.items()})

    def requests_by_node(self) -> list[int]:
        """Requests so far of each node."""
        return [sum(node.node.requests.values()) for node in self.nodes]

    def _derived_rng(self) -> SeededRng:
        return SeededRng(int.from_bytes(self._rng.token_bytes(8), "big"))


@asynccontextmanager
async def simulated(count: int, place: Path, seed: int) -> AsyncIterator[SimulatedCluster]:
    """A cluster of `count` nodes with data below `place`. OSError if descriptors are too few."""
    _allow_descriptors(count * DESCRIPTORS_A_NODE)
    cluster = SimulatedCluster(count, seed)
    try:
        await cluster.start(place)
        yield cluster
    finally:
        await cluster.stop()


def _allow_descriptors(wanted: int) -> None:
    """Raise this process's own limit, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted += len(os.listdir("/proc/self/fd")) + 64
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise OSError(f"{wanted} descriptors are needed, and this process may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
