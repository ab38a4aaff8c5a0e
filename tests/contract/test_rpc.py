"""Calls over every engine: answers, deadlines, cancellation, credits, and lost peers."""

import asyncio
import errno
from collections.abc import Callable
from typing import Any

import pytest

from benchfs.rpc import connection as connection_module
from benchfs.rpc import server_connection
from benchfs.rpc.connection import Answer, Connection
from benchfs.rpc.errors import (
    CallTimeoutError,
    ConnectionLostError,
    RemoteError,
)
from benchfs.rpc.messages import (
    Code,
    Empty,
    GetMap,
    GetStatus,
    Lookup,
    Op,
    SyncFile,
    Unlink,
    WriteChunk,
    WriteChunkReply,
)
from benchfs.rpc.server import Call, Reply
from benchfs.rpc.server_connection import FIRST_GROUP
from benchfs.rpc.transports.base import HIGH_WATER_BYTES, Link
from tests.contract.links import DEADLINE_SECONDS, Engine, turns
from tests.contract.rpc_node import Node, client_of, read, request, running, until

MIB = 1024 * 1024


# -------------------------------------------------------------------- answers


async def test_answers_come_in_any_order(node: Node, connection: Connection) -> None:
    calls = [asyncio.create_task(connection.call(SyncFile(ino), timeout=20)) for ino in range(5)]
    await until(lambda: len(node.started) == 5)
    assert (await connection.call(read(3, 10), timeout=20)).payload == b"\3" * 10
    for ino in (3, 0, 4, 2, 1):
        node.let_go(ino)
        answer = await calls[ino]
        assert answer == Answer(Empty(), None)
    assert connection.in_flight == 0


async def test_a_payload_is_received_into_the_given_buffer(connection: Connection) -> None:
    into = memoryview(bytearray(4 * MIB))

    answer = await connection.call(read(7, 4 * MIB), timeout=20, into=into)

    assert answer.payload is not None
    assert answer.payload.obj is into.obj
    assert into == b"\7" * (4 * MIB)


async def test_a_payload_that_does_not_fit_leaves_the_buffer_alone(connection: Connection) -> None:
    into = memoryview(bytearray(10))

    answer = await connection.call(read(7, 11), timeout=20, into=into)

    assert answer.payload == b"\7" * 11
    assert bytes(into) == bytes(10)


async def test_requests_take_payloads_along(node: Node, connection: Connection) -> None:
    parts = [b"a" * MIB, memoryview(b"b" * MIB), bytearray(b"c" * 100)]
    message = WriteChunk(1, 0, 0, 0, b"")

    first = await connection.call(message, timeout=20, payload=parts)
    second = await connection.call(message, timeout=20, payload=[b"x"])

    assert first.message == WriteChunkReply(1)
    assert second.message == WriteChunkReply(2)
    assert node.written == [b"".join(parts), b"x"]


async def test_errors_of_a_handler_come_out_with_all_they_say(connection: Connection) -> None:
    with pytest.raises(RemoteError) as caught:
        await connection.call(Lookup(1, b"x"), timeout=20)

    failure = caught.value
    assert (failure.code, failure.text, failure.path) == (2, "no such file", b"/a/b")
    assert (failure.node, failure.detail) == ("node-1", b"more")


async def test_a_handler_that_breaks_is_an_error_of_that_call_only(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RemoteError) as caught:
        await connection.call(GetStatus(), timeout=20)
    assert caught.value.code == errno.EIO
    assert "ZeroDivisionError" in caplog.text

    assert (await connection.call(read(1, 1), timeout=20)).payload == b"\1"


async def test_an_operation_that_the_node_lacks_is_an_error(connection: Connection) -> None:
    with pytest.raises(RemoteError) as caught:
        await connection.call(GetMap(), timeout=20)
    assert caught.value.code == Code.UNKNOWN_OPERATION


async def test_a_bad_message_is_an_error(connection: Connection) -> None:
    with pytest.raises(RemoteError) as caught:
        await connection.call(Lookup(-1, b"x"), timeout=20)
    assert caught.value.code == Code.BAD_MESSAGE


# -------------------------------------------------------------------- deadlines, cancellation


async def test_a_deadline_ends_the_call_and_the_node_stops_working_on_it(
    node: Node, connection: Connection
) -> None:
    with pytest.raises((CallTimeoutError, RemoteError)):
        await connection.call(SyncFile(1), timeout=0.1)

    await until(lambda: node.cancelled == [1])
    assert connection.in_flight == 0


async def test_what_is_cancelled_is_cancelled_at_the_node(
    node: Node, connection: Connection
) -> None:
    call = asyncio.create_task(connection.call(SyncFile(1), timeout=20))
    await until(lambda: node.started == [1])

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    await until(lambda: not node.server.tasks)
    assert node.cancelled == [1]


async def test_a_mutation_is_finished_though_nobody_waits(
    node: Node, connection: Connection
) -> None:
    call = asyncio.create_task(connection.call(Unlink(1, b"name"), timeout=20, slot=1, sequence=1))
    await until(lambda: node.started == [1])
    call.cancel()
    await asyncio.wait([call])
    await connection.call(read(1, 1), timeout=20)  # CANCEL has arrived before this

    node.let_go(1)
    await until(lambda: node.unlinked == [b"name"])


