"""A node on a real socket, and peers that break the protocol: only they feel it."""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator

import msgpack
import pytest

from benchfs.rpc import server_connection
from benchfs.rpc.connection import Connection
from benchfs.rpc.frames import HEADER, Kind, encode
from benchfs.rpc.handshake import proof
from benchfs.rpc.messages import Code, Hello, Op, Prove, ReadChunk
from tests.contract.links import descriptors_fall_to, engine_of, open_descriptors
from tests.contract.rpc_node import SECRET, Node, client_of, running, until

NONCE = bytes(range(32))
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(params=["sockets-tcp", "sockets-unix"])
async def node(request: pytest.FixtureRequest) -> AsyncIterator[Node]:
    before = open_descriptors()
    async with engine_of(request.param) as engine, running(engine) as made:
        yield made
    await descriptors_fall_to(before)


@pytest.fixture
async def other(node: Node) -> AsyncIterator[Connection]:
    """A member whose connection must go on working, whatever others send."""
    pool, peer = client_of(node)
    connection = await pool.connect(peer, "calls", timeout=20)
    yield connection
    answer = await connection.call(ReadChunk(1, 5, 0, 100), timeout=20)
    assert answer.payload == b"\5" * 100
    assert len(node.server.connections) == 1, "of the bad connection nothing is left"
    await pool.close()


async def open_raw(node: Node) -> Streams:
    if node.address.startswith("unix://"):
        return await asyncio.open_unix_connection(node.address.removeprefix("unix://"))
    host, _, port = node.address.removeprefix("tcp://").rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def member(node: Node) -> Streams:
    """A raw connection that has proved the secret."""
    reader, writer = await open_raw(node)
    writer.write(request(Op.HELLO, Hello(1, 1, bytes(16), "client", NONCE, ())))
    _, body = await frame(reader)
    nonce = body[2]
    assert isinstance(nonce, bytes)
    mine = proof(b"C", SECRET, NONCE, nonce)
    writer.write(request(Op.PROVE, Prove(mine, "calls", 0, 0)))
    kind, body = await frame(reader)
    assert (kind, body[0]) == (Kind.REPLY, Op.PROVE)
    return reader, writer


async def frame(reader: asyncio.StreamReader) -> tuple[int, list[object]]:
    async with asyncio.timeout(20):
        _, _, kind, _, body, payload, _ = HEADER.unpack(await reader.readexactly(HEADER.size))
        values = msgpack.unpackb(await reader.readexactly(body)) if body else []
        await reader.readexactly(payload)
    return kind, values


async def ended(streams: Streams) -> str:
    """The reason that GOODBYE gave; nothing follows it."""
    reader, writer = streams
    kind, body = await frame(reader)
    assert kind == Kind.GOODBYE
    try:
        async with asyncio.timeout(20):
            assert await reader.read() == b""
    except ConnectionError:
        pass  # it closed while some of our bytes were unread
    await closed(writer)
    return str(body[0])


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await writer.wait_closed()
    except ConnectionError:
        pass


def request(op: int, fields: tuple[object, ...], call_id: int = 1) -> bytes:
    return encode(Kind.REQUEST, call_id, msgpack.packb([op, 1000, 0, 0, 0, 0, *fields]))


def header(**changes: int | bytes) -> bytes:
    values: dict[str, int | bytes] = {"magic": b"BF", "version": 1, "kind": 1, "call_id": 1}
    values |= {"body": 1, "payload": 0, "check": 0} | changes
    return HEADER.pack(*values.values())


BAD = [
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "not a BenchFS connection"),
    (b"\0" * 4096, "not a BenchFS connection"),
    (b"\xff" * 300_000, "not a BenchFS connection"),
    (header(version=9), "frame format 9"),
    (header(kind=77), "unknown frame kind 77"),
    (header(body=2**31), "a body of 2147483648 bytes"),
    (header(payload=2**32 - 1), "a payload of 4294967295 bytes"),
    (encode(Kind.REQUEST, 1, b"\x81\x01\x02"), "array|MessagePack"),
    (encode(Kind.REPLY, 1, msgpack.packb([50, 1])), "not expected by a node"),
    (encode(Kind.PING, 1, b"", 5) + b"12345", "no payload in this direction|is over 0"),
]


@pytest.mark.parametrize(("garbage", "reason"), BAD)
@pytest.mark.parametrize("proved", [False, True])
async def test_a_broken_stream_ends_with_a_reason(
    node: Node, other: Connection, garbage: bytes, reason: str, proved: bool
) -> None:
    streams = await (member if proved else open_raw)(node)
    streams[1].write(garbage)

    told = await ended(streams)

    assert any(part in told for part in reason.split("|")), told
    await until(lambda: len(node.server.connections) == 1)


