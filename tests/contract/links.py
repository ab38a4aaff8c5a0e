"""Engines under test, and a receiver that records what it was told."""

import asyncio
import contextlib
import gc
import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

from benchfs.rpc.transports.base import Link, Listener, Receiver, Transport
from benchfs.rpc.transports.memory import MemoryNetwork
from benchfs.rpc.transports.sockets import SocketTransport
from benchfs.rpc.transports.ucx.transport import UcxTransport
from benchfs.rpc.transports.ucx.worker import hold
from benchfs.rpc.transports.uring import UringTransport

DEADLINE_SECONDS = 60.0


class Engine(NamedTuple):
    """A transport, fresh addresses on it, and what it is able to do beyond the contract."""

    transport: Transport
    address: Callable[[], str]
    passes_descriptors: bool = False
    knows_the_peer: bool = False
    has_paths: bool = False


# Where UCX listens: an RDMA device's address for the tests over RDMA (tests/rdma).
UCX_IP = os.environ.get("BENCHFS_TEST_UCX_IP", "127.0.0.1")
ENGINES: tuple[str, ...] = ("sockets-tcp", "sockets-unix", "uring-tcp", "uring-unix", "memory")
if os.environ.get("UCX_TLS"):  # read once a process: tests/contract/test_ucx.py starts one for each
    ENGINES = ("ucx",)
WITH_PATHS = tuple(name for name in ENGINES if name.endswith("-unix"))
PASSING_DESCRIPTORS = tuple(name for name in ("memory", *WITH_PATHS) if name in ENGINES)
# What waits at a link of these becomes less little by little; ucx hands over a buffer as a whole.
LITTLE_BY_LITTLE = tuple(name for name in ENGINES if name != "ucx")
OVER_THE_KERNEL: dict[str, Callable[[], Transport]] = {
    "sockets": SocketTransport,
    "uring": UringTransport,
}


@contextlib.asynccontextmanager
async def engine_of(name: str) -> AsyncIterator[Engine]:
    """The engine of a name. Another engine is another branch here, and a name in ENGINES."""
    numbers = itertools.count(1)
    with tempfile.TemporaryDirectory(prefix="bfs-") as folder:
        engine, _, scheme = name.partition("-")
        if scheme == "tcp":
            yield Engine(OVER_THE_KERNEL[engine](), lambda: "tcp://127.0.0.1:0")
        elif scheme == "unix":
            yield Engine(
                OVER_THE_KERNEL[engine](),
                lambda: f"unix://{Path(folder) / f'{next(numbers)}.sock'}",
                passes_descriptors=True,
                knows_the_peer=True,
                has_paths=True,
            )
        elif engine == "ucx":
            yield Engine(UcxBetweenWorkers(), lambda: f"ucx://{UCX_IP}:0")
        else:
            assert name == "memory"
            yield Engine(
                MemoryNetwork().transport("client"),
                lambda: f"mem://node-{next(numbers)}",
                passes_descriptors=True,
            )


class UcxBetweenWorkers:
    """UCX whose two ends have a worker each, as in two processes: one would talk to itself."""

    name = "ucx"
    schemes = frozenset({"ucx"})

    def __init__(self) -> None:
        self._near = UcxTransport(hold=lambda: hold("near"))
        self._far = UcxTransport(hold=lambda: hold("far"))
        self.summary = self._near.summary

    async def connect(self, address: str, receiver: Receiver) -> Link:
        return await self._near.connect(address, receiver)

    async def listen(self, address: str, accept: Callable[[], Receiver]) -> Listener:
        return await self._far.listen(address, accept)


class Recorder:
    """Records all that a link tells it."""

    link: Link

    def __init__(self, buffer_bytes: int = 64 * 1024) -> None:
        self.data = bytearray()
        self.count = 0
        self.keep = True
        self.drained_count = 0
        self.lost_reasons: list[str] = []
        self.connected_count = 0
        self._buffer = memoryview(bytearray(buffer_bytes))
        self._changed = asyncio.Event()

    def connected(self, link: Link) -> None:
        assert not self.lost_reasons
        self.link = link
        self.connected_count += 1
        self._changed.set()

    def get_buffer(self) -> memoryview:
        return self._buffer

    def received(self, count: int) -> None:
        assert self.connected_count == 1
        assert not self.lost_reasons, "nothing comes after lost"
        self.count += count
        if self.keep:
            self.data += self._buffer[:count]
        self._changed.set()

    def drained(self) -> None:
        assert not self.lost_reasons, "nothing comes after lost"
        self.drained_count += 1
        self._changed.set()

    def lost(self, reason: str) -> None:
        self.lost_reasons.append(reason)
        self._changed.set()

    def note(self) -> None:
        """Something else that `until` may wait for has happened."""
        self._changed.set()

    async def until(self, condition: Callable[["Recorder"], bool]) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()


async def turns(count: int = 10) -> None:
    """Let the loop turn: what could happen without waiting has happened then."""
    for _ in range(count):
        await asyncio.sleep(0)


def open_descriptors(process: int | str = "self") -> int:
    """How many there are now. What earlier tests left to the garbage collector does not count."""
    if process == "self":
        gc.collect()
    return len(os.listdir(f"/proc/{process}/fd"))


async def descriptors_fall_to(count: int, process: int | str = "self") -> None:
    """Wait until there are no more than these: loops close sockets some turns after the loss."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while open_descriptors(process) > count:
            await asyncio.sleep(0.01)
