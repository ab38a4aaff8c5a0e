"""Calls between two processes: latency and rate of every transport, beside the floor.

One server process answers ReadChunk with `size` bytes that lie in memory; one client process
keeps `depth` calls in flight, each in a task of its own, as a program's reads are. Latencies
are of single calls, from the call to its awaited answer. The floor, a case of its own in the
same run, is the blocking ping-pong of `benchfs.bench.pingpong`: the same bytes and nothing else.

Both processes run on uvloop. `placement` pins them: "apart" on two CPUs, "together" on one,
"free" as the scheduler likes; without it the scheduler's choice alone changes a figure threefold.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import NamedTuple

import uvloop

from benchfs.bench import pingpong
from benchfs.bench.processes import cpu_seconds
from benchfs.rpc.buffers import BufferPool
from benchfs.rpc.connection import Connection
from benchfs.rpc.frames import LIMITS
from benchfs.rpc.messages import Op, ReadChunk, ReadChunkReply
from benchfs.rpc.pool import Credentials, Peer, Pool
from benchfs.rpc.server import Call, Identity, Reply, Server
from benchfs.rpc.transports.choose import ENGINES, choose

SECRET = bytes(range(32))
CALL_SECONDS = 30.0
START_SECONDS = 30.0
WARM_UP_CALLS = 200
# A measurement of bulk transfers moves at most this much.
MOST_BYTES = 512 << 20
PLACEMENTS = ("apart", "together", "free")
MOST_PAYLOAD = LIMITS.payload
FLOOR = "floor"  # in place of a transport: blocking sockets, one call in flight


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured: engine or FLOOR, URL scheme, calls in flight, payload bytes of a reply."""

    transport: str
    scheme: str
    depth: int
    size: int


@dataclass(frozen=True, slots=True)
class Result:
    """Medians over the rounds; latencies and CPU times in microseconds."""

    case: Case
    calls_s: float
    mib_s: float
    p50_us: float
    p99_us: float
    p999_us: float
    client_cpu_us: float  # per call
    server_cpu_us: float  # per call
    rounds: tuple[float, ...]  # calls a second


@dataclass(frozen=True, slots=True)
class _Round:
    calls_s: float
    latencies: Sequence[float]  # seconds, sorted
    client_cpu: float  # seconds a call
    server_cpu: float


def cases(
    transports: Sequence[str], schemes: Sequence[str], depths: Sequence[int], sizes: Sequence[int]
) -> list[Case]:
    """All combinations that there are, the floor first for each scheme and size.

    UCX has a scheme of its own, beside the floor of TCP.

    Raises ValueError for an engine that does not exist.
    """
    for name in transports:
        if name not in ENGINES:
            raise ValueError(f"there is no transport {name!r}; there are {', '.join(ENGINES)}")
    found = []
    for size, scheme in itertools.product(sizes, schemes):
        floor = Case(FLOOR, _floor_scheme(scheme), 1, size)
        if floor not in found:
            found.append(floor)
        for depth, transport in itertools.product(depths, transports):
            if (scheme == "ucx") == (transport == "ucx"):
                found.append(Case(transport, scheme, depth, size))
    return found


def _floor_scheme(scheme: str) -> str:
    """What a scheme is compared with."""
    return "tcp" if scheme == "ucx" else scheme


def measure(
    wanted: Sequence[Case], *, seconds: float = 0.5, rounds: int = 5, placement: str = "apart"
) -> Iterator[Result]:
    """Measure case by case, `rounds` times each; yields results as they come."""
    for case in wanted:
        yield _summary(case, [_once(case, seconds, placement) for _ in range(rounds)])


def of_floor(results: Sequence[Result]) -> list[float]:
    """The rate of each as a multiple of the floor's of its scheme and size, which is among them."""
    floors = {
        (result.case.scheme, result.case.size): result.calls_s
        for result in results
        if result.case.transport == FLOOR
    }
    return [
        result.calls_s / floors[_floor_scheme(result.case.scheme), result.case.size]
        for result in results
    ]


def _summary(case: Case, rounds: Sequence[_Round]) -> Result:
    middle = statistics.median
    rate = middle(one.calls_s for one in rounds)
    return Result(
        case,
        rate,
        rate * case.size / (1 << 20),
        middle(_rank(one.latencies, 0.5) for one in rounds) * 1e6,
        middle(_rank(one.latencies, 0.99) for one in rounds) * 1e6,
        middle(_rank(one.latencies, 0.999) for one in rounds) * 1e6,
        middle(one.client_cpu for one in rounds) * 1e6,
        middle(one.server_cpu for one in rounds) * 1e6,
        tuple(one.calls_s for one in rounds),
    )


def _rank(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _once(case: Case, seconds: float, placement: str) -> _Round:
    """One round: a fresh server process, this process asks."""
    with serving(case, placement) as server:
        if case.transport == FLOOR:
            return _floor(case, server, seconds)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_ask(case, server, seconds))


class ServerProcess(NamedTuple):
    """Where a case's server listens, and its process."""

    address: str
    pid: int


