"""One node: its part of the cluster, its storage, and its calls to other nodes.

Handlers find here what they need; there is no logic of operations in this module. All of it
belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import errno
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from weakref import WeakValueDictionary

import msgpack

from benchfs.clustermap import ClusterMap, GroupEntry, NodeEntry
from benchfs.clusterspec import ClusterSpec
from benchfs.env import Env
from benchfs.rpc.buffers import BufferPool
from benchfs.rpc.connection import Answer
from benchfs.rpc.errors import ConnectionLostError, RemoteError, RpcError
from benchfs.rpc.messages import Attributes, Code, GroupRecord, LayoutRecord
from benchfs.rpc.pool import Peer, Pool
from benchfs.rpc.schema import decoder, unpack
from benchfsd import whereabouts
from benchfsd.chunks import ChunkStore
from benchfsd.database import Database
from benchfsd.guard import Guard
from benchfsd.links import Links
from benchfsd.locks import LockTable
from benchfsd.mode import Mode
from benchfsd.moves import wake
from benchfsd.opens import Opens
from benchfsd.renaming import RenamingNamespace
from benchfsd.slots import Slots

# A call to another node, on behalf of a client that waits.
PEER_SECONDS = 5.0
NODE_SLOTS = 32_768
DATABASE_FULL = 0.9
REMEMBERED_WRITES = 65_536


class Node:
    """What one daemon has."""

    def __init__(  # noqa: PLR0917 (one argument a part)
        self,
        node_id: str,
        spec: ClusterSpec,
        cluster_map: ClusterMap,
        env: Env,
        database: Database,
        store: ChunkStore,
        pool: Pool,
        transport: str,
        disk: str,
        guard: Guard,
        opens: Opens,
    ) -> None:
        self.node_id = node_id
        self.spec = spec
        self.map = cluster_map
        self.mode = Mode(spec.mode)
        self.env = env
        self.database = database
        self.store = store
        self.pool = pool
        self.transport = transport
        self.transport_details: Callable[[], str] = str  # what follows it, now
        self.disk = disk
        self.guard = guard
        self.opens = opens
        self.locks = LockTable()
        self.orphans: set[int] = set()  # inodes without names: see benchfsd/orphans.py
        self.buffers = BufferPool()
        self.slots = Slots(database)
        self.loop = asyncio.get_running_loop()
        self.started = self.loop.time()
        self.started_ns = env.clock.time_ns()
        self.requests: dict[int, int] = {}  # operation -> how many, for the metrics
        self.connections: Callable[[], int] = lambda: 0
        # (session, slot) -> (sequence, version) of acknowledged chunk writes: see handlers/chunks
        self.writes: OrderedDict[tuple[bytes, int], tuple[int, int]] = OrderedDict()
        self.refresh_map: Callable[[], Awaitable[None]] | None = None
        self._namespaces: dict[int, RenamingNamespace] = {}
        self._locks: WeakValueDictionary[tuple[int, bytes], asyncio.Lock] = WeakValueDictionary()
        self._sequence = 0
        self._tasks: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------ groups

    def require(self, group: int, epoch: int) -> None:
        """Raise STALE_EPOCH, with the entry, unless this node leads the group at this epoch."""
        if group >= self.map.group_count:
            raise RemoteError(errno.EINVAL, f"the cluster has no group {group}")
        entry = self.map.group(group)
        if entry.epoch != epoch or entry.primary != self.node_id:
            detail: bytes = msgpack.packb(entry)
            raise RemoteError(
                Code.STALE_EPOCH, f"group {group} is led by {entry.primary}", detail=detail
            )

    def namespace(self, group: int) -> RenamingNamespace:
        """The names and inodes of a group that this node leads."""
        found = self._namespaces.get(group)
        if found is None:
            found = RenamingNamespace(group, self.database, self.env, self)
            self._namespaces[group] = found
        return found

    def links(self, group: int) -> Links:
        """The links of a group that this node leads."""
        return Links(self.namespace(group), self.database, self.env)

    def namespaces(self) -> list[RenamingNamespace]:
        """Those that were used so far."""
        return list(self._namespaces.values())

    def is_held(self, ino: int) -> bool:
        """Whether somebody may have the inode open."""
        return self.opens.is_held(ino)

    def drop_chunks(self, inode: Attributes) -> bool:
        """Whether a removed file's chunks go with this turn's batch: there are none, or few."""
        return whereabouts.drop_chunks(self, inode)

    def orphaned(self, ino: int) -> None:
        """An inode that is held has lost its last name."""
        self.orphans.add(ino)

    def leads(self, group: int) -> bool:
        """Whether this node is the group's primary."""
        return self.map.primary(group) == self.node_id

    def nodes_of(self, layout: LayoutRecord) -> frozenset[str]:
        """The nodes that lead a group of the layout: where chunks of a file may be."""
        if not layout.stripe:  # all groups
            return self.map.leaders
        count = self.map.group_count
        return frozenset(self.map.primary(group) for group in layout.stripe if group < count)

    def require_space(self) -> None:
        """Raise ENOSPC below the reserve: nothing new is made there, so that removing works."""
        if not self.has_space:
            raise RemoteError(errno.ENOSPC, "the disk is full to its reserve", node=self.node_id)

    @property
    def has_space(self) -> bool:
        """Whether new files and directories may be made."""
        if not (self.store.has_space and self.database.has_headroom):
            return False
        return self.database.used_bytes <= DATABASE_FULL * self.database.map_bytes

    def lock(self, parent: int, name: bytes) -> asyncio.Lock:
        """The lock of one name, for operations of several steps; it lives while it is used."""
        return self._locks.setdefault((parent, name), asyncio.Lock())

    # ------------------------------------------------------------ other nodes

    async def call_group(
        self,
        group: int,
        request: tuple[object, ...],
        *,
        mutates: bool = False,
        into: memoryview | None = None,
    ) -> Answer:
        """Ask the primary of a group. Raises RemoteError, UNAVAILABLE if it does not answer.

        With `into`, the reply's payload is put there, where it fits.

        A newer entry of the group is learned and followed. It is never passed on: a client would
        take it for one of the group that it asked about.
        """
        slot = sequence = 0
        if mutates:
            self._sequence += 1
            sequence, slot = self._sequence, self._sequence % NODE_SLOTS
        while True:
            entry = self.map.group(group)
            try:
                return await self._call(
                    entry.primary, request, group, entry.epoch, slot, sequence, into
                )
            except RemoteError as exc:
                if exc.code != Code.STALE_EPOCH:
                    raise
                newer = GroupEntry(*decoder(GroupRecord)(unpack(exc.detail)))
                if newer.group != group or newer.epoch <= entry.epoch:
                    raise RemoteError(
                        Code.UNAVAILABLE,
                        f"{entry.primary} does not know yet that it leads group {group}",
                        node=self.node_id,
                    ) from exc
                self.map = self.map.with_group(newer)

    async def call_node(self, node_id: str, request: tuple[object, ...]) -> Answer:
        """Ask a node as such. Raises RemoteError, UNAVAILABLE if it does not answer."""
        return await self._call(node_id, request, 0, 0, 0, 0)

    async def _call(  # noqa: PLR0917 (the parts of an envelope)
        self,
        node_id: str,
        request: tuple[object, ...],
        group: int,
        epoch: int,
        slot: int,
        sequence: int,
        into: memoryview | None = None,
    ) -> Answer:
        purpose = "calls" if into is None else "bulk"
        give_up = self.loop.time() + PEER_SECONDS
        while True:
            left = give_up - self.loop.time()
            try:
                peer = self._peer(node_id)
                connection = await self.pool.connect(peer, purpose, timeout=left)
                return await connection.call(
                    request,
                    timeout=left,
                    into=into,
                    group=group,
                    epoch=epoch,
                    slot=slot,
                    sequence=sequence,
                )
            except RemoteError:
                raise
            except RpcError as exc:
                lost = isinstance(exc, ConnectionLostError)
                if not lost or self.loop.time() + 0.1 >= give_up:
                    raise RemoteError(
                        Code.UNAVAILABLE, f"{node_id} does not answer: {exc}", node=self.node_id
                    ) from exc
            if self.refresh_map is not None:
                await self.refresh_map()
            await asyncio.sleep(0.05)

    def _peer(self, node_id: str) -> Peer:
        if node_id not in self.map:
            raise ConnectionLostError("the node has not been up yet", sent=False)
        node: NodeEntry = self.map.node(node_id)
        return Peer(node_id, node.addresses)

    async def stored(self) -> None:
        """Return when the batch of this turn has committed."""
        done: asyncio.Future[None] = self.loop.create_future()
        self.database.on_commit(partial(wake, done))
        await done

    # ------------------------------------------------------------ background work

    def spawn(self, work: Awaitable[None], name: str) -> None:
        """Run something that nobody waits for; it ends with the node."""
        task = self.loop.create_task(_await(work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop_tasks(self) -> None:
        """End what `spawn` started. Intents that are unfinished are taken up at the next start."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def remember_write(self, key: tuple[bytes, int], sequence: int, version: int) -> None:
        """Note the answer to a chunk write, in place of the slot's last one."""
        self.writes[key] = (sequence, version)
        self.writes.move_to_end(key)
        if len(self.writes) > REMEMBERED_WRITES:
            self.writes.popitem(last=False)


async def _await(work: Awaitable[None]) -> None:
    await work
