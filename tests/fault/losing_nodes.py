"""What holds when nodes are killed or freeze, whatever carries the frames: for several modules."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator
from typing import NamedTuple

import pytest

import benchfs
from benchfs.errors import TransportError
from benchfs.localcluster import LocalNode

CHUNK = 1 << 16
PATIENCE_SECONDS = 30.0  # with what has to succeed
HURRY_SECONDS = 2.0  # with what has to fail
RANKS = 8
DATA = random.Random(1).randbytes(30 * CHUNK)


@contextlib.contextmanager
def in_a_hurry(fs: benchfs.AsyncClient) -> Iterator[None]:
    """The client's operations give up soon. It was opened with patience."""
    fs._timeout = fs._use().timeout = HURRY_SECONDS
    yield
    fs._timeout = fs._use().timeout = PATIENCE_SECONDS


def client(cluster: benchfs.LocalCluster) -> benchfs.AsyncClient:
    """One whose reads all go to the nodes."""
    url = str(cluster.directory)
    return benchfs.AsyncClient(url, timeout=PATIENCE_SECONDS, local_reads=False, cache_bytes=0)


async def acknowledged_before_all_were_killed(cluster: benchfs.LocalCluster) -> dict[str, bytes]:
    """Files that were written, some of them read, when all nodes got kill -9; they run again."""
    done: dict[str, bytes] = {}
    enough = asyncio.Event()

    async def work(fs: benchfs.AsyncClient, rank: int) -> None:
        rng = random.Random(rank)
        for number in range(10_000):
            name, data = f"/d/{rank}-{number}", rng.randbytes(rng.randrange(4 * CHUNK))
            await fs.write_bytes(name, data)
            done[name] = data
            if len(done) > 5 * RANKS:
                enough.set()
            if number % 2:
                assert await fs.read_bytes(name) == data

    async with client(cluster) as fs:
        await fs.mkdir("/d")
        workers = [asyncio.create_task(work(fs, rank)) for rank in range(RANKS)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            await enough.wait()
        for node in cluster.nodes:
            node.kill()
        acknowledged = dict(done)
        for worker in workers:
            worker.cancel()
        outcomes = await asyncio.gather(*workers, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in outcomes), outcomes
        for node in cluster.nodes:
            await asyncio.to_thread(node.start)
    return acknowledged


class Wide(NamedTuple):
    """A file on all nodes, and one of these that has chunks of it and not its inode."""

    path: str
    keeper: str  # of the inode
    other: LocalNode


async def wide_file(
    fs: benchfs.AsyncClient, cluster: benchfs.LocalCluster, data: bytes = DATA
) -> Wide:
    """A new one; 24 chunks or more have some everywhere."""
    await fs.write_bytes("/wide", data)
    keeper = fs.cluster_map.primary((await fs.stat("/wide")).st_ino >> 48)
    return Wide("/wide", keeper, next(n for n in cluster.nodes if n.node_id != keeper))


async def lose(fs: benchfs.AsyncClient, wide: Wide, how: str) -> TransportError:
    """Kill or freeze the other node; returns the error with which the file is read then."""
    (wide.other.kill if how == "kill" else wide.other.pause)()
    async with asyncio.timeout(PATIENCE_SECONDS):
        with in_a_hurry(fs), pytest.raises(TransportError) as failure:
            await fs.read_bytes(wide.path)
    return failure.value


async def bring_back(node: LocalNode, how: str) -> None:
    """Start or thaw a lost node."""
    if how == "pause":
        node.resume()
    else:
        await asyncio.to_thread(node.start)
