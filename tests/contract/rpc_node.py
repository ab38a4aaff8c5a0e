"""A node with a few handlers, and clients of it, over any engine."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import msgpack

from benchfs.rpc.buffers import BufferPool
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.frames import Kind, encode
from benchfs.rpc.messages import (
    Empty,
    Op,
    ReadChunk,
    ReadChunkReply,
    SyncFile,
    Unlink,
    UnlinkReply,
    WriteChunk,
    WriteChunkReply,
)
from benchfs.rpc.pool import Credentials, Peer, Pool
from benchfs.rpc.server import Call, Gate, Identity, Reply, Server
from tests.contract.links import DEADLINE_SECONDS, Engine

SECRET = b"the secret of this cluster"


class Node:
    """A server and what its handlers saw."""

    def __init__(self, engine: Engine, gate: Gate | None = None, node_id: str = "node-1") -> None:
        self.engine = engine
        self.node_id = node_id
        self.held: dict[int, asyncio.Future[None]] = {}  # SYNC_FILE waits here, by ino
        self.cancelled: list[int] = []
        self.started: list[int] = []
        self.written: list[bytes] = []
        self.unlinked: list[bytes] = []
        self.sent_payloads = 0
        self.buffers = BufferPool()
        self.address = ""
        identity = Identity(
            node_id, "cluster", SECRET, 1, "host", "", os.urandom, map_version=lambda: 7
        )
        self.server = Server(
            identity,
            {
                Op.READ_CHUNK: self.read,
                Op.WRITE_CHUNK: self.write,
                Op.SYNC_FILE: self.wait,
                Op.UNLINK: self.unlink,
                Op.LOOKUP: self.refuse,
                Op.GET_STATUS: self.fail,
            },
            self.buffers,
            gate,
        )

    async def listen(self) -> None:
        self.address = await self.server.listen(self.engine.transport, self.engine.address())

    def read(self, call: Call) -> Reply:
        """`length` bytes, each `index` mod 256."""
        message = call.message
        assert isinstance(message, ReadChunk)
        payload = bytes([message.index % 256]) * message.length
        return Reply(ReadChunkReply(1, b""), (payload,), done=self._sent)

    def _sent(self) -> None:
        self.sent_payloads += 1

    def write(self, call: Call) -> Reply:
        assert isinstance(call.message, WriteChunk)
        assert call.payload is not None
        self.written.append(bytes(call.payload))
        return Reply(WriteChunkReply(len(self.written)))

    async def wait(self, call: Call) -> Reply:
        """Waits until `held[ino]` is set."""
        assert isinstance(call.message, SyncFile)
        ino = call.message.ino
        self.started.append(ino)
        future = self.held.setdefault(ino, asyncio.get_running_loop().create_future())
        try:
            await future
        except asyncio.CancelledError:
            self.cancelled.append(ino)
            raise
        return Reply(Empty())

    async def unlink(self, call: Call) -> Reply:
        """Mutates, after a wait on `held[parent]`."""
        assert isinstance(call.message, Unlink)
        parent = call.message.parent
        self.started.append(parent)
        await self.held.setdefault(parent, asyncio.get_running_loop().create_future())
        self.unlinked.append(call.message.name)
        return Reply(UnlinkReply())

    def refuse(self, call: Call) -> Reply:
        raise RemoteError(2, "no such file", b"/a/b", "", b"more")

    def fail(self, call: Call) -> Reply:
        raise ZeroDivisionError

    def let_go(self, ino: int) -> None:
        self.held[ino].set_result(None)


class Client(NamedTuple):
    """A pool and the peer it talks to."""

    pool: Pool
    peer: Peer


def client_of(node: Node, secret: bytes = SECRET, node_id: str | None = None) -> Client:
    credentials = Credentials(secret, bytes(16), "client", 1000, 100, os.urandom)
    peer = Peer(node.node_id if node_id is None else node_id, (node.address,))
    return Client(Pool(lambda _: node.engine.transport, credentials), peer)


@contextlib.asynccontextmanager
async def running(engine: Engine, gate: Gate | None = None) -> AsyncIterator[Node]:
    """A node that listens; at the end nothing of it is left."""
    node = Node(engine, gate)
    await node.listen()
    try:
        yield node
    finally:
        for future in node.held.values():
            if not future.done():
                future.set_result(None)
        await node.server.close(0.5)
    assert not node.server.connections
    assert not node.server.tasks


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds: the other end runs in the same loop."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0.001)


def request(op: int, fields: tuple[object, ...], call_id: int = 1) -> bytes:
    """The frame of a request, from whatever it is made."""
    return encode(Kind.REQUEST, call_id, msgpack.packb([op, 1000, 0, 0, 0, 0, *fields]))


def read(index: int, length: int) -> ReadChunk:
    """Asks for `length` bytes, each `index` mod 256."""
    return ReadChunk(1, index, 0, length)
