"""A cluster of any size inside this process, for counting what its operations cost.

Real: the wire format and the handshake, connections and pools, the server, all handlers of
`benchfsd.services` over an LMDB environment and chunk files for each node, the planner of groups,
and the clients with their caches. The nodes are on hosts of their own, as the planner sees it.

Not real: time is virtual and computing takes none of it, links are memory with a fixed delay, all
nodes share one cluster map that is complete from the start, so no node reads the registry, and
nothing is flushed to a disk: the mode is volatile. Of a daemon's background work only what a
request begins is there, and the watch over leases.
"""

from __future__ import annotations

import asyncio
import os
import resource
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from benchfs.bench.simulate.clock import LoopClock
from benchfs.bench.simulate.traffic import Traffic
from benchfs.client import AsyncClient
from benchfs.clustermap import ClusterMap, GroupEntry, NodeEntry
from benchfs.clusterspec import ClusterSpec, encode_node
from benchfs.env import Env, SeededRng
from benchfs.inode import ROOT_INO, home_group
from benchfs.instance import Endpoints
from benchfs.placement import NodeSpec, group_count_for, plan
from benchfs.rpc.messages import Op
from benchfs.rpc.pool import Credentials, Pool
from benchfs.rpc.server import Identity, Server
from benchfs.rpc.transports.choose import Engines
from benchfs.rpc.transports.memory import Faults, MemoryNetwork
from benchfs.user import User
from benchfsd.capabilities import Capabilities
from benchfsd.chunks import ChunkStore, DiskChunkFiles
from benchfsd.database import Database, FatalStorageError
from benchfsd.guard import Guard
from benchfsd.mode import Mode
from benchfsd.node import Node
from benchfsd.opens import Opens
from benchfsd.services import Services

CHUNK_BYTES = 64 * 1024
ONE_WAY_SECONDS = 50e-6
LEASE_SECONDS = 30.0
USER = User(1000, 1000)  # owns the root directory, and is no superuser
ROWS_BYTES = 64 * 1024 * 1024  # of each node, address space
SECRET = b"the secret of a simulated cluster"
DESCRIPTORS_A_NODE = 8  # three for its rows and chunks, the others for chunk files
ADDRESSES = 8  # that a client is given, as people do


class SimulatedNode:
    """One node: what a daemon is made of, behind links in memory."""

    def __init__(
        self, entry: NodeEntry, spec: ClusterSpec, shared: ClusterMap, place: Path, rng: SeededRng,
        network: MemoryNetwork,
    ) -> None:
        loop = asyncio.get_running_loop()
        env = Env(LoopClock(loop), rng)
        engines = _engines(network, entry.node_id)
        place.mkdir()
        mode = Mode(spec.mode)
        self._database = Database(
            place / "rows", sync=False, map_bytes=ROWS_BYTES, schedule=loop.call_soon
        )
        files = DiskChunkFiles(place, durable=False, on_fatal=_fail, max_open=1)
        self._store = ChunkStore(
            files, self._database, env, mode=mode, node_id=entry.node_id, on_fatal=_fail, reserve=0
        )
        self._store.recover(clean_stop=True)
        session = rng.token_bytes(16)
        self._pool = Pool(
            engines.transport, Credentials(SECRET, session, "node", 0, 0, rng.token_bytes)
        )
        self._transport = engines.transport("mem")
        self._entry = entry
        self.node = node = Node(
            entry.node_id, spec, shared, env, self._database, self._store, self._pool,
            engines.summary, entry.host, Guard(frozenset(), Capabilities(SECRET)),
            Opens(env.clock, LEASE_SECONDS, grace=False),
        )  # fmt: skip
        if node.leads(home_group(ROOT_INO)):
            node.namespace(home_group(ROOT_INO)).inodes.format_root(USER.uid, USER.gid)
        self._services = Services(node)
        self._server = Server(
            Identity(
                entry.node_id, spec.cluster_id, SECRET, entry.incarnation, entry.host, "",
                rng.token_bytes, lambda: node.map.version,
            ),
            self._services.handlers(), node.buffers, self._database,
        )  # fmt: skip

    async def start(self) -> None:
        """Listen."""
        await self._server.listen(self._transport, self._entry.addresses[0])
        self._services.resume()
        self._watch = asyncio.create_task(self._services.orphans.watch())

    async def stop(self) -> None:
        """End everything, in a daemon's order."""
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)
        await self._server.close(0.3)
        await self.node.stop_tasks()
        await self._pool.close()
        await self._store.close()
        self._database.close()


class SimulatedCluster:
    """Nodes, their network, and a way to make clients. Made by `simulated`."""

    def __init__(self, count: int, seed: int) -> None:
        self.network = MemoryNetwork(seed, Faults(ONE_WAY_SECONDS, ONE_WAY_SECONDS))
        self.traffic = Traffic(self.network)
        self.nodes: list[SimulatedNode] = []
        self._rng = SeededRng(seed)
        self._clients = 0
        names = [f"node-{number}" for number in range(count)]
        self._entries = [NodeEntry(name, f"host-{name}", (f"mem://{name}",), 1) for name in names]
        specs = [NodeSpec(entry.node_id, entry.host) for entry in self._entries]
        table = plan(group_count_for(count), specs)
        self.spec = ClusterSpec("simulated", "simulated", Mode.VOLATILE, CHUNK_BYTES, table)
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
    async def client(self, attribute_seconds: float) -> AsyncIterator[AsyncClient]:
        """A client that is connected, of a host without a node."""
        rng = self._derived_rng()
        name = f"client-{self._clients}"
        self._clients += 1
        addresses = tuple(entry.addresses[0] for entry in self._entries[:ADDRESSES])
        client = AsyncClient(
            attribute_seconds=attribute_seconds,
            local_reads=False,
            env=Env(LoopClock(asyncio.get_running_loop()), rng),
            user=USER,
            engines=_engines(self.network, name),
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


def _engines(network: MemoryNetwork, name: str) -> Engines:
    return Engines({"mem": network.transport(name)}, "memory", "mem")


def _allow_descriptors(wanted: int) -> None:
    """Raise this process's own limit, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted += len(os.listdir("/proc/self/fd")) + 64  # noqa: PTH208 (numbers, not paths)
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise OSError(f"{wanted} descriptors are needed, and this process may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _fail(failure: FatalStorageError) -> None:
    raise failure