async def test_a_request_and_its_cancel_in_one_receive_leave_nothing(
    node: Node, connection: Connection
) -> None:
    for _ in range(20):
        call = asyncio.create_task(connection.call(SyncFile(1), timeout=20))
        await asyncio.sleep(0)  # the request is queued, and leaves with its CANCEL
        call.cancel()
        await asyncio.wait([call])
    await connection.call(read(1, 1), timeout=20)

    await until(lambda: not node.server.tasks)
    (served,) = node.server.connections
    assert served._tasks == {}


async def test_a_late_payload_does_not_touch_the_buffer_of_a_cancelled_call(
    node: Node, connection: Connection
) -> None:
    into = memoryview(bytearray(8 * MIB))
    call = asyncio.create_task(connection.call(read(9, 8 * MIB), timeout=20, into=into))
    await until(lambda: into[0] == 9 or call.done())  # it is arriving
    call.cancel()
    await asyncio.wait([call])
    into[:] = bytes(8 * MIB)

    assert (await connection.call(read(1, 3), timeout=20)).payload == b"\1\1\1"
    assert not any(bytes(into[-MIB:]))
    assert not any(bytes(into[:MIB]))


# -------------------------------------------------------------------- credits


async def test_no_more_calls_are_in_flight_than_the_node_allows(
    monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    monkeypatch.setattr(server_connection, "CREDITS", 4)
    async with running(engine) as node:
        pool, peer = client_of(node)
        connection = await pool.connect(peer, "calls", timeout=20)
        for start in range(0, 100, 20):
            calls = [
                asyncio.create_task(connection.call(SyncFile(start + n), timeout=10))
                for n in range(20)
            ]
            for done in range(20):
                await until(lambda: len(node.started) > start + done)  # noqa: B023
                assert connection.in_flight <= 4
                if done % 4 == 3:  # four answers at once free four credits
                    for ino in node.started[-4:]:
                        node.let_go(ino)
            await asyncio.gather(*calls)
        assert connection.ended is None
        assert len(node.started) == 100
        await pool.close()


async def test_cancelled_waiters_for_a_credit_pass_it_on(
    monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    monkeypatch.setattr(server_connection, "CREDITS", 1)
    async with running(engine) as node:
        pool, peer = client_of(node)
        connection = await pool.connect(peer, "calls", timeout=20)
        first = asyncio.create_task(connection.call(SyncFile(1), timeout=20))
        await until(lambda: node.started == [1])
        waiting = [asyncio.create_task(connection.call(read(1, 1), timeout=20)) for _ in range(9)]
        with pytest.raises(CallTimeoutError, match="too many are in flight"):
            await connection.call(read(1, 1), timeout=0.01)
        for task in waiting[:8:2]:
            task.cancel()
        node.let_go(1)
        await first
        waiting[1].cancel()  # granted or not
        results = await asyncio.gather(*waiting, return_exceptions=True)

        assert sum(isinstance(result, Answer) for result in results) >= 4
        assert (await connection.call(read(1, 1), timeout=20)).payload == b"\1"
        await pool.close()


# -------------------------------------------------------------------- the gate


class FakeGate:
    """A storage whose transaction is committed by hand."""

    def __init__(self) -> None:
        self.batch_open = False
        self.callbacks: list[Callable[[], None]] = []

    def on_commit(self, callback: Callable[[], None]) -> None:
        if self.batch_open:
            self.callbacks.append(callback)
        else:
            callback()

    def commit(self) -> None:
        self.batch_open = False
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            callback()


async def test_answers_leave_while_later_requests_of_a_turn_are_handled(
    monkeypatch: pytest.MonkeyPatch, node: Node, connection: Connection
) -> None:
    (served,) = node.server.connections
    link_type = type(served.link)
    written: list[int] = []
    write = link_type.write

    def counted(link: Link, *arguments: Any, **named: Any) -> None:
        if link is served.link:
            written.append(1)
        write(link, *arguments, **named)

    seen: list[int] = []

    def answered(call: Call) -> Reply:
        seen.append(len(written))
        return node.read(call)

    monkeypatch.setattr(link_type, "write", counted)
    node.server.handlers[Op.READ_CHUNK] = answered  # type: ignore[index]

    async with asyncio.timeout(DEADLINE_SECONDS):
        await asyncio.gather(
            *(connection.call(read(index, 1), timeout=30) for index in range(1 + 7 * FIRST_GROUP))
        )

    # The first is alone in its turn; of the others each group, twice as many as the one before, is
    # gone as the next one begins.
    assert seen[-1] - seen[1] >= 2


async def test_nothing_is_answered_before_the_commit(engine: Engine) -> None:
    gate = FakeGate()
    async with running(engine, gate) as node:
        pool, peer = client_of(node)
        connection = await pool.connect(peer, "calls", timeout=20)
        gate.batch_open = True
        calls = [asyncio.create_task(connection.call(read(n, 5), timeout=20)) for n in range(3)]
        await until(lambda: gate.callbacks)
        await turns(50)
        assert not any(call.done() for call in calls)
        assert node.sent_payloads == 0

        gate.commit()
        for number, answer in enumerate(await asyncio.gather(*calls)):
            assert answer.payload == bytes([number]) * 5
        assert node.sent_payloads == 3
        await pool.close()


async def test_held_replies_are_done_with_when_their_connection_is_gone(engine: Engine) -> None:
    gate = FakeGate()
    async with running(engine, gate) as node:
        pool, peer = client_of(node)
        connection = await pool.connect(peer, "calls", timeout=20)
        gate.batch_open = True
        frames = [request(Op.READ_CHUNK, read(1, 5), number) for number in (7, 8)]
        connection.link.write([*frames, b"garbage that is no frame at all"])
        connection.link.flush()
        await until(lambda: not node.server.connections)

        gate.commit()

        assert node.sent_payloads == 2
        await until(lambda: connection.ended)
        await pool.close()


# -------------------------------------------------------------------- slow and dead peers


async def test_a_client_that_does_not_read_is_not_served_out_of_bounds(
    node: Node, connection: Connection
) -> None:
    connection.link.pause_reading()
    calls = [asyncio.create_task(connection.call(read(n, MIB), timeout=30)) for n in range(64)]
    await until(lambda: connection.link.waiting_bytes == 0 and connection.in_flight == 64)
    (served,) = node.server.connections
    await until(lambda: served._backlog)
    await turns(100)
    assert served.link.waiting_bytes <= HIGH_WATER_BYTES + 2 * MIB

    connection.link.resume_reading()
    for number, answer in enumerate(await asyncio.gather(*calls)):
        assert answer.payload == bytes([number]) * MIB
    await until(lambda: node.sent_payloads == 64)


async def test_a_dead_node_is_noticed_and_all_calls_fail_at_once(
    monkeypatch: pytest.MonkeyPatch, node: Node, connection: Connection
) -> None:
    monkeypatch.setattr(connection_module, "PING_AFTER_SECONDS", 0.1)
    monkeypatch.setattr(connection_module, "DEAD_AFTER_SECONDS", 0.3)
    (served,) = node.server.connections
    served.link.pause_reading()

    calls = [asyncio.create_task(connection.call(read(1, 1), timeout=30)) for _ in range(3)]
    results = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(result) for result in results] == [ConnectionLostError] * 3
    assert "has not answered" in str(results[0])


async def test_while_an_answer_is_waited_for_the_node_gives_signs_of_life(
    monkeypatch: pytest.MonkeyPatch, node: Node, connection: Connection
) -> None:
    monkeypatch.setattr(connection_module, "PING_AFTER_SECONDS", 0.01)
    call = asyncio.create_task(connection.call(SyncFile(1), timeout=30))
    await until(lambda: node.started)
    for _ in range(3):
        before = connection.last_heard
        await until(lambda: connection.last_heard > before)  # noqa: B023

    node.let_go(1)
    assert (await call).message == Empty()


async def test_a_node_that_stops_tells_its_clients(node: Node, connection: Connection) -> None:
    call = asyncio.create_task(connection.call(SyncFile(1), timeout=30))
    await until(lambda: node.started)

    await node.server.close(0)

    with pytest.raises(ConnectionLostError, match="the node is stopping"):
        await call
    with pytest.raises(ConnectionLostError) as caught:
        await connection.call(read(1, 1), timeout=1)
    assert not caught.value.sent


# -------------------------------------------------------------------- the pool


async def test_a_lost_connection_is_made_again(node: Node) -> None:
    pool, peer = client_of(node)
    first = await pool.connect(peer, "calls", timeout=20)
    assert pool.ready(peer.node_id, "calls") is first
    assert await pool.connect(peer, "calls", timeout=20) is first
    first.abort("a test")
    assert pool.ready(peer.node_id, "calls") is None

    second = await pool.connect(peer, "calls", timeout=20)
    assert second is not first
    assert (await second.call(read(1, 1), timeout=20)).payload == b"\1"
    await pool.close()
    with pytest.raises(ConnectionLostError, match="closed"):
        await pool.connect(peer, "calls", timeout=20)


async def test_attempts_wait_longer_after_each_failure(engine: Engine) -> None:
    async with running(engine) as node:
        pool, peer = client_of(node)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(5):
        with pytest.raises(ConnectionLostError) as caught:
            await pool.connect(peer, "calls", timeout=20)
        assert not caught.value.sent
    # 20, 40, 80 and 160 ms stand before the last four attempts, each shortened by half at most
    assert loop.time() - began >= 0.14
    await pool.close()


async def test_many_callers_share_one_connection(node: Node) -> None:
    pool, peer = client_of(node)
    found = await asyncio.gather(*(pool.connect(peer, "calls", timeout=20) for _ in range(20)))
    assert len(set(map(id, found))) == 1
    assert len(node.server.connections) == 1
    await pool.close()