@contextlib.contextmanager
def serving(case: Case, placement: str = "apart") -> Iterator[ServerProcess]:
    """A server process of the case; this process moves to the client's CPUs meanwhile."""
    server_cpus, client_cpus = _cpus(placement)
    before = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="bfs-") as folder:
        address = f"{case.scheme}://127.0.0.1:0"
        if case.scheme == "unix":
            address = f"unix://{Path(folder) / 's'}"
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        server = context.Process(target=_serve, args=(case, address, theirs, server_cpus))
        server.start()
        theirs.close()
        try:
            if not ours.poll(START_SECONDS):
                raise TimeoutError("the server of the measurement did not start")
            address = ours.recv()
            os.sched_setaffinity(0, client_cpus)
            yield ServerProcess(address, server.pid or 0)
        finally:
            os.sched_setaffinity(0, before)
            ours.close()  # which ends the server
            server.join(START_SECONDS)
            if server.is_alive():
                server.kill()
                server.join()


def _cpus(placement: str) -> tuple[set[int], set[int]]:
    """CPUs of the server and of the client."""
    every = sorted(os.sched_getaffinity(0))
    if placement == "free" or len(every) == 1:
        return set(every), set(every)
    if placement == "together":
        return {every[0]}, {every[0]}
    if placement != "apart":
        raise ValueError(f"there is no placement {placement!r}; there are {', '.join(PLACEMENTS)}")
    return {every[0]}, {every[1]}


# ---------------------------------------------------------------- the server's process


def _serve(case: Case, address: str, pipe: Pipe, cpus: set[int]) -> None:
    os.sched_setaffinity(0, cpus)
    if case.transport == FLOOR:
        pingpong.serve(address, case.size, pipe.send)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serving(case, address, pipe))


async def _serving(case: Case, address: str, pipe: Pipe) -> None:
    payload = memoryview(bytes(case.size))
    reply = ReadChunkReply(1, b"")

    def read(call: Call) -> Reply:
        message = call.message
        assert isinstance(message, ReadChunk)
        return Reply(reply, (payload[: message.length],))

    identity = Identity("node", "cluster", SECRET, 1, "host", "", os.urandom, lambda: 1)
    server = Server(identity, {Op.READ_CHUNK: read}, BufferPool())
    transport = choose(case.transport).transport(case.scheme)
    pipe.send(await server.listen(transport, address))
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), over.set)
    await over.wait()
    asyncio.get_running_loop().remove_reader(pipe.fileno())
    await server.close(0.1)


# ---------------------------------------------------------------- the client


def _floor(case: Case, server: ServerProcess, seconds: float) -> _Round:
    with pingpong.connected(server.address) as sock:
        pingpong.ask(sock, case.size, seconds, min(WARM_UP_CALLS, _most_calls(case)))
        cpu, server_cpu = time.process_time(), cpu_seconds(server.pid)
        started = time.perf_counter()
        latencies = pingpong.ask(sock, case.size, seconds, _most_calls(case))
        taken = time.perf_counter() - started
        return _round(latencies, taken, cpu, cpu_seconds(server.pid) - server_cpu)


async def _ask(case: Case, server: ServerProcess, seconds: float) -> _Round:
    async with connected(case, server) as connection:
        await _keep_asking(connection, case, min(WARM_UP_CALLS, _most_calls(case)), seconds)
        cpu, server_cpu = time.process_time(), cpu_seconds(server.pid)
        started = time.perf_counter()
        latencies = await _keep_asking(connection, case, _most_calls(case), seconds)
        taken = time.perf_counter() - started
        return _round(latencies, taken, cpu, cpu_seconds(server.pid) - server_cpu)


@contextlib.asynccontextmanager
async def connected(case: Case, server: ServerProcess) -> AsyncIterator[Connection]:
    """A connection to the server of the case, over its engine."""
    transport = choose(case.transport).transport(case.scheme)
    credentials = Credentials(SECRET, bytes(16), "client", 0, 0, os.urandom)
    pool = Pool(lambda _: transport, credentials)
    try:
        peer = Peer("node", (server.address,))
        yield await pool.connect(peer, "bulk", timeout=CALL_SECONDS)
    finally:
        await pool.close()


def _most_calls(case: Case) -> int:
    return max(10 * case.depth, MOST_BYTES // max(case.size, 1))


def _round(latencies: list[float], taken: float, cpu_before: float, server_cpu: float) -> _Round:
    count = len(latencies)
    client_cpu = time.process_time() - cpu_before
    return _Round(count / taken, sorted(latencies), client_cpu / count, server_cpu / count)


async def _keep_asking(
    connection: Connection, case: Case, most: int, seconds: float
) -> list[float]:
    """`depth` tasks ask until the time is over or `most` calls are done; all latencies."""
    clock = time.perf_counter
    end = clock() + seconds
    latencies: list[float] = []
    request = ReadChunk(1, 0, 0, case.size)

    async def ask() -> None:
        into = memoryview(bytearray(case.size))
        while len(latencies) < most:
            began = clock()
            answer = await connection.call(request, timeout=CALL_SECONDS, into=into)
            now = clock()
            if case.size and (answer.payload is None or len(answer.payload) != case.size):
                raise OSError(f"asked for {case.size} bytes, got {answer}")
            latencies.append(now - began)
            if now >= end:
                break

    async with asyncio.TaskGroup() as group:
        for _ in range(case.depth):
            group.create_task(ask())
    return latencies
