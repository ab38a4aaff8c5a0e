"""What the suites of transports and calls run over: every engine, and the event loops.

A new engine joins all suites by one name in `links.ENGINES` and one branch in `links.engine_of`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from benchfs.rpc.connection import Connection
from tests.contract.links import ENGINES, Engine, engine_of
from tests.contract.rpc_node import Client, Node, client_of, running

# Suites whose subject drives the loop itself, and so is tried on both loops it is used with.
ON_BOTH_LOOPS = frozenset({"test_transport.py", "test_rpc.py", "test_rpc_handshake.py"})

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, LoopFactory]:
    if item.path.name in ON_BOTH_LOOPS:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    async with engine_of(request.param) as made:
        yield made


@pytest.fixture
async def node(engine: Engine) -> AsyncIterator[Node]:
    async with running(engine) as made:
        yield made


@pytest.fixture
async def client(node: Node) -> AsyncIterator[Client]:
    made = client_of(node)
    yield made
    await made.pool.close()


@pytest.fixture
async def connection(client: Client) -> Connection:
    return await client.pool.connect(client.peer, "calls", timeout=20)
