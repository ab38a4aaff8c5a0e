"""What slow, greedy or unlucky peers cannot do to the others, over every engine."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable

import pytest

from benchfs.rpc import connection as connection_module
from benchfs.rpc import server_connection
from benchfs.rpc.channel import PONG_WAITING_BYTES
from benchfs.rpc.connection import Connection
from benchfs.rpc.errors import ConnectionLostError, HandshakeError, RemoteError
from benchfs.rpc.frames import HEADER_BYTES, Kind, encode
from benchfs.rpc.handshake import ClientHandshake
from benchfs.rpc.messages import (
    Code,
    HelloReply,
    Lookup,
    Op,
    ReadChunk,
    SyncFile,
    Unlink,
)
from benchfs.rpc.pool import Peer
from benchfs.rpc.server import Call, Reply
from benchfs.rpc.server_connection import CREDITS
from benchfs.rpc.transports import endpoints
from benchfs.rpc.transports.sockets import SocketTransport
from tests.contract.links import Engine, Recorder, engine_of, turns
from tests.contract.rpc_node import SECRET, Client, Node, client_of, running, until

READ = ReadChunk(1, 1, 0, 1)


async def works(connection: Connection) -> bool:
    return (await connection.call(READ, timeout=60)).payload == b"\1"


# ---------------------------------------------------------------- calls


@pytest.mark.parametrize(
    "request_of", [SyncFile, lambda ino: Unlink(ino, b"name")], ids=["reads", "mutates"]
)
async def test_a_cancelled_call_gives_its_credit_back_at_both_ends(
    node: Node, connection: Connection, request_of: Callable[[int], tuple[object, ...]]
) -> None:
    def ask(ino: int) -> list[asyncio.Task[object]]:
        request = request_of(ino)
        return [asyncio.create_task(connection.call(request, timeout=30)) for _ in range(CREDITS)]

    calls = ask(1)
    await until(lambda: len(node.started) == CREDITS)

    for call in calls:
        call.cancel()
    again = ask(2)
    await until(lambda: len(node.started) == 2 * CREDITS)
    for held in node.held.values():
        if not held.done():  # a read that was cancelled took its own with it
            held.set_result(None)
    await asyncio.gather(*again)

    assert await works(connection)
    await asyncio.gather(*calls, return_exceptions=True)


async def test_cancelled_mutations_that_do_not_end_are_limited(
    monkeypatch: pytest.MonkeyPatch, node: Node, connection: Connection
) -> None:
    monkeypatch.setattr(server_connection, "RUNNING_MOST", 3)
    calls = [asyncio.create_task(connection.call(Unlink(1, b"x"), timeout=30)) for _ in range(3)]
    await until(lambda: len(node.started) == 3)
    for call in calls:
        call.cancel()

    with pytest.raises(RemoteError) as caught:
        await connection.call(Unlink(1, b"x"), timeout=30)

    assert caught.value.code == Code.NOT_READY
    node.let_go(1)
    await until(lambda: not node.server.tasks)
    assert await works(connection)
    await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.parametrize("text", ["x" * 5000, "\udcff" * 1024, "no such name: \udc80", ""])
async def test_an_error_fits_its_fields_whatever_it_says(
    node: Node, connection: Connection, text: str
) -> None:
    def refuse(call: Call) -> Reply:
        raise RemoteError(errno.ENOENT, text, b"/" * 5000)

    node.server.handlers[Op.LOOKUP] = refuse  # type: ignore[index]

    with pytest.raises(RemoteError) as caught:
        await connection.call(Lookup(1, b"x"), timeout=20)

    assert caught.value.code == errno.ENOENT
    assert text.isascii() <= text.startswith(caught.value.text)
    assert await works(connection)


@pytest.mark.parametrize("timeout", [0.0, -1.0, 1e9])
async def test_a_strange_timeout_breaks_nothing(
    node: Node, connection: Connection, timeout: float
) -> None:
    with contextlib.suppress(connection_module.CallTimeoutError):
        await connection.call(READ, timeout=timeout)

    assert await works(connection)


async def test_pings_without_end_do_not_fill_the_memory_of_a_node(node: Node) -> None:
    """A stranger asks and asks and never reads an answer."""
    stranger = Recorder()
    await node.engine.transport.connect(node.address, stranger)
    stranger.link.pause_reading()
    pings = encode(Kind.PING, 0, b"") * 10_000

    for _ in range(100):
        stranger.link.write([pings])
        stranger.link.flush()
        await turns(3)
    waiting = [connection.link.waiting_bytes for connection in node.server.connections]

    assert all(bytes_ <= PONG_WAITING_BYTES + HEADER_BYTES for bytes_ in waiting)
    stranger.link.abort()


# ---------------------------------------------------------------- the pool


async def test_two_hundred_clients_that_come_together_are_all_served(node: Node) -> None:
    clients = [client_of(node) for _ in range(200)]

    async def serve(client: Client) -> bool:
        for _ in range(100):
            try:
                return await works(await client.pool.connect(client.peer, "calls", timeout=60))
            except ConnectionLostError:
                continue  # above the number of those who may shake hands at the same time
        return False

    async with asyncio.timeout(100):
        assert all(await asyncio.gather(*[serve(client) for client in clients]))
    await asyncio.gather(*[client.pool.close() for client in clients])


async def test_a_node_that_stops_while_hands_are_shaken_may_be_tried_again(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = node.server.connections
    client = client_of(node)
    monkeypatch.setattr(server_connection.ServerConnection, "_greet", lambda *_: None)
    connecting = asyncio.create_task(client.pool.connect(client.peer, "calls", timeout=10))
    await until(lambda: connections)

    for connection in list(connections):
        connection.goodbye("the node is stopping")

    with pytest.raises(ConnectionLostError, match="the node is stopping"):
        await connecting
    await client.pool.close()


async def test_closing_the_pool_while_it_connects_is_no_cancellation(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(node)
    monkeypatch.setattr(server_connection.ServerConnection, "_greet", lambda *_: None)
    connecting = asyncio.create_task(client.pool.connect(client.peer, "calls", timeout=10))
    await until(lambda: node.server.connections)

    await client.pool.close()

    with pytest.raises(ConnectionLostError, match="the client is closed"):
        await connecting
    await until(lambda: not node.server.connections)


async def test_an_address_that_swallows_everything_does_not_cost_the_others_their_turn(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    mute = await node.engine.transport.listen(node.engine.address(), Recorder)
    client = client_of(node)
    peer = Peer("node-1", (mute.address, node.address))

    connection = await client.pool.connect(peer, "calls", timeout=2.0)

    assert await works(connection)
    await client.pool.close()
    mute.close()


async def test_a_wait_that_ends_in_the_backoff_says_what_failed(engine: Engine) -> None:
    async with running(engine) as gone:
        client = client_of(gone)
    for _ in range(4):
        with pytest.raises(ConnectionLostError):
            await client.pool.connect(client.peer, "calls", timeout=20)

    with pytest.raises(ConnectionLostError, match=r"within 0\.0 s: .*://"):
        await client.pool.connect(client.peer, "calls", timeout=0.001)
    await client.pool.close()


async def test_descriptors_are_asked_for_where_they_cannot_be_passed() -> None:
    async with engine_of("sockets-tcp") as engine, running(engine) as node:
        connection = Connection(asyncio.get_running_loop())
        await engine.transport.connect(node.address, connection)
        handshake = ClientHandshake(SECRET, bytes(16), "client", bytes(32))

        with pytest.raises(HandshakeError, match="unix sockets only"):
            await connection.greet(handshake, "descriptors", uid=0, gid=0, timeout=20)


def test_a_version_that_this_side_did_not_offer_is_refused() -> None:
    handshake = ClientHandshake(SECRET, bytes(16), "client", bytes(32))

    with pytest.raises(HandshakeError, match="chose protocol version 9, this side speaks 1 to 1"):
        handshake.prove(HelloReply(9, bytes(32), bytes(32)), "calls", 0, 0)


# ---------------------------------------------------------------- sockets


@pytest.mark.parametrize("name", ["sockets-tcp", "sockets-unix"])
async def test_what_the_peer_said_last_is_read_though_nothing_can_be_sent(name: str) -> None:
    accepted: list[Recorder] = []

    def accept() -> Recorder:
        accepted.append(Recorder())
        return accepted[-1]

    async with engine_of(name) as engine:
        listener = await engine.transport.listen(engine.address(), accept)
        here = Recorder()
        await engine.transport.connect(listener.address, here)
        await until(lambda: accepted)
        there = accepted[0]
        there.link.write([b"goodbye, and this is why"])
        there.link.flush()
        there.link.abort()
        called: list[int] = []

        for number in range(100):
            here.link.write([b"still talking"], then=lambda number=number: called.append(number))  # type: ignore[misc]
            here.link.flush()
        await here.until(lambda recorder: bool(recorder.lost_reasons))
        listener.close()

    assert here.data == b"goodbye, and this is why"
    assert called == list(range(100))
    assert len(here.lost_reasons) == 1


async def test_a_name_with_several_addresses_is_tried_at_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listener = await SocketTransport().listen("tcp://127.0.0.1:0", Recorder)
    port = int(listener.address.rpartition(":")[2])

    async def resolve(_address: str) -> list[tuple[int, tuple[str, int]]]:
        return [(socket.AF_INET, (host, port)) for host in ("127.0.0.2", "127.0.0.3", "127.0.0.1")]

    monkeypatch.setattr(endpoints, "_resolve", resolve)
    here = Recorder()

    link = await SocketTransport().connect(f"tcp://node.example:{port}", here)

    assert here.connected_count == 1
    link.abort()
    listener.close()
