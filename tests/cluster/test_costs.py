"""What the usual operations cost, counted: requests, and what is left to the garbage collector."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator

import pytest

import benchfs
from tests.cluster.users import ALICE, home, only_root


@pytest.fixture(scope="module")
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=3) as running:
        yield running


@pytest.fixture
async def fs(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(str(cluster.directory), attribute_seconds=60) as client:
        yield client
        await client.rmtree("/")


@pytest.mark.parametrize("wide", [False, True])
async def test_with_a_warm_parent_each_operation_on_a_name_is_one_request(
    fs: benchfs.AsyncClient, requests: list[str], wide: bool
) -> None:
    await fs.makedirs("/a/b", wide=wide)
    await (await fs.open("/a/b/old", "xb")).close()
    requests.clear()

    await (await fs.open("/a/b/new", "xb")).close()
    assert requests == ["Open"]
    await (await fs.open("/a/b/new", "rb")).close()
    await fs.stat("/a/b/new")
    assert requests[1:] == ["Open", "Lookup"]
    await fs.rename("/a/b/new", "/a/b/newer")
    await fs.unlink("/a/b/newer")
    assert requests[3:] == ["Rename", "Unlink"]
    await fs.mkdir("/a/b/c")
    await fs.rmdir("/a/b/c")
    assert requests[5:] == ["MakeDirectory", "RemoveDirectory"]


async def test_a_path_costs_a_request_for_each_name_that_is_not_remembered(
    fs: benchfs.AsyncClient, cluster: benchfs.LocalCluster, requests: list[str]
) -> None:
    await fs.makedirs("/a/b")
    await fs.write_bytes("/a/b/file", b"1")
    async with benchfs.AsyncClient(str(cluster.directory), attribute_seconds=60) as other:
        requests.clear()

        await other.stat("/a/b/file")
        await other.stat("/a/b/file")

    assert requests == ["Lookup"] * 4


@only_root
async def test_an_ordinary_user_asks_for_a_small_file_no_more_often(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient, requests: list[str]
) -> None:
    directory = await home(fs, ALICE)
    async with benchfs.AsyncClient(
        str(cluster.directory), user=ALICE, attribute_seconds=60
    ) as alice:
        await alice.listdir(directory)
        for number in range(8):
            requests.clear()
            async with await alice.open(f"{directory}/{number}", "xb") as file:
                await file.write(b"1")
            async with await alice.open(f"{directory}/{number}", "rb") as file:
                assert await file.pread(1, 0) == b"1"
            assert requests == ["Open", "WriteFirst", "Open"]


@only_root
async def test_a_node_that_has_forgotten_what_it_was_shown_asks(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    directory = await home(fs, ALICE)
    async with benchfs.AsyncClient(str(cluster.directory), user=ALICE) as alice:
        async with await alice.open(f"{directory}/f", "w+b") as file:
            await file.write(b"before")
            await file.flush()
            for node in cluster.nodes:
                node.stop()
                await asyncio.to_thread(node.start)
            await file.pwrite(b"afters", 0)
            await file.flush()
            assert await file.pread(6, 0) == b"afters"


async def test_writes_to_a_file_are_a_request_for_each_chunk(
    fs: benchfs.AsyncClient, requests: list[str]
) -> None:
    async with await fs.open("/f", "xb") as file:
        requests.clear()
        for number in (3, 1, 4, 5, 9, 2, 6, 8, 7):
            await file.pwrite(b"%d" % number * 1000, number * 1000)
    assert requests == ["WriteChunk", "ReportSize"]

    async with await fs.open("/f", "r+b") as file:
        requests.clear()
        for number in range(20):  # of them three chunks have some
            await file.pwrite(b"x" * 1000, number * 500_000)
    assert sorted(requests) == ["ReportSize"] + ["WriteExtents"] * 3


async def test_the_client_counts_its_requests(fs: benchfs.AsyncClient, requests: list[str]) -> None:
    requests.clear()
    before = fs.requests

    for number in range(10):
        await fs.mkdir(f"/{number}")
        await fs.stat(f"/{number}")

    assert fs.requests - before == len(requests)


async def test_files_that_were_closed_leave_nothing_to_the_garbage_collector(
    fs: benchfs.AsyncClient,
) -> None:
    async def use(number: int) -> None:
        file = await fs.open(f"/{number}", "xb")
        await file.write(b"1")
        await file.close()
        await (await fs.open(f"/{number}", "rb")).close()
        await (await fs.open(f"/{number}", "ab")).close()

    await use(0)
    gc.collect()
    gc.disable()
    try:
        for number in range(1, 33):
            await use(number)
        found = gc.collect()
    finally:
        gc.enable()

    assert found < 32  # not one object a file
