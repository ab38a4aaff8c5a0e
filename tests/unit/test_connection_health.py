"""When a connection counts as dead, in virtual time: no load of the machine decides a test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from benchfs.bench.simulate import clock
from benchfs.rpc.connection import (
    DEAD_AFTER_SECONDS,
    LATE_SECONDS,
    PING_AFTER_SECONDS,
    SWEEP_SECONDS,
    Connection,
)
from benchfs.rpc.errors import ConnectionLostError
from benchfs.rpc.messages import Empty, SyncFile, WriteChunk
from tests.contract.links import engine_of
from tests.contract.rpc_node import Node, client_of, running, until

PATIENCE_SECONDS = 100 * DEAD_AFTER_SECONDS
PAYLOAD = bytes(16 << 20)


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[Node, Connection]]:
    """A node, and a connection to it that has shaken hands."""
    async with engine_of("memory") as engine, running(engine) as node:
        client = client_of(node)
        yield node, await client.pool.connect(client.peer, "calls", timeout=PATIENCE_SECONDS)
        await client.pool.close()


def in_virtual_time(test: Callable[[Node, Connection], Awaitable[None]]) -> None:
    async def run() -> None:
        async with connected() as (node, connection):
            await test(node, connection)

    clock.run(run())


def call(connection: Connection) -> asyncio.Task[object]:
    """One that the node answers when it is told to."""
    return asyncio.create_task(connection.call(SyncFile(1), timeout=PATIENCE_SECONDS))


def test_a_slow_answer_of_a_living_node_is_waited_for() -> None:
    async def wait(node: Node, connection: Connection) -> None:
        waiting = call(connection)
        await asyncio.sleep(10 * DEAD_AFTER_SECONDS)

        node.let_go(1)
        assert (await waiting).message == Empty()  # type: ignore[attr-defined]

    in_virtual_time(wait)


def test_a_silent_node_is_given_up_when_its_time_is_over_and_not_before() -> None:
    async def fall_silent(node: Node, connection: Connection) -> None:
        (served,) = node.server.connections
        served.link.pause_reading()
        began = connection.loop.time()

        with pytest.raises(ConnectionLostError, match="has not answered"):
            await call(connection)

        passed = connection.loop.time() - began
        assert DEAD_AFTER_SECONDS < passed < DEAD_AFTER_SECONDS + 3 * SWEEP_SECONDS

    in_virtual_time(fall_silent)


def test_a_node_that_takes_a_long_upload_is_not_dead() -> None:
    """The PING stands behind what is uploaded: that it goes down is the sign of life."""

    async def upload(node: Node, connection: Connection) -> None:
        (served,) = node.server.connections
        received = served.received
        began = connection.loop.time()

        def slowly(count: int) -> None:
            received(count)
            served.link.pause_reading()
            connection.loop.call_later(PING_AFTER_SECONDS, served.link.resume_reading)

        served.received = slowly  # type: ignore[method-assign]
        await connection.call(
            WriteChunk(1, 0, 0, 0, b""), timeout=PATIENCE_SECONDS, payload=[PAYLOAD]
        )

        assert connection.loop.time() - began > 2 * DEAD_AFTER_SECONDS
        assert node.written == [PAYLOAD]

    in_virtual_time(upload)


def test_a_client_that_stood_still_reads_before_it_gives_anybody_up() -> None:
    async def stand_still(node: Node, connection: Connection) -> None:
        assert isinstance(connection.loop, clock.VirtualLoop)
        waiting = call(connection)
        await until(lambda: node.started)

        connection.loop.jump(DEAD_AFTER_SECONDS + LATE_SECONDS + 1)
        await asyncio.sleep(DEAD_AFTER_SECONDS + 1)

        assert not waiting.done()
        node.let_go(1)
        await waiting

    in_virtual_time(stand_still)
