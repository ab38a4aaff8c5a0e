"""One node of a simulated cluster: what a daemon is made of, behind links in memory."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from benchfs.bench.simulate.clock import LoopClock
from benchfs.clustermap import ClusterMap, NodeEntry
from benchfs.clusterspec import ClusterSpec
from benchfs.env import Env, SeededRng
from benchfs.inode import ROOT_INO, home_group
from benchfs.rpc.pool import Credentials, Pool
from benchfs.rpc.server import Identity, Server
from benchfs.rpc.transports.choose import Engines
from benchfs.rpc.transports.memory import MemoryNetwork
from benchfs.user import User
from benchfsd.capabilities import Capabilities
from benchfsd.chunks import ChunkStore, DiskChunkFiles
from benchfsd.chunks.files import Buffers
from benchfsd.database import Database, FatalStorageError
from benchfsd.guard import Guard
from benchfsd.mode import Mode
from benchfsd.node import Node
from benchfsd.opens import Opens
from benchfsd.services import Services

LEASE_SECONDS = 30.0
GRACE_SECONDS = 0.3
USER = User(1000, 1000)  # owns the root directory, and is no superuser
ROWS_BYTES = 64 * 1024 * 1024  # of each node, address space
SECRET = b"the secret of a simulated cluster"


class _PromptFiles(DiskChunkFiles):
    """Chunk files that are read in the loop: virtual time does not wait for threads."""

    def read(self, ino: int, index: int, offset: int, buffers: Buffers, *, wait: bool) -> int:
        return super().read(ino, index, offset, buffers, wait=True)


class SimulatedNode:
    """One node: what a daemon is made of, behind links in memory.

    `name` is what it calls itself on links that it makes: a node that can be killed needs one that
    no other life of it has. `restarted`: `place` is what an earlier life left.
    """

    def __init__(  # noqa: PLR0917 (one argument a part)
        self,
        entry: NodeEntry,
        spec: ClusterSpec,
        shared: ClusterMap,
        place: Path,
        rng: SeededRng,
        network: MemoryNetwork,
        *,
        name: str = "",
        restarted: bool = False,
    ) -> None:
        loop = asyncio.get_running_loop()
        env = Env(LoopClock(loop), rng)
        self.name = name or entry.node_id
        self.place = place
        self._network = network
        self._everybody = {node.node_id for node in shared.nodes}
        engines = engines_of(network, self.name)
        place.mkdir(exist_ok=restarted)
        mode = Mode(spec.mode)
        self._database = Database(
            place / "rows", sync=False, map_bytes=ROWS_BYTES, schedule=loop.call_soon
        )
        files = _PromptFiles(place, durable=False, on_fatal=_fail, max_open=1)
        self._store = ChunkStore(
            files, self._database, env, mode=mode, node_id=entry.node_id, on_fatal=_fail, reserve=0
        )
        self._store.recover(clean_stop=not restarted)
        session = rng.token_bytes(16)
        self._pool = Pool(
            engines.transport, Credentials(SECRET, session, "node", 0, 0, rng.token_bytes)
        )
        self._transport = engines.transport("mem")
        self._entry = entry
        self.node = node = Node(
            entry.node_id, spec, shared, env, self._database, self._store, self._pool,
            engines.summary, entry.host, Guard(frozenset(), Capabilities(SECRET)),
            Opens(env.clock, LEASE_SECONDS, grace=restarted),
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

    def kill(self, left: Path) -> None:
        """As kill -9, at this moment: `left` is made of what it has stored, it hears nobody, and
        nobody hears of it again. It may go on by itself, in a world of its own, until `stop`.
        """
        shutil.copytree(self.place, left)
        network, names = self._network, {self.name, self._entry.node_id}
        network.listeners.pop(self._entry.node_id, None)
        network.cut(names, {link.there for link in network.links if link.here in names})
        network.partition({self.name}, self._everybody)

    async def stop(self) -> None:
        """End everything, in a daemon's order."""
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)
        await self._server.close(GRACE_SECONDS)
        await self.node.stop_tasks()
        await self._pool.close()
        await self._store.close()
        self._database.close()


def engines_of(network: MemoryNetwork, name: str) -> Engines:
    """What the node or client `name` reaches others by."""
    return Engines({"mem": network.transport(name)}, "memory", "mem")


def _fail(failure: FatalStorageError) -> None:
    raise failure
