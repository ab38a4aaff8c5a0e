"""Many clients that write one file at once: appended records, interleaved records, cuts."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

import benchfs

CHUNK = 65_536
CLIENTS = 8
RECORD = 47_008  # IOR hard: aligned to nothing
APPENDS = 60

APPENDER = """
import benchfs, hashlib, random, sys
url, rank, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(rank)
with benchfs.Client(url) as fs:
    sys.stdin.readline()
    with fs.open("/log", "ab") as file:
        for number in range(count):
            data = rng.randbytes(rng.choice([1, 40, 3000, 70_000, 400_000]))
            head = f"{rank} {number} {len(data)} {hashlib.md5(data).hexdigest()}\\n".encode()
            file.write(head + data)
            if rng.random() < 0.5:
                file.flush()
"""

WRITER = """
import benchfs, random, sys
url, rank, count, clients, size = sys.argv[1], *map(int, sys.argv[2:])
with benchfs.Client(url) as fs:
    sys.stdin.readline()
    with fs.open("/hard", "r+b") as file:
        for number in range(count):
            data = random.Random(rank * count + number).randbytes(size)
            file.pwrite(data, (number * clients + rank) * size)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=3, chunk_size=CHUNK) as running:
        yield running


@pytest.fixture
async def fs(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(cluster.url, local_reads=False) as client:
        yield client
        await client.rmtree("/")


@pytest.fixture
async def other(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(cluster.url, attribute_seconds=0) as client:
        yield client


def run_together(program: str, *arguments: list[str]) -> None:
    """Run a process for each list of arguments; all begin when all are connected."""
    processes = [
        subprocess.Popen([sys.executable, "-c", program, *more], stdin=subprocess.PIPE, text=True)
        for more in arguments
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.close()
    assert [process.wait(50) for process in processes] == [0] * len(processes)


def records(log: bytes) -> Iterator[tuple[int, int]]:
    """(rank, number) of each record in the log, all of it whole."""
    at = 0
    while at < len(log):
        end = log.index(b"\n", at)
        rank, number, size, digest = log[at:end].split(b" ")
        data = log[end + 1 : end + 1 + int(size)]
        assert hashlib.md5(data).hexdigest().encode() == digest, f"torn at {at}"
        yield int(rank), int(number)
        at = end + 1 + int(size)


async def test_appended_records_of_many_clients_are_whole_and_all_there(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    ranks = [[cluster.url, str(rank), str(APPENDS)] for rank in range(CLIENTS)]

    await asyncio.to_thread(run_together, APPENDER, *ranks)

    found = list(records(await fs.read_bytes("/log")))
    for rank in range(CLIENTS):
        assert [number for r, number in found if r == rank] == list(range(APPENDS))


async def test_interleaved_records_of_many_clients_leave_every_byte_right(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    count = 12
    await fs.write_bytes("/hard", b"")
    ranks = [[cluster.url, *map(str, (rank, count, CLIENTS, RECORD))] for rank in range(CLIENTS)]

    await asyncio.to_thread(run_together, WRITER, *ranks)

    data = await fs.read_bytes("/hard")
    assert len(data) == count * CLIENTS * RECORD
    for number in range(count):
        for rank in range(CLIENTS):
            at = (number * CLIENTS + rank) * RECORD
            wanted = random.Random(rank * count + number).randbytes(RECORD)
            assert data[at : at + RECORD] == wanted, f"record {number} of client {rank}"


async def test_an_append_goes_behind_what_another_client_appended(
    fs: benchfs.AsyncClient, other: benchfs.AsyncClient
) -> None:
    async with await fs.open("/f", "ab") as mine, await other.open("/f", "a+b") as theirs:
        await mine.write(b"one ")
        await mine.flush()
        await theirs.write(b"two ")
        await theirs.flush()
        await mine.write(b"three")
        await mine.flush()
        assert await theirs.pread(100, 0) == b"one two three"


async def test_an_append_of_nothing_leaves_the_position_where_it_is(
    fs: benchfs.AsyncClient,
) -> None:
    async with await fs.open("/f", "w+b") as file:
        await file.write(b"12345")
    async with await fs.open("/f", "a+b") as file:
        await file.seek(1)

        assert await file.write(b"") == 0

        assert await file.read() == b"2345"


async def test_an_append_after_a_cut_by_another_client_goes_to_the_new_end(
    fs: benchfs.AsyncClient, other: benchfs.AsyncClient
) -> None:
    async with await fs.open("/f", "ab") as file:
        await file.write(b"x" * 3 * CHUNK)
        await file.flush()
        await other.truncate("/f", 5)
        await file.write(b"end")
    assert await other.read_bytes("/f") == b"xxxxxend"


async def test_a_writer_does_not_bring_back_a_size_that_another_client_cut(
    fs: benchfs.AsyncClient, other: benchfs.AsyncClient
) -> None:
    async with await fs.open("/f", "wb") as file:
        await file.pwrite(os.urandom(3 * CHUNK), 0)
        await file.flush()
        await other.truncate("/f", 0)
        await file.pwrite(b"short", 0)
    assert await other.read_bytes("/f") == b"short"


async def test_growing_and_cutting_while_others_write_leaves_zeros_or_their_bytes(
    fs: benchfs.AsyncClient, other: benchfs.AsyncClient
) -> None:
    """Each byte is what was written there after the last cut, or zero; the sizes agree."""
    rng = random.Random(4)
    sizes = [rng.randrange(6 * CHUNK) for _ in range(25)]
    await fs.write_bytes("/f", b"")
    done = asyncio.Event()

    async def write() -> None:
        async with await fs.open("/f", "r+b") as file:
            while not done.is_set():
                await file.pwrite(b"\xff" * rng.randrange(1, 2 * CHUNK), rng.randrange(6 * CHUNK))
                await file.flush()

    async def cut() -> None:
        async with await other.open("/f", "r+b") as file:
            for size in sizes:
                await file.truncate(size)
        done.set()

    await asyncio.gather(write(), cut())

    data = await other.read_bytes("/f")
    assert len(data) == (await fs.stat("/f")).st_size == (await other.stat("/f")).st_size
    assert set(data) <= {0, 255}
    await other.truncate("/f", 100)
    await other.truncate("/f", 6 * CHUNK)
    assert (await fs.read_bytes("/f"))[100:] == bytes(6 * CHUNK - 100)


async def test_an_exclusive_create_has_one_winner(
    fs: benchfs.AsyncClient, other: benchfs.AsyncClient
) -> None:
    async def create(client: benchfs.AsyncClient) -> bool:
        try:
            await (await client.open("/mine", "xb")).close()
        except FileExistsError:
            return False
        return True

    outcomes = await asyncio.gather(*[create(client) for client in [fs, other] * 8])

    assert sum(outcomes) == 1


async def test_opening_with_w_empties_the_file_for_those_who_have_it_open(
    fs: benchfs.AsyncClient, other: benchfs.AsyncClient
) -> None:
    await fs.write_bytes("/f", b"old" * CHUNK)
    async with await other.open("/f") as reader:
        async with await fs.open("/f", "wb") as writer:
            assert await reader.read() == b""
            await writer.write(b"new")
        await reader.seek(0)
        assert await reader.read() == b"new"


async def test_others_see_the_end_of_bytes_that_arrived_before_they_are_reported(
    fs: benchfs.AsyncClient, other: benchfs.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write of a few MiB goes out as it is; its end would be reported much later."""
    monkeypatch.setattr("benchfs.writing.LINGER_SECONDS", 3600.0)
    size = 40 * CHUNK + 5
    async with await fs.open("/f", "wb") as file:
        await file.write(os.urandom(size))
        async with asyncio.timeout(20):
            while (await other.stat("/f")).st_size != size:
                await asyncio.sleep(0.01)
        async with await other.open("/f") as reader:
            assert await reader.seek(0, os.SEEK_END) == size


async def test_a_client_sees_its_own_writes_in_stat_at_once(fs: benchfs.AsyncClient) -> None:
    async with await fs.open("/f", "wb") as file:
        await file.write(b"12345")
        assert (await fs.stat("/f")).st_size == 5
        await file.write(b"678")
        assert (await file.stat()).st_size == 8
