"""Nodes killed and frozen while renames between them run: done or not done, and nothing hangs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import lmdb
import pytest

import benchfs
from benchfs.errors import BenchFSError
from benchfs.localcluster import LocalNode
from benchfsd.rows import Kind

GIVE_UP_SECONDS = 20


@pytest.fixture
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=3) as running:
        yield running


@pytest.fixture
async def fs(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(str(cluster.directory), attribute_seconds=0) as client:
        yield client


async def directory_on(fs: benchfs.AsyncClient, node: LocalNode, name: str) -> str:
    """A directory whose home group is led by this node."""
    for number in range(100):
        path = f"/{name}{number}"
        await fs.mkdir(path)
        if fs.cluster_map.primary((await fs.stat(path)).st_ino >> 48) == node.node_id:
            return path
    pytest.fail(f"no directory came to {node.node_id}")


def kinds_in(cluster: benchfs.LocalCluster, node: LocalNode) -> set[int]:
    """The kinds of rows that a node has stored, read beside it."""
    path = Path(cluster.directory, node.node_id, "data", "rows")
    with lmdb.open(str(path), readonly=True, lock=False, max_dbs=0) as rows, rows.begin() as read:
        return {key[2] for key, _ in read.cursor()}


def at_rest(cluster: benchfs.LocalCluster) -> bool:
    """Whether no node has a row of an unfinished rename."""
    unfinished = {Kind.MOVE, Kind.PREPARED}
    return not any(unfinished & kinds_in(cluster, node) for node in cluster.nodes)


async def until(condition) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("killed", ["source", "destination"])
@pytest.mark.parametrize("what", ["file", "directory"])
async def test_a_rename_that_one_node_could_not_go_on_with_is_not_done_until_it_is_asked_again(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient, killed: str, what: str
) -> None:
    """The destination is frozen, so the source has begun and cannot go on; then one is killed."""
    source, destination = cluster.nodes[0], cluster.nodes[1]
    old, new = await directory_on(fs, source, "old"), await directory_on(fs, destination, "new")
    if what == "file":
        await fs.write_bytes(f"{old}/x", b"1")
    else:
        await fs.mkdir(f"{old}/x")
    destination.pause()
    renaming = asyncio.create_task(fs.rename(f"{old}/x", f"{new}/y"))
    await until(lambda: Kind.MOVE in kinds_in(cluster, source))
    node = source if killed == "source" else destination
    node.kill()
    if killed == "source":
        destination.resume()
    await asyncio.to_thread(node.start)
    async with asyncio.timeout(GIVE_UP_SECONDS):
        await renaming
    assert not await fs.exists(f"{old}/x")
    assert await fs.exists(f"{new}/y")
    await until(lambda: at_rest(cluster))


async def test_files_that_are_renamed_while_nodes_are_killed_are_neither_lost_nor_doubled(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    places = [
        await directory_on(fs, node, f"n{index}-") for index, node in enumerate(cluster.nodes)
    ]
    for number in range(12):
        await fs.write_bytes(f"{places[number % 3]}/f{number}", b"%d" % number)
    ended = asyncio.Event()
    moved = [0] * 12

    async def turn(number: int) -> None:
        """Rename one file from place to place; after an error it is in one of the two."""
        place = number % 3
        async with benchfs.AsyncClient(str(cluster.directory), attribute_seconds=0) as client:
            while not ended.is_set():
                goal = (place + 1) % 3
                try:
                    await client.rename(f"{places[place]}/f{number}", f"{places[goal]}/f{number}")
                except FileNotFoundError:
                    pytest.fail("the file was lost")
                except BenchFSError:
                    async with asyncio.timeout(GIVE_UP_SECONDS):
                        found = await client.exists(f"{places[goal]}/f{number}")
                    place = goal if found else place
                else:
                    place = goal
                    moved[number] += 1

    turns = [asyncio.create_task(turn(number)) for number in range(12)]
    for node in cluster.nodes * 2:
        before = sum(moved)
        await until(lambda before=before: sum(moved) > before + 20)
        node.kill()
        await asyncio.to_thread(node.start)
    ended.set()
    async with asyncio.timeout(2 * GIVE_UP_SECONDS):
        await asyncio.gather(*turns)
    found = [name for place in places for name in await fs.listdir(place)]
    assert sorted(found) == sorted(f"f{number}" for number in range(12))
    for place in places:
        for name in await fs.listdir(place):
            assert await fs.read_bytes(f"{place}/{name}") == name[1:].encode()
    await until(lambda: at_rest(cluster))
