"""The engines that the transport and RPC contracts run over, and the event loops they run on.

A new engine joins both suites by one line in `ENGINES` and one branch in `engine`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import uvloop

from benchfs.rpc.transports.base import Transport
from benchfs.rpc.transports.memory import MemoryNetwork
from benchfs.rpc.transports.sockets import SocketTransport

ENGINES = ("sockets-tcp", "sockets-unix", "memory")
# Suites whose subject drives the loop itself, and so is tried on both loops it is used with.
ON_BOTH_LOOPS = frozenset({"test_transport.py", "test_rpc.py"})

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


class Engine(NamedTuple):
    """A transport with an address to listen on, and what it says it can do."""

    name: str
    transport: Transport
    address: str
    passes_descriptors: bool = False
    vouches_for_peer: bool = False  # the kernel says which user is at the other end


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, LoopFactory]:
    if item.path.name in ON_BOTH_LOOPS:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest, short_tmp: Path) -> AsyncIterator[Engine]:
    name = str(request.param)
    if name == "sockets-tcp":
        yield Engine(name, SocketTransport(), "tcp://127.0.0.1:0")
    elif name == "sockets-unix":
        address = f"unix://{short_tmp}/socket"
        yield Engine(name, SocketTransport(), address, True, True)
    else:
        yield Engine(name, MemoryNetwork().transport("client"), "mem://server", True)
