"""Simulated clusters: what operations cost does not depend on how many nodes there are."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from benchfs.bench.simulate import clock
from benchfs.bench.simulate.cluster import (
    CHUNK_BYTES,
    ONE_WAY_SECONDS,
    SimulatedCluster,
    simulated,
)
from benchfs.bench.simulate.costs import OPERATIONS, SETTLED_SECONDS
from benchfs.bench.simulate.load import Offered
from benchfs.bench.simulate.node import LEASE_SECONDS
from benchfs.bench.simulate.run import Size, beyond, parse_sizes, simulate
from benchfs.bench.simulate.text import markdown, tables
from benchfs.client import AsyncClient
from benchfs.errors import BenchFSError
from benchfsd.rows import NODE, Kind, kind_prefix

SMALL = Offered(clients=4, operations=300, directories=2)
MIB = 1 << 20
PAGE = Path(__file__).resolve().parents[2] / "docs" / "BENCHMARKS.md"


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> list[Size]:
    return list(simulate([3, 10], SMALL, tmp_path_factory.mktemp("sizes"), seed=1))


# ------------------------------------------------------------ what operations cost


@pytest.mark.parametrize(
    ("operation", "requests", "behind"),
    [
        ("create", 1, 1),  # the release of the open file
        ("stat", 1, 0),
        ("rename in a directory", 1, 0),
        ("unlink, empty", 1, 0),
        ("create, wide", 1, 1),
        ("readdir, 256 entries", 3, 0),
    ],
)
def test_an_operation_needs_the_same_requests_at_3_and_at_10_nodes(
    sizes: list[Size], operation: str, requests: int, behind: int
) -> None:
    found = [(size.costs[operation].requests, size.costs[operation].behind) for size in sizes]

    assert found == [(requests, behind)] * 2


def test_nothing_needs_more_requests_than_it_may(sizes: list[Size]) -> None:
    assert beyond(sizes) == []


def test_what_asks_every_node_is_named_with_its_reason(sizes: list[Size]) -> None:
    grow = {operation.name for operation in OPERATIONS if operation.most is None}

    assert all(operation.why for operation in OPERATIONS if operation.most is None)
    for size in sizes:
        asking = {name for name, cost in size.costs.items() if cost.most_requests >= size.nodes > 9}
        assert asking <= grow | {"readdir, wide, 256 entries"}
        assert size.costs["statvfs"].requests == size.nodes


def test_one_directory_is_one_node_s_and_a_wide_one_is_everybody_s(sizes: list[Size]) -> None:
    _, ten = sizes

    assert ten.balances["one directory"].imbalance > 9
    assert ten.balances["one wide directory"].imbalance < 3
    assert ten.balances["one wide directory"].idle_nodes == 0


def test_the_same_seed_gives_the_same_figures(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()

    (one,), (same,) = (list(simulate([3], SMALL, place, seed=7)) for place in (first, second))

    assert one.costs == same.costs
    assert one.balances == same.balances


def test_tables_have_a_column_for_each_size(sizes: list[Size]) -> None:
    for table in tables(sizes):
        lines = markdown(table).splitlines()
        assert lines[0].endswith("| 3 nodes | 10 nodes |")
        assert len({line.count("|") for line in lines}) == 1


def test_the_page_has_the_requests_that_are_counted_now(sizes: list[Size]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    lines = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    requests = next(table for table in tables(sizes) if table.heading.startswith("Requests"))

    for name, *cells in requests.rows:
        assert any(line[:3] == [f"| {name}", *cells] for line in lines), (name, cells)


@pytest.mark.parametrize("text", ["", "0", "3,x", "3,,10", "5000"])
def test_sizes_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="numbers from 1 to 4096"):
        parse_sizes(text)


# ------------------------------------------------------------ virtual time


def test_virtual_time_passes_without_waiting() -> None:
    async def sleep() -> float:
        await asyncio.sleep(1e6)
        return asyncio.get_running_loop().time()

    assert clock.run(sleep()) == pytest.approx(1e6)


def test_waiting_for_nothing_is_an_error() -> None:
    async def stall() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(clock.StalledError):
        clock.run(stall())


# ------------------------------------------------------------ removing files


def chunks(cluster: SimulatedCluster) -> int:
    return sum(node.node.store.chunk_count for node in cluster.nodes)


def file_rows(cluster: SimulatedCluster) -> int:
    prefix = kind_prefix(NODE, Kind.FILE)
    return sum(node.node.database.count(prefix) for node in cluster.nodes)


async def write(fs: AsyncClient, path: str, size: int) -> None:
    async with await fs.open(path, "wb") as file:
        await file.write(bytes(size))


def test_a_removal_reaches_just_the_nodes_with_chunks(tmp_path: Path) -> None:
    async def remove() -> int:
        async with simulated(20, tmp_path, seed=1) as cluster, cluster.client(60.0) as fs:
            await write(fs, "/file", 3 * CHUNK_BYTES)
            await asyncio.sleep(SETTLED_SECONDS)
            assert chunks(cluster) == 3
            await fs.unlink("/file")
            await asyncio.sleep(SETTLED_SECONDS)
            assert chunks(cluster) == 0
            return cluster.requests()["purge_files"]

    assert 1 <= clock.run(remove()) <= 3


def test_a_file_that_was_cut_leaves_no_chunk_and_no_row(tmp_path: Path) -> None:
    async def remove() -> None:
        async with simulated(10, tmp_path, seed=2) as cluster, cluster.client(60.0) as fs:
            before = file_rows(cluster)
            await write(fs, "/file", 8 * CHUNK_BYTES)
            await fs.truncate("/file", 1)
            assert file_rows(cluster) > before
            await fs.unlink("/file")
            await asyncio.sleep(SETTLED_SECONDS)
            assert chunks(cluster) == 0
            assert file_rows(cluster) == before

    clock.run(remove())


def test_space_beyond_the_size_goes_with_the_file(tmp_path: Path) -> None:
    async def remove() -> None:
        async with simulated(10, tmp_path, seed=3) as cluster, cluster.client(60.0) as fs:
            async with await fs.open("/file", "wb") as file:
                await file.fallocate(0, 4 * CHUNK_BYTES, keep_size=True)
            assert (await fs.stat("/file")).st_size == 0
            assert chunks(cluster) == 4
            await fs.unlink("/file")
            await asyncio.sleep(SETTLED_SECONDS)
            assert chunks(cluster) == 0

    clock.run(remove())


def test_chunks_of_a_writer_that_was_lost_go_with_the_file(tmp_path: Path) -> None:
    async def remove() -> None:
        async with simulated(10, tmp_path, seed=4) as cluster, cluster.client(0.0) as other:
            with contextlib.suppress(BenchFSError):  # its last close reaches nobody
                async with cluster.client(0.0) as lost:
                    file = await lost.open("/file", "wb")
                    await file.write(bytes(MIB))
                    await asyncio.sleep(0.5)  # written, and the size not reported yet
                    names = [node.node.node_id for node in cluster.nodes]
                    cluster.network.partition([cluster.client_names[-1]], names)
                    assert chunks(cluster) == MIB // CHUNK_BYTES
                    await asyncio.sleep(3 * LEASE_SECONDS)
            assert (await other.stat("/file")).st_size == 0
            await other.unlink("/file")
            await asyncio.sleep(SETTLED_SECONDS)
            assert chunks(cluster) == 0

    clock.run(remove())


# ------------------------------------------------------------ many clients


def test_a_crowd_of_clients_that_start_together_all_connect(tmp_path: Path) -> None:
    async def connect() -> float:
        loop = asyncio.get_running_loop()
        async with simulated(3, tmp_path, seed=1) as cluster, AsyncExitStack() as stack:
            await asyncio.gather(
                *[stack.enter_async_context(cluster.client(1.0)) for _ in range(500)]
            )
            return loop.time()

    assert clock.run(connect()) < 1000 * ONE_WAY_SECONDS
