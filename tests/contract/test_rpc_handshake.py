"""Before a connection is one: versions, secrets, strangers, and what is no handshake."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgpack
import pytest

from benchfs.rpc import handshake as handshake_module
from benchfs.rpc import server_connection
from benchfs.rpc.connection import Connection
from benchfs.rpc.errors import (
    ConnectionLostError,
    HandshakeError,
)
from benchfs.rpc.frames import Kind, encode
from benchfs.rpc.handshake import ClientHandshake, proof
from benchfs.rpc.messages import (
    Hello,
    HelloReply,
    Op,
    Prove,
    SyncFile,
)
from tests.contract.links import Engine, Recorder
from tests.contract.rpc_node import SECRET, Node, client_of, read, request, until

NONCE = bytes(range(32))
HELLO = Hello(1, 1, bytes(16), "client", NONCE, ())


@contextlib.asynccontextmanager
async def stranger(node: Node) -> AsyncIterator[Recorder]:
    """A link to the node on which nothing was said yet."""
    recorder = Recorder()
    await node.engine.transport.connect(node.address, recorder)
    yield recorder
    recorder.link.abort()


def say(recorder: Recorder, *frames: bytes) -> None:
    recorder.link.write(frames)
    recorder.link.flush()


async def test_another_secret_is_refused_by_the_client(node: Node) -> None:
    pool, peer = client_of(node, secret=b"another")
    with pytest.raises(HandshakeError, match="server does not know this cluster's secret"):
        await pool.connect(peer, "calls", timeout=20)
    await pool.close()


async def test_a_client_without_the_secret_is_told_nothing(node: Node) -> None:
    async with stranger(node) as recorder:
        say(recorder, request(Op.HELLO, HELLO))
        await recorder.until(lambda recorder: bool(recorder.data))
        wrong = proof(b"C", b"another", NONCE, bytes(32))
        say(recorder, request(Op.PROVE, Prove(wrong, "calls", 0, 0), 2))
        await recorder.until(lambda recorder: bool(recorder.lost_reasons))

        assert b"does not know this cluster's secret" in recorder.data
        for told in (b"node-1", b"cluster\xa0", b"host"):
            assert told not in recorder.data


async def test_versions_that_do_not_overlap_are_both_named(
    monkeypatch: pytest.MonkeyPatch, node: Node
) -> None:
    pool, peer = client_of(node)
    monkeypatch.setattr(
        ClientHandshake, "hello", lambda _: HELLO._replace(version_least=8, version_greatest=9)
    )
    with pytest.raises(HandshakeError, match="speaks 8 to 9, this node speaks 1 to 1"):
        await pool.connect(peer, "calls", timeout=20)
    await pool.close()


async def test_another_node_at_the_address_is_noticed(node: Node) -> None:
    pool, peer = client_of(node, node_id="node-2")
    with pytest.raises(HandshakeError, match="is node node-1, not node-2"):
        await pool.connect(peer, "calls", timeout=20)
    await pool.close()
    await until(lambda: not node.server.connections)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (request(Op.PROVE, Prove(bytes(32), "calls", 0, 0)), b"the proof came before HELLO"),
        (request(Op.READ_CHUNK, (1, 0, 0, 1)), b"the first frame of a connection is HELLO"),
        (request(Op.HELLO, (1,)), b"Hello takes 6 fields"),
        (encode(Kind.REQUEST, 1, msgpack.packb([1])), b"Envelope takes 6 fields"),
        (request(Op.HELLO, HELLO._replace(nonce=b"short")), b"malformed"),
        (encode(Kind.REPLY, 1, msgpack.packb([1])), b"not expected by a node"),
        (encode(Kind.REQUEST, 1, b"\x91\xc5\x20\x00" + bytes(8192)), b"is over 4096"),
        (encode(Kind.REQUEST, 1, b"\x91\x01", 1) + b"x", b"is over 0"),
    ],
)
async def test_what_is_no_handshake_is_refused_with_a_reason(
    node: Node, frame: bytes, reason: bytes
) -> None:
    async with stranger(node) as recorder:
        say(recorder, frame)
        await recorder.until(lambda recorder: bool(recorder.lost_reasons))
        assert reason in recorder.data
    assert not node.server.connections


async def test_who_does_not_prove_in_time_is_turned_away(
    monkeypatch: pytest.MonkeyPatch, node: Node
) -> None:
    monkeypatch.setattr(server_connection, "HANDSHAKE_SECONDS", 0.05)
    async with stranger(node) as silent, stranger(node) as half:
        say(half, request(Op.HELLO, HELLO))
        for recorder in (silent, half):
            await recorder.until(lambda recorder: bool(recorder.lost_reasons))
    assert not node.server.connections


async def test_strangers_above_the_limit_are_turned_away_and_members_are_not(
    monkeypatch: pytest.MonkeyPatch, node: Node
) -> None:
    monkeypatch.setattr(server_connection, "HALF_OPEN_MOST", 3)
    pool, peer = client_of(node)
    connection = await pool.connect(peer, "calls", timeout=20)
    async with contextlib.AsyncExitStack() as stack:
        strangers = [await stack.enter_async_context(stranger(node)) for _ in range(5)]
        for recorder in strangers[3:]:
            await recorder.until(lambda recorder: bool(recorder.lost_reasons))
        assert not any(recorder.lost_reasons for recorder in strangers[:3])
        assert (await connection.call(read(1, 1), timeout=20)).payload == b"\1"
    await pool.close()


async def test_a_server_that_does_not_speak_the_protocol_is_refused(engine: Engine) -> None:
    class Web(Recorder):
        def received(self, count: int) -> None:
            self.link.write([b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n"])
            self.link.close()

    listener = await engine.transport.listen(engine.address(), Web)
    node = Node(engine)
    node.address = listener.address
    pool, peer = client_of(node)
    with pytest.raises((HandshakeError, ConnectionLostError), match="not a BenchFS connection"):
        await pool.connect(peer, "calls", timeout=20)
    await pool.close()
    listener.close()


@pytest.mark.parametrize("body", [[[]], ["1"], [True], [2**63], [51, 1, b""], [50], [50, 1, 2, 3]])
async def test_a_reply_that_makes_no_sense_ends_the_connection(
    node: Node, connection: Connection, body: list[object]
) -> None:
    call = asyncio.create_task(connection.call(SyncFile(1), timeout=20))
    await until(lambda: node.started)
    (served,) = node.server.connections
    served.link.write([encode(Kind.REPLY, connection._last_id, msgpack.packb(body))])
    served.link.flush()

    with pytest.raises(ConnectionLostError):
        await call
    await until(lambda: not node.server.connections)


async def test_the_proof_of_the_wire_is_that_of_the_handshake(node: Node) -> None:
    """A client written by hand from docs/PROTOCOL.md gets in."""
    connection = Connection(asyncio.get_running_loop())
    await node.engine.transport.connect(node.address, connection)
    hello = await connection.call(HELLO, timeout=20)
    assert isinstance(hello.message, HelloReply)
    assert hello.message.proof == proof(b"S", SECRET, NONCE, hello.message.nonce)
    assert hello.message.version == handshake_module.VERSION_GREATEST
    mine = proof(b"C", SECRET, NONCE, hello.message.nonce)
    welcome = await connection.call(Prove(mine, "calls", 1, 2), timeout=20)
    assert welcome.message[:2] == ("node-1", "cluster")
    connection.goodbye("done")
