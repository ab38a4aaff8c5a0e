"""A thousand connections that are gone all at once leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

import benchfs
from benchfs.bench.processes import resident_bytes
from benchfs.instance import Endpoints, find
from benchfs.rpc.connection import Connection
from benchfs.rpc.errors import ConnectionLostError
from benchfs.rpc.messages import GetStatus, StatusReply, SyncFile
from benchfs.rpc.pool import Credentials, Peer, Pool
from benchfs.rpc.server_connection import HALF_OPEN_MOST
from benchfs.rpc.transports.base import Transport
from benchfs.rpc.transports.choose import choose
from tests.contract.links import descriptors_fall_to, engine_of, open_descriptors
from tests.contract.rpc_node import client_of, running, until

COUNT = 1000
NEEDED_FILES = 4096
ENGINES = ("sockets", "uring")
# Allocators keep some of what was freed, and take more now and then; what leaks grows every time.
# One buffer of 64 KiB left by each would be 62 MiB.
MOST_GROWTH_BYTES = 4 << 20
MOST_WAVES = 6


@pytest.fixture(autouse=True)
def _many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < NEEDED_FILES:
        pytest.skip(f"needs {NEEDED_FILES} open files (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < NEEDED_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (NEEDED_FILES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def engine_that_works(name: str) -> Transport:
    engines = choose(name)
    if engines.summary != name:
        pytest.skip(f"needs the engine {name}: {engines.summary}")
    return engines.transport("tcp")


class Crowd:
    """Clients of one daemon, each with a connection of its own."""

    def __init__(self, transport: Transport, endpoints: Endpoints) -> None:
        self._transport = transport
        self._endpoints = endpoints
        self._turn = asyncio.Semaphore(HALF_OPEN_MOST // 2)

    async def one(self) -> Connection:
        who = Credentials(self._endpoints.secret, os.urandom(16), "client", 0, 0, os.urandom)
        pool = Pool(lambda _: self._transport, who)
        async with self._turn:
            peer = Peer("", self._endpoints.addresses)
            return await pool.connect(peer, "calls", timeout=100)

    async def wave(self) -> None:
        """A thousand come, each is answered, and all of them are gone in one turn of the loop."""
        connections = await asyncio.gather(*[self.one() for _ in range(COUNT)])
        assert len({id(connection) for connection in connections}) == COUNT
        for connection in connections[::100]:
            assert (await figures(connection)).connections == COUNT + 1
        for connection in connections:
            connection.abort("gone")


def settled(memory: list[int]) -> bool:
    """Whether the last wave left as much as the one before."""
    return len(memory) > 1 and memory[-1] - memory[-2] < MOST_GROWTH_BYTES


async def figures(connection: Connection) -> StatusReply:
    answer = await connection.call(GetStatus(), timeout=100)
    assert isinstance(answer.message, StatusReply)
    return answer.message


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_daemon_is_as_before_when_a_thousand_connections_have_gone(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCHFS_TRANSPORT", raising=False)
    transport = engine_that_works(engine)
    with benchfs.LocalCluster(nodes=1, settings={"transport": engine}) as cluster:
        crowd = Crowd(transport, await find(str(cluster.directory)))
        pid = cluster.nodes[0].pid
        watch = await crowd.one()
        assert (await figures(watch)).transport.startswith(f"{engine}; ")
        before = open_descriptors(pid)
        memory: list[int] = []
        while not settled(memory):
            assert len(memory) < MOST_WAVES, memory
            await crowd.wave()
            async with asyncio.timeout(100):
                while (await figures(watch)).connections > 1:
                    await asyncio.sleep(0.01)
            await descriptors_fall_to(before, pid)
            memory.append(resident_bytes(pid))
        watch.abort("done")
        assert "error" not in Path(cluster.nodes[0].log).read_text().lower()


@pytest.mark.parametrize("engine", ENGINES)
async def test_calls_of_a_thousand_lost_connections_leave_no_task(engine: str) -> None:
    engine_that_works(engine)
    tasks = asyncio.all_tasks()
    before = open_descriptors()
    async with engine_of(f"{engine}-tcp") as made, running(made) as node:
        turn = asyncio.Semaphore(HALF_OPEN_MOST // 2)

        async def connect() -> Connection:
            client = client_of(node)
            async with turn:
                return await client.pool.connect(client.peer, "calls", timeout=100)

        connections = await asyncio.gather(*[connect() for _ in range(COUNT)])
        calls = [
            asyncio.create_task(connection.call(SyncFile(number), timeout=100))
            for number, connection in enumerate(connections)
        ]
        await until(lambda: len(node.server.tasks) == COUNT)
        for connection in connections:
            connection.abort("gone")
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, ConnectionLostError) for outcome in outcomes)
        await until(lambda: not node.server.connections and not node.server.tasks)
        assert sorted(node.cancelled) == list(range(COUNT))
        del connections, calls, outcomes
        assert asyncio.all_tasks() == tasks
    await descriptors_fall_to(before)


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_connection_that_ended_is_freed_at_once_and_not_by_the_collector(
    engine: str,
) -> None:
    engine_that_works(engine)
    gc.disable()
    try:
        async with engine_of(f"{engine}-tcp") as made, running(made) as node:
            client = client_of(node)
            connection = await client.pool.connect(client.peer, "calls", timeout=100)
            (at_the_node,) = map(weakref.ref, node.server.connections)
            connection.abort("gone")
            await until(lambda: not node.server.connections)
            await until(lambda: at_the_node() is None)
    finally:
        gc.enable()
