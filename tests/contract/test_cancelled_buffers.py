"""Whoever cancels a call has the buffer back: nothing writes into it any more, on any engine."""

import asyncio
from collections.abc import AsyncIterator

import msgpack
import pytest

from benchfs.rpc.connection import Connection
from benchfs.rpc.errors import ConnectionLostError
from benchfs.rpc.frames import HEADER_BYTES, Kind, encode
from benchfs.rpc.messages import Op, ReadChunk, ReadChunkReply
from tests.contract.links import Engine, Recorder, turns

SIZE = 300_000
HEAD = encode(Kind.REPLY, 1, msgpack.packb((int(Op.READ_CHUNK), 1, b"")), SIZE)
REPLY = HEAD + b"\xaa" * SIZE
LARGE = 8 * 1024 * 1024
LARGE_HEAD = encode(Kind.REPLY, 1, msgpack.packb((int(Op.READ_CHUNK), 1, b"")), LARGE)
AFTER = encode(Kind.REPLY, 2, msgpack.packb((int(Op.READ_CHUNK), 1, b"")), 3) + b"end"
# Before the reply, inside its header, between header and payload, inside the payload, at its end.
POINTS = [0, 1, HEADER_BYTES, len(HEAD), len(HEAD) + 1, 65_536, 200_000, len(REPLY) - 1]


class Ends:
    """A client's connection, and the raw link at the other end."""

    def __init__(self, connection: Connection, peer: Recorder) -> None:
        self.connection = connection
        self.peer = peer

    async def send(self, data: bytes) -> None:
        self.peer.link.write([data])
        self.peer.link.flush()
        while self.peer.link.waiting_bytes:
            await asyncio.sleep(0)
        await turns(20)


@pytest.fixture
async def ends(engine: Engine) -> AsyncIterator[Ends]:
    peer = Recorder()
    listener = await engine.transport.listen(engine.address(), lambda: peer)
    connection = Connection(asyncio.get_running_loop())
    await engine.transport.connect(listener.address, connection)
    await peer.until(lambda peer: peer.connected_count == 1)
    yield Ends(connection, peer)
    listener.close()
    connection.abort("the test is over")
    peer.link.abort()


async def begin(ends: Ends, into: memoryview) -> asyncio.Task[object]:
    """A call under way: its request has arrived."""
    seen = len(ends.peer.data)
    request = ReadChunk(1, 0, 0, len(into))
    call = asyncio.create_task(ends.connection.call(request, timeout=20, into=into))
    await ends.peer.until(lambda peer: len(peer.data) > seen)
    return call


@pytest.mark.parametrize("point", POINTS)
async def test_a_cancelled_call_leaves_its_buffer_alone(ends: Ends, point: int) -> None:
    into = memoryview(bytearray(SIZE))
    call = await begin(ends, into)
    await ends.send(REPLY[:point])

    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    into[:] = b"\x55" * SIZE
    await ends.send(REPLY[point:])
    answer = asyncio.create_task(
        ends.connection.call(ReadChunk(1, 0, 0, 3), timeout=20, into=memoryview(bytearray(3)))
    )
    await turns()
    await ends.send(AFTER)

    assert bytes((await answer).payload or b"") == b"end"
    assert into == b"\x55" * SIZE


@pytest.mark.parametrize("point", POINTS)
async def test_a_lost_connection_leaves_the_buffers_of_its_calls_alone(
    ends: Ends, point: int
) -> None:
    into = memoryview(bytearray(SIZE))
    call = await begin(ends, into)
    await ends.send(REPLY[:point])

    ends.connection.abort("given up")
    with pytest.raises(ConnectionLostError, match="given up"):
        await call
    into[:] = b"\x55" * SIZE
    await ends.send(REPLY[point:])

    assert into == b"\x55" * SIZE


@pytest.mark.parametrize("turn", [*range(1, 12), 20])
async def test_a_call_cancelled_while_its_payload_is_moving_leaves_its_buffer_alone(
    ends: Ends, turn: int
) -> None:
    """A payload in a buffer of its own, as nodes send it: some engines move it without a copy."""
    into = memoryview(bytearray(LARGE))
    call = await begin(ends, into)
    ends.peer.link.write([LARGE_HEAD, b"\xaa" * LARGE])
    ends.peer.link.flush()
    await turns(turn)

    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    into[:] = b"\x55" * LARGE
    answer = asyncio.create_task(
        ends.connection.call(ReadChunk(1, 0, 0, 3), timeout=20, into=memoryview(bytearray(3)))
    )
    await turns()
    await ends.send(AFTER)

    assert bytes((await answer).payload or b"") == b"end"
    assert into == b"\x55" * LARGE


async def test_the_bytes_that_came_before_the_cancellation_are_not_lost(ends: Ends) -> None:
    """A second call's reply stands behind the first one's, in the same bytes."""
    first, second = memoryview(bytearray(SIZE)), memoryview(bytearray(3))
    calls = [await begin(ends, first), await begin(ends, second)]
    await ends.send(REPLY[:-1])
    ends.peer.link.write([REPLY[-1:], AFTER])
    ends.peer.link.flush()

    calls[0].cancel()

    assert (await calls[1]).message == ReadChunkReply(1, b"")  # type: ignore[attr-defined]
    assert bytes(second) == b"end"