async def test_a_truncated_frame_is_forgotten_with_its_connection(
    node: Node, other: Connection
) -> None:
    for place in (1, 23, 24, 30):
        _, writer = await member(node)
        writer.write(request(Op.READ_CHUNK, (1, 2, 0, 10))[:place])
        await writer.drain()
        await closed(writer)
    _, writer = await member(node)
    body = msgpack.packb([Op.WRITE_CHUNK, 1000, 0, 0, 1, 1, 1, 0, 0, 0, b""])
    writer.write(encode(Kind.REQUEST, 1, body, 1_000_000) + bytes(500_000))
    await writer.drain()
    await closed(writer)

    await until(lambda: len(node.server.connections) == 1)
    assert node.written == []


async def test_a_payload_that_fails_its_check_ends_the_connection(
    node: Node, other: Connection
) -> None:
    streams = await member(node)
    body = msgpack.packb([Op.WRITE_CHUNK, 1000, 0, 0, 1, 1, 1, 0, 0, 0, b""])
    streams[1].write(encode(Kind.REQUEST, 4, body, 5, check=12345) + b"hello")

    assert "call 4 fails its check" in await ended(streams)
    assert node.written == []


async def test_a_frame_in_single_bytes_is_answered_and_holds_up_nobody(
    node: Node, other: Connection
) -> None:
    reader, writer = await member(node)
    raw = request(Op.READ_CHUNK, (1, 2, 0, 10))
    for number in range(len(raw)):
        writer.write(raw[number : number + 1])
        await writer.drain()
        if number % 20 == 0:
            await other.call(ReadChunk(1, 1, 0, 1), timeout=20)

    kind, body = await frame(reader)
    assert (kind, body[0]) == (Kind.REPLY, Op.READ_CHUNK)
    await closed(writer)
    await until(lambda: len(node.server.connections) == 1)


async def test_who_dribbles_its_hello_runs_out_of_time(
    node: Node, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_connection, "HANDSHAKE_SECONDS", 0.2)
    reader, writer = await open_raw(node)
    raw = request(Op.HELLO, Hello(1, 1, bytes(16), "client", NONCE, ()))
    try:
        for byte in raw[:-1]:
            writer.write(bytes([byte]))
            await writer.drain()
        async with asyncio.timeout(20):
            await reader.read()
    except ConnectionError:
        pass
    await closed(writer)
    await until(lambda: len(node.server.connections) == 1)


@pytest.mark.parametrize(
    ("op", "fields", "code"),
    [
        (999, (), Code.UNKNOWN_OPERATION),
        (Op.GET_MAP, (), Code.UNKNOWN_OPERATION),
        (Op.HELLO, (1, 1, bytes(16), "client", NONCE, ()), Code.UNKNOWN_OPERATION),
        (Op.READ_CHUNK, (), Code.BAD_MESSAGE),
        (Op.READ_CHUNK, (1, 2, 0, -1), Code.BAD_MESSAGE),
        (Op.READ_CHUNK, (1, 2, 0, "ten"), Code.BAD_MESSAGE),
        (Op.LOOKUP, (1, b"x" * 256), Code.BAD_MESSAGE),
    ],
)
async def test_a_wrong_request_is_an_error_and_the_connection_goes_on(
    node: Node, other: Connection, op: int, fields: tuple[object, ...], code: Code
) -> None:
    reader, writer = await member(node)
    writer.write(request(op, fields, 7) + request(Op.READ_CHUNK, (1, 2, 0, 10), 8))

    kind, body = await frame(reader)
    assert (kind, body[0], body[1]) == (Kind.ERROR, op, code)
    kind, body = await frame(reader)
    assert (kind, body[0]) == (Kind.REPLY, Op.READ_CHUNK)
    await closed(writer)
    await until(lambda: len(node.server.connections) == 1)


async def test_a_call_id_that_is_in_flight_may_not_come_again(
    node: Node, other: Connection
) -> None:
    streams = await member(node)
    streams[1].write(request(Op.SYNC_FILE, (1,), 7) + request(Op.SYNC_FILE, (1,), 7))

    assert "call 7 is already in flight" in await ended(streams)
    await until(lambda: not node.server.tasks)


async def test_random_changes_of_good_requests_leave_the_node_whole(
    node: Node, other: Connection
) -> None:
    rng = random.Random(20)
    for number in range(150):
        _, writer = await member(node)
        raw = bytearray(request(Op.READ_CHUNK, (1, 2, 0, 10)) * 3)
        for _ in range(rng.randrange(1, 4)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        writer.write(raw)
        if number % 2:
            writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        await closed(writer)
    await until(lambda: len(node.server.connections) == 1 and not node.server.tasks)
