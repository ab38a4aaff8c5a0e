"""The cluster as a client sees it: its map, connections to its nodes, and calls that find them.

A call is addressed to a group. It goes to the group's primary at the epoch the client knows;
a node that knows better answers with the newer entry, and the call is repeated there. Lost
connections and nodes that are not ready are tried again until the call's deadline: mutations
carry a slot, so repeating them is safe. Every failure names operation, path and node.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from typing import NamedTuple

from benchfs.capabilities import Shown
from benchfs.clustermap import ClusterMap, GroupEntry, NodeEntry
from benchfs.env import Env
from benchfs.errors import BenchFSError, UnreachableError, error, from_rpc
from benchfs.instance import Endpoints
from benchfs.rpc.connection import Answer, Connection
from benchfs.rpc.errors import (
    CallTimeoutError,
    ConnectionLostError,
    HandshakeError,
    RemoteError,
    RpcError,
    TurnedAwayError,
)
from benchfs.rpc.messages import (
    Code,
    GetMap,
    GetStatus,
    GroupRecord,
    MapRecord,
    MapReply,
    Present,
    StatusReply,
)
from benchfs.rpc.pool import Credentials, Peer, Pool
from benchfs.rpc.schema import decoder, unpack
from benchfs.rpc.transports.base import Buffer
from benchfs.rpc.transports.choose import Engines
from benchfs.session import Session, Slot
from benchfs.user import User

RETRY_FIRST_SECONDS = 0.005
RETRY_MOST_SECONDS = 0.25
# A node lets 64 shake hands at a time, which takes milliseconds: what goes on for longer is no
# crowd, but something else that listens there.
CROWDED_SECONDS = 10.0
_TRY_AGAIN = frozenset({Code.NOT_READY, Code.UNAVAILABLE})
NO_SLOT = Slot(0, 0)
_group_record = decoder(GroupRecord)
_map_record = decoder(MapRecord)


class Intent(NamedTuple):
    """What a call is for: what errors say, and until when it may take (loop time)."""

    operation: str
    path: str | None
    deadline: float


class NodeStatus(NamedTuple):
    """A node's own figures, or why it did not give them."""

    node_id: str
    address: str
    reply: StatusReply | None
    error: str | None
    skew_ns: int = 0  # the node's wall clock minus this host's, half a round trip ago
    round_trip_ns: int = 0  # of the question; the skew is known to half of it


