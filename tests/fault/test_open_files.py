"""Open files while daemons are killed: appended records, and files without names."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

import benchfs

CHUNK = 65_536
KILLS = 4


@pytest.fixture
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=2, chunk_size=CHUNK) as running:
        yield running


async def test_appended_records_stay_whole_and_single_while_daemons_are_killed(
    cluster: benchfs.LocalCluster,
) -> None:
    stop = asyncio.Event()

    async def append(fs: benchfs.AsyncClient, rank: int) -> int:
        """Records of random length that begin and end with their number; returns how many."""
        rng, count = random.Random(rank), 0
        async with await fs.open("/log", "ab") as file:
            while not stop.is_set():
                body = b"x" * rng.choice([0, 100, 90_000])
                await file.write(b"<%d %d %s>\n" % (rank, count, body))
                count += 1
                await file.flush()
        return count

    async with (
        benchfs.AsyncClient(cluster.url, timeout=20) as first,
        benchfs.AsyncClient(cluster.url, timeout=20) as second,
    ):
        await first.write_bytes("/log", b"")
        appends = [asyncio.create_task(append(fs, n)) for n, fs in enumerate([first, second])]
        for number in range(KILLS):
            node = cluster.nodes[number % 2]
            before = (await first.stat("/log")).st_size
            await asyncio.to_thread(node.kill)
            await asyncio.to_thread(node.start)
            async with asyncio.timeout(20):
                while (
                    not await first.exists("/log") or (await first.stat("/log")).st_size <= before
                ):
                    await asyncio.sleep(0.02)
        stop.set()
        counts = await asyncio.gather(*appends)
        lines = (await first.read_bytes("/log")).splitlines()

    found: list[list[int]] = [[], []]
    for line in lines:
        assert line.startswith(b"<"), line[:40]
        assert line.endswith(b">"), line[-40:]
        rank, number, body = line[1:-1].split(b" ")
        assert body == b"x" * len(body)
        found[int(rank)].append(int(number))
    assert found == [list(range(count)) for count in counts]


async def test_a_file_without_names_keeps_its_bytes_while_daemons_are_killed(
    cluster: benchfs.LocalCluster,
) -> None:
    data = random.Random(1).randbytes(20 * CHUNK)
    async with benchfs.AsyncClient(cluster.url, timeout=20, cache_bytes=0) as fs:
        async with await fs.open("/f", "w+b") as file:
            await file.write(data)
            await file.fsync()
            await fs.unlink("/f")
            for node in cluster.nodes:
                await asyncio.to_thread(node.kill)
                await asyncio.to_thread(node.start)
                assert await file.pread(len(data), 0) == data
                assert (await file.stat()).st_nlink == 0
        assert not await fs.exists("/f")
