"""Nodes killed while files under a quota come, grow and go: nothing is lost from the count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

import benchfs
from benchfs.errors import BenchFSError, NoSpaceError
from benchfs.fsck import Kind, Options
from benchfs.inode import ROOT_INO

MOST_INODES = 150
MOST_BYTES = 40_000
GIVE_UP_SECONDS = 20


@pytest.fixture
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=3, settings={"lease_seconds": 2}) as running:
        yield running


@pytest.fixture
async def fs(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(str(cluster.directory), attribute_seconds=0) as client:
        yield client


async def tree(fs: benchfs.AsyncClient) -> tuple[int, int]:
    """Bytes and inodes below /p, and /p itself."""
    size, inodes = 0, 1
    async for directory in fs.scandir("/p"):
        inodes += 1
        async for entry in fs.scandir(directory.path):
            inodes += 1
            size += (await entry.stat()).st_size
    return size, inodes


async def counted(fs: benchfs.AsyncClient) -> tuple[int, int]:
    quota = await fs.get_quota("/p")
    assert quota is not None
    assert quota.exact
    return quota.used_bytes, quota.used_inodes


async def test_kills_neither_leak_nor_lose_what_is_used(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    for number in range(6):
        await fs.makedirs(f"/p/{number}")
    await fs.set_quota("/p", max_bytes=MOST_BYTES, max_inodes=MOST_INODES)
    ended = asyncio.Event()
    turns = [0] * 6

    async def work(number: int) -> None:
        """Make and remove files of all sizes; refusals and nodes that are away are met often."""
        async with benchfs.AsyncClient(str(cluster.directory), attribute_seconds=0) as client:
            while not ended.is_set():
                turns[number] += 1
                path = f"/p/{number}/{turns[number] % 40}"
                try:
                    if turns[number] % 3:
                        await client.write_bytes(path, b"x" * (turns[number] * 37 % 1500))
                    else:
                        await client.unlink(path)
                except BenchFSError:
                    pass  # the quota is full, a node is away, or the file is not there

    workers = [asyncio.create_task(work(number)) for number in range(6)]
    for node in [*cluster.nodes, cluster.nodes[0]]:
        before = sum(turns)
        async with asyncio.timeout(GIVE_UP_SECONDS):
            while sum(turns) < before + 60:
                await asyncio.sleep(0.01)
        node.kill()
        await asyncio.to_thread(node.start)
    ended.set()
    async with asyncio.timeout(2 * GIVE_UP_SECONDS):
        await asyncio.gather(*workers)

    async with asyncio.timeout(GIVE_UP_SECONDS):
        while await counted(fs) != await tree(fs):
            await asyncio.sleep(0.05)
    quota = await fs.check_quota("/p")
    assert quota is not None
    assert (quota.used_bytes, quota.used_inodes) == await tree(fs)
    assert quota.used_bytes <= MOST_BYTES
    assert quota.used_inodes <= MOST_INODES
    for name in range(MOST_INODES - quota.used_inodes):
        await fs.write_bytes(f"/p/0/new{name}", b"")
    with pytest.raises(NoSpaceError):
        await fs.write_bytes("/p/1/one more", b"")


async def test_while_a_node_is_away_what_it_may_use_counts_as_used(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    await fs.mkdir("/p")
    primary = fs.cluster_map.primary
    needed = {primary(ino >> 48) for ino in (ROOT_INO, (await fs.stat("/p")).st_ino)}
    elsewhere = []
    for number in range(60):
        await fs.mkdir(f"/p/{number}")
        node_id = primary((await fs.stat(f"/p/{number}")).st_ino >> 48)
        if node_id not in needed:
            elsewhere.append((number, node_id))
    await fs.set_quota("/p", max_inodes=1000)
    number, node_id = elsewhere[0]
    await fs.write_bytes(f"/p/{number}/f", b"")
    before = await fs.get_quota("/p")
    assert before is not None
    node = next(node for node in cluster.nodes if node.node_id == node_id)
    await fs.write_bytes(f"/p/{number}/g", b"")
    node.kill()

    quota = await fs.get_quota("/p")

    assert quota is not None
    assert not quota.exact
    assert quota.used_inodes > before.used_inodes + 1
    await asyncio.to_thread(node.start)
    async with asyncio.timeout(30):  # until the other nodes try to reach it again
        while quota is None or not quota.exact:
            quota = await fs.get_quota("/p")
    assert quota.used_inodes == before.used_inodes + 1


async def test_what_a_crash_between_the_steps_of_mkdir_left_in_the_count_fsck_takes_from_it(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    await fs.mkdir("/p")
    await fs.set_quota("/p", max_inodes=1000)
    for number in range(30):  # so that the nodes know one another
        await fs.mkdir(f"/p/{number}")
    primary = fs.cluster_map.primary((await fs.stat("/p")).st_ino >> 48)
    root = fs.cluster_map.primary(ROOT_INO >> 48)
    names_node = next(node for node in cluster.nodes if node.node_id == primary)
    inodes_node = next(node for node in cluster.nodes if node.node_id not in {primary, root})
    inodes_node.pause()
    making = [asyncio.create_task(fs.mkdir(f"/p/new{number}")) for number in range(30)]
    for _ in range(30):  # turns of the node, in which it asks for the inodes
        await fs.stat("/p")
    begun = sum(not task.done() for task in making)
    assert begun

    names_node.kill()
    inodes_node.resume()
    await asyncio.to_thread(names_node.start)
    await asyncio.gather(*making)

    async with asyncio.timeout(GIVE_UP_SECONDS):
        while await counted(fs) != (0, 61 + begun):
            await asyncio.sleep(0.05)
    assert await tree(fs) == (0, 61)
    report = await fs.fsck(Options(repair=True, age=0, patience=20))
    assert {one.finding.kind for one in report.found} == {Kind.NAMELESS}
    assert len(report.found) == begun
    assert report.clean
    assert await counted(fs) == (0, 61)