class Cluster:
    """Connections and map. Made by `open`; everything belongs to one event loop."""

    def __init__(
        self, endpoints: Endpoints, engines: Engines, env: Env, session: Session, user: User
    ) -> None:
        engines = engines.for_cluster(endpoints.secret)
        self._endpoints = endpoints
        self._env = env
        self._loop = asyncio.get_running_loop()
        self.session = session
        self.pool = Pool(
            engines.transport,
            Credentials(
                endpoints.secret,
                session.session_id,
                "client",
                user.uid,
                user.gid,
                env.rng.token_bytes,
                user.groups,
            ),
            engines.prefers,
        )
        self.map = ClusterMap((), ())
        self._shown = Shown()
        self.hold_capability = self._shown.hold
        self.name = endpoints.name
        self.mode = ""
        self.chunk_size = 0
        self.lease_seconds = 0.0
        self.requests = 0  # sent so far, what was repeated too

    async def open(self, timeout: float) -> None:
        """Get the map from the first node that answers. Raises ClusterError, UnreachableError.

        Clients that start together begin with different nodes, and come again where too many do.
        """
        addresses = self._endpoints.addresses
        if not addresses:
            raise error(errno.ENODEV, "connect", self._endpoints.name, text="it has no nodes")
        first = self._env.rng.randrange(len(addresses))
        peers = [Peer("", (address,)) for address in (*addresses[first:], *addresses[:first])]
        deadline = self._loop.time() + timeout
        crowded_until = min(deadline, self._loop.time() + CROWDED_SECONDS)
        while True:
            try:
                return await self._learn(peers, deadline)
            except UnreachableError as exc:  # the pool waits before it tries a node again
                crowded = isinstance(exc.__cause__, TurnedAwayError)
                if not crowded or self._loop.time() >= crowded_until:
                    raise

    async def close(self) -> None:
        """Say goodbye to all nodes."""
        await self.pool.close()

    def intent(self, operation: str, path: str | None, timeout: float) -> Intent:
        """What calls of one operation carry along."""
        return Intent(operation, path, self._loop.time() + timeout)

    # ------------------------------------------------------------ calls

    async def call(
        self,
        intent: Intent,
        group: int,
        request: tuple[object, ...],
        *,
        slot: Slot = NO_SLOT,
        purpose: str = "calls",
        payload: Sequence[Buffer] = (),
        into: memoryview | None = None,
    ) -> Answer:
        """Send `request` to the group's primary.

        Raises the errors of `benchfs.errors`; and RemoteError with STALE_TRUNCATION as it is,
        which the writer of a file answers by itself.
        """
        delay = RETRY_FIRST_SECONDS
        presented: set[tuple[int, bytes]] = set()
        while True:
            cluster_map = self.map
            node_id = cluster_map.primary(group)
            remaining = intent.deadline - self._loop.time()
            failure: RpcError
            try:
                connection = self.pool.ready(node_id, purpose)
                if connection is None:
                    connection = await self._connect(node_id, purpose, remaining)
                self.requests += 1
                return await connection.call(
                    request,
                    timeout=max(remaining, 0.001),
                    group=group,
                    epoch=cluster_map.epoch(group),
                    slot=slot.number,
                    sequence=slot.sequence,
                    payload=payload,
                    into=into,
                )
            except RemoteError as exc:
                if exc.code == Code.STALE_EPOCH:
                    self._learn_group(exc.detail)
                    presented.clear()  # another node may be asked now
                elif exc.code == Code.STALE_TRUNCATION:
                    raise
                elif exc.code == Code.NO_CAPABILITY:
                    presented = await self._present(intent, node_id, request, presented)
                    continue
                elif exc.code not in _TRY_AGAIN:
                    raise from_rpc(exc, intent.operation, intent.path, node_id) from exc
                failure = exc
            except ConnectionLostError as exc:
                presented.clear()  # a node that starts again has forgotten
                self._shown.forget(node_id)
                failure = exc
            except (CallTimeoutError, HandshakeError) as exc:
                raise from_rpc(exc, intent.operation, intent.path, node_id) from exc
            if self._loop.time() + delay >= intent.deadline:
                raise from_rpc(failure, intent.operation, intent.path, node_id) from failure
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_MOST_SECONDS)
            if isinstance(failure, ConnectionLostError):
                await self._refresh(node_id, intent.deadline)

    async def mutate(self, intent: Intent, group: int, request: tuple[object, ...]) -> Answer:
        """As `call`, executed exactly once whatever is repeated."""
        slot = await self.session.take()
        try:
            return await self.call(intent, group, request, slot=slot)
        finally:
            self.session.give_back(slot)

    def unseen_capability(self, ino: int, group: int, needed: int) -> bytes:
        """What a request for a file's chunks brings along, so that the node need not ask."""
        return self._shown.bring(self.map.primary(group), ino, needed)

    async def present(self, intent: Intent, node_id: str, ino: int) -> None:
        """Show a node what a file was opened for, before it asks."""
        for capability in self._shown.of(ino):
            await self.call_node(intent, node_id, Present(ino, capability))
            self._shown.saw(node_id, ino, capability)

    async def _present(
        self,
        intent: Intent,
        node_id: str,
        request: tuple[object, ...],
        presented: set[tuple[int, bytes]],
    ) -> set[tuple[int, bytes]]:
        """Show a node what the request's files were opened for.

        EACCES if that is not more than `presented`.
        """
        inos = {getattr(request, "ino", 0), getattr(request, "source_ino", 0)}
        known = {(ino, seal) for ino in inos for seal in self._shown.of(ino)}
        if known <= presented:
            text = f"inode {getattr(request, 'ino', 0):#x} was not opened like this"
            raise error(errno.EACCES, intent.operation, intent.path, node_id, text)
        self._shown.forget(node_id)
        for ino, capability in known - presented:
            await self.call_node(intent, node_id, Present(ino, capability))
            self._shown.saw(node_id, ino, capability)
        return known

    async def call_node(
        self, intent: Intent, node_id: str, request: tuple[object, ...], purpose: str = "calls"
    ) -> Answer:
        """Send `request` to a node as such; repeated until the deadline if connections fail."""
        delay = RETRY_FIRST_SECONDS
        presented: set[tuple[int, bytes]] = set()
        while True:
            remaining = max(intent.deadline - self._loop.time(), 0.001)
            try:
                connection = await self._connect(node_id, purpose, remaining)
                self.requests += 1
                return await connection.call(request, timeout=remaining)
            except RpcError as exc:
                if isinstance(exc, RemoteError) and exc.code == Code.NO_CAPABILITY:
                    presented = await self._present(intent, node_id, request, presented)
                    continue
                if isinstance(exc, ConnectionLostError):
                    presented.clear()  # a node that starts again has forgotten
                again = isinstance(exc, ConnectionLostError) or (
                    isinstance(exc, RemoteError) and exc.code in _TRY_AGAIN
                )
                if not again or self._loop.time() + delay >= intent.deadline:
                    raise from_rpc(exc, intent.operation, intent.path, node_id) from exc
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_MOST_SECONDS)

    async def status(self, timeout: float) -> list[NodeStatus]:
        """The figures of every node, asked at the same time; a node that fails is in the list."""
        return list(await asyncio.gather(*[self._status(node, timeout) for node in self.map.nodes]))

    async def _status(self, node: NodeEntry, timeout: float) -> NodeStatus:
        address = node.addresses[0] if node.addresses else ""
        clock = self._env.clock
        asked = clock.time_ns()
        try:
            intent = self.intent("status", None, timeout)
            answer = await self.call_node(intent, node.node_id, GetStatus())
        except BenchFSError as exc:
            return NodeStatus(node.node_id, address, None, str(exc))
        assert isinstance(answer.message, StatusReply)
        answered = clock.time_ns()
        skew = answer.message.time_ns - (asked + answered) // 2
        return NodeStatus(node.node_id, address, answer.message, None, skew, answered - asked)

    async def _connect(self, node_id: str, purpose: str, timeout: float) -> Connection:
        try:
            node = self.map.node(node_id)
        except KeyError:
            raise ConnectionLostError("the node has never been up", sent=False) from None
        return await self.pool.connect(
            Peer(node_id, node.addresses), purpose, timeout=max(timeout, 0.001)
        )

    # ------------------------------------------------------------ the map

    def _learn_group(self, detail: bytes) -> None:
        record = _group_record(unpack(detail))
        self.map = self.map.with_group(GroupEntry(*record))

    async def _refresh(self, lost: str, deadline: float) -> None:
        """The node may have come back elsewhere: ask the others for the map, if they answer."""
        others = [
            Peer(node.node_id, node.addresses) for node in self.map.nodes if node.node_id != lost
        ]
        if others:
            try:
                await self._learn(others, min(deadline, self._loop.time() + 1.0))
            except BenchFSError:
                return  # the call itself is repeated, and says what is wrong in the end

    async def _learn(self, peers: Sequence[Peer], deadline: float) -> None:
        failure: Exception = ConnectionLostError("the cluster has no address", sent=False)
        for number, peer in enumerate(peers):
            # A node that hangs leaves its share of the time to the others.
            share = (deadline - self._loop.time()) / (len(peers) - number)
            remaining = max(share, 0.001)
            try:
                connection = await self.pool.connect(peer, "calls", timeout=remaining)
                answer = await connection.call(GetMap(), timeout=remaining)
                record = _map_record(unpack(answer.payload or b""))
            except HandshakeError as exc:
                raise _refused(exc, self._endpoints.name) from exc
            except RpcError as exc:
                failure = exc
                continue
            reply = answer.message
            assert isinstance(reply, MapReply)
            self._adopt(reply, record)
            return
        raise UnreachableError(
            errno.ENOTCONN, "connect", self._endpoints.name, None, str(failure)
        ) from failure

    def _adopt(self, reply: MapReply, record: MapRecord) -> None:
        self.name, self.mode, self.chunk_size = reply.name, reply.mode, reply.chunk_size
        self.lease_seconds = reply.lease_ms / 1000
        if not self.map.group_count:
            self.map = ClusterMap(
                (NodeEntry(*node) for node in record.nodes),
                (GroupEntry(*group) for group in record.groups),
            )
            return
        cluster_map = self.map
        for node in record.nodes:
            cluster_map = cluster_map.with_node(NodeEntry(*node))
        for group in record.groups:
            cluster_map = cluster_map.with_group(GroupEntry(*group))
        self.map = cluster_map


def _refused(failure: HandshakeError, name: str) -> BenchFSError:
    if "version" in failure.reason:
        return error(errno.EPROTONOSUPPORT, "connect", name, text=failure.reason)
    return error(errno.EKEYREJECTED, "connect", name, text=failure.reason)
