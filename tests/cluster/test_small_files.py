"""Files that are small and written once: what they cost, and that nothing of them gets lost."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import benchfs
from benchfs.cluster import Cluster
from benchfs.rpc.connection import Answer
from benchfs.rpc.messages import ReportSize

SMALL = b"a small file" * 300


@pytest.fixture(scope="module")
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=3) as running:
        yield running


@pytest.fixture
async def fs(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(str(cluster.directory)) as client:
        yield client
        await client.rmtree("/")


def chunk_files(cluster: benchfs.LocalCluster) -> list[str]:
    return [path.name for path in cluster.directory.glob("node-*/data/chunks/*/*")]


async def test_one_is_made_by_three_requests_and_read_by_three_at_most(
    fs: benchfs.AsyncClient,
) -> None:
    await fs.stat("/")
    before = fs.requests

    async with await fs.open("/f", "xb") as file:
        await file.write(SMALL)
    written = fs.requests - before
    async with await fs.open("/f", "rb") as file:
        assert await file.pread(len(SMALL), 0) == SMALL

    assert written == 3
    assert fs.requests - before - written <= 3  # one may be the release of the file that was made


async def test_they_have_no_chunk_files_until_they_are_changed(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    await fs.write_bytes("/f", SMALL)
    assert chunk_files(cluster) == []

    async with await fs.open("/f", "r+b") as file:
        await file.pwrite(b"changed", 2)

    assert len(chunk_files(cluster)) == 1
    assert await fs.read_bytes("/f") == SMALL[:2] + b"changed" + SMALL[9:]


async def test_kill_of_all_nodes_loses_none_that_was_closed(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    for number in range(20):
        await fs.write_bytes(f"/{number}", SMALL + b"%d" % number)

    for node in cluster.nodes:
        node.kill()
    for node in cluster.nodes:
        await asyncio.to_thread(node.start)

    for number in range(20):
        assert await fs.read_bytes(f"/{number}") == SMALL + b"%d" % number


async def test_another_handle_waits_for_what_a_close_is_writing(fs: benchfs.AsyncClient) -> None:
    writer = await fs.open("/f", "w+b")
    reader = await fs.open("/f", "rb")
    await writer.write(SMALL)

    closing = asyncio.create_task(writer.close())
    await asyncio.sleep(0)

    assert await reader.read() == SMALL
    await closing
    await reader.close()


async def test_a_close_that_was_cancelled_while_it_wrote_is_never_a_success(
    fs: benchfs.AsyncClient, cluster: benchfs.LocalCluster
) -> None:
    writer = await fs.open("/f", "xb")
    await writer.write(SMALL)
    for node in cluster.nodes:
        node.pause()
    closing = asyncio.create_task(writer.close())
    await asyncio.sleep(0)
    closing.cancel()
    for node in cluster.nodes:
        node.resume()

    with pytest.raises(asyncio.CancelledError):
        await closing
    assert writer.closed
    assert await fs.read_bytes("/f") in {b"", SMALL}


async def test_a_size_whose_report_was_cancelled_is_reported_by_the_close(
    fs: benchfs.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = 0
    call = Cluster.call

    async def cancelled_once(self: Cluster, *arguments: Any, **options: Any) -> Answer:
        nonlocal reports
        if isinstance(arguments[2], ReportSize):
            reports += 1
            if reports == 1:
                raise asyncio.CancelledError
        return await call(self, *arguments, **options)

    monkeypatch.setattr(Cluster, "call", cancelled_once)
    file = await fs.open("/f", "xb")
    await file.write(SMALL)
    with pytest.raises(asyncio.CancelledError):
        await file.flush()

    await file.close()

    assert reports == 2
    assert (await fs.stat("/f")).st_size == len(SMALL)
