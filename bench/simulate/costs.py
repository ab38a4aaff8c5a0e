"""What single operations cost a cluster: requests, bytes, and round trips, in a simulation.

Each operation is done some times on objects of its own, by one client with nothing else going on,
and what it leaves to be done behind it is waited for. `Operation.most` is what an operation may
need whatever the number of nodes; those without such a bound grow, and say why.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

from benchfs.bench.simulate.cluster import CHUNK_BYTES, ONE_WAY_SECONDS, SimulatedCluster
from benchfs.client import AsyncClient
from benchfs.directories import WIDE_FANOUT
from benchfs.file import AsyncFile

REPEATS = 4
ENTRIES = 256  # of a directory that is listed
SETTLED_SECONDS = 2.5  # nothing that an operation leaves behind takes longer
KNOWN_SECONDS = 3600.0  # directories stay known, as they do for a second otherwise
PAYLOAD = bytes(range(256)) * (CHUNK_BYTES // 256)


class Clients(NamedTuple):
    """Who does it. `held`: files that another client has open for writing."""

    fs: AsyncClient
    other: AsyncClient
    held: list[AsyncFile]


class Operation(NamedTuple):
    """Something to be counted. `prepare` and `act` get the clients and the repetition's number."""

    name: str
    act: Callable[[Clients, int], Awaitable[object]]
    prepare: Callable[[Clients, int], Awaitable[object]] | None = None
    most: int | None = None  # requests, what is done behind it included
    why: str = ""  # it has no such bound


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one operation: means over its repetitions, but `most_requests`."""

    requests: float  # until it returned
    behind: float  # requests after that
    most_requests: int  # of one repetition, all together
    round_trips: float  # until it returned, those of new connections included
    bytes: float  # of calls, payload included
    connections: float  # that were new, and some later operation need not make
    by_operation: dict[str, float]


async def _create(fs: AsyncClient, path: str) -> None:
    await (await fs.open(path, "xb")).close()


async def _write(fs: AsyncClient, path: str) -> None:
    async with await fs.open(path, "r+b") as file:
        await file.write(PAYLOAD)


async def _new_written(fs: AsyncClient, path: str) -> None:
    await _create(fs, path)
    await _write(fs, path)


async def _hold(by: Clients, path: str) -> None:
    file = await by.other.open(path, "xb")
    by.held.append(file)
    await file.write(PAYLOAD)


OPERATIONS = (
    Operation("create", lambda by, i: _create(by.fs, f"/a/new{i}"), most=2),
    Operation("stat", lambda by, i: by.fs.stat(f"/a/new{i}"), most=1),
    Operation(
        "open, write a chunk, close",
        lambda by, i: _write(by.fs, f"/a/data{i}"),
        lambda by, i: _create(by.fs, f"/a/data{i}"),
        most=6,
    ),
    Operation("open, read a chunk, close", lambda by, i: by.fs.read_bytes(f"/a/data{i}"), most=6),
    Operation(
        "rename in a directory", lambda by, i: by.fs.rename(f"/a/new{i}", f"/a/old{i}"), most=1
    ),
    Operation(
        "rename to another directory",
        lambda by, i: by.fs.rename(f"/a/old{i}", f"/b{i}/old"),
        lambda by, i: by.fs.mkdir(f"/b{i}"),
        most=3,
    ),
    Operation(
        "unlink, empty",
        lambda by, i: by.fs.unlink(f"/a/empty{i}"),
        lambda by, i: _create(by.fs, f"/a/empty{i}"),
        most=1,
    ),
    Operation("unlink, a chunk", lambda by, i: by.fs.unlink(f"/a/data{i}"), most=3),
    Operation("mkdir", lambda by, i: by.fs.mkdir(f"/a/made{i}"), most=2),
    Operation("rmdir", lambda by, i: by.fs.rmdir(f"/a/made{i}"), most=3),
    Operation(f"readdir, {ENTRIES} entries", lambda by, _: by.fs.listdir("/narrow"), most=3),
    Operation(
        f"readdir, wide, {ENTRIES} entries",
        lambda by, _: by.fs.listdir("/wide"),
        most=3 + 2 * WIDE_FANOUT,
    ),
    Operation("create, wide", lambda by, i: _create(by.fs, f"/wide/new{i}"), most=3),
    Operation(
        "truncate",
        lambda by, i: by.fs.truncate(f"/a/cut{i}", 1),
        lambda by, i: _new_written(by.fs, f"/a/cut{i}"),
        why="every node that may have chunks refuses late writes from then on",
    ),
    Operation(
        "stat, while another client writes",
        lambda by, i: by.fs.stat(f"/a/live{i}"),
        lambda by, i: _hold(by, f"/a/live{i}"),
        why="the size is what the nodes have that may have chunks",
    ),
    Operation("statvfs", lambda by, _: by.fs.statvfs(), why="it asks every node"),
)


async def costs(cluster: SimulatedCluster) -> dict[str, Cost]:
    """Of every operation, by name."""
    async with cluster.client(KNOWN_SECONDS) as fs, cluster.client(KNOWN_SECONDS) as other:
        by = Clients(fs, other, [])
        await fs.statvfs()  # a connection to every node
        await fs.mkdir("/a")
        await fs.mkdir("/narrow")
        await fs.mkdir("/wide", wide=True)
        for number in range(ENTRIES):
            await _create(fs, f"/narrow/{number}")
            await _create(fs, f"/wide/{number}")
        return {operation.name: await _cost(cluster, by, operation) for operation in OPERATIONS}


class _Count:
    """What was counted during a `with` block of `_counting`."""

    requests: Counter[str]
    bytes: int
    connections: int
    round_trips: float


@asynccontextmanager
async def _counting(cluster: SimulatedCluster) -> AsyncIterator[_Count]:
    loop, traffic, count = asyncio.get_running_loop(), cluster.traffic, _Count()
    requests, carried, connections = cluster.requests(), traffic.bytes, traffic.connections
    began = loop.time()
    yield count
    count.round_trips = (loop.time() - began) / (2 * ONE_WAY_SECONDS)
    count.requests = cluster.requests() - requests
    count.bytes = traffic.bytes.since(carried).calls
    count.connections = traffic.connections - connections


async def _cost(cluster: SimulatedCluster, by: Clients, operation: Operation) -> Cost:
    front, behind = [], []
    for number in range(REPEATS):
        if operation.prepare is not None:
            await operation.prepare(by, number)
        await asyncio.sleep(SETTLED_SECONDS)
        gc.collect()  # a client shows nodes what its closed files were opened for until they go
        async with _counting(cluster) as now:
            await operation.act(by, number)
        async with _counting(cluster) as later:
            await asyncio.sleep(SETTLED_SECONDS)
        front.append(now)
        behind.append(later)
        while by.held:
            await by.held.pop().close()
    both = front + behind
    total: Counter[str] = Counter()
    for count in both:
        total.update(count.requests)
    return Cost(
        requests=sum(count.requests.total() for count in front) / REPEATS,
        behind=sum(count.requests.total() for count in behind) / REPEATS,
        most_requests=max(
            now.requests.total() + later.requests.total()
            for now, later in zip(front, behind, strict=True)
        ),
        round_trips=sum(count.round_trips for count in front) / REPEATS,
        bytes=sum(count.bytes for count in both) / REPEATS,
        connections=sum(count.connections for count in both) / REPEATS,
        by_operation={name: many / REPEATS for name, many in sorted(total.items())},
    )
