"""Bytes written in the background, at every moment of their way: in a cluster of virtual time.

There a message takes ONE_WAY_SECONDS and computing none, so that a moment can be met exactly.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from benchfs.bench.simulate import clock
from benchfs.bench.simulate.cluster import (
    CHUNK_BYTES,
    ONE_WAY_SECONDS,
    SimulatedCluster,
    simulated,
)
from benchfs.client import AsyncClient
from benchfs.file import AsyncFile
from benchfs.inode import home_group

OLD, NEW = b"old" * 1000, b"new" * (CHUNK_BYTES // 2)  # NEW in two chunks
MOMENTS = [quarter * ONE_WAY_SECONDS / 4 for quarter in range(40)]
LINGERING = [ONE_WAY_SECONDS, 5 * ONE_WAY_SECONDS, 20 * ONE_WAY_SECONDS]
"""Gathered bytes are sent after so long: while those of before are on their way, or later."""

Finish = Callable[[AsyncFile], Awaitable[None]]


@pytest.fixture(params=LINGERING)
def lingering(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr("benchfs.writing.LINGER_SECONDS", request.param)
    return float(request.param)


def known_size(cluster: SimulatedCluster, ino: int) -> int:
    """What the inode's node knows of a file's size, without asking the writer."""
    group = home_group(ino)
    primary = cluster.map.primary(group)
    (home,) = [node.node for node in cluster.nodes if node.node.node_id == primary]
    return home.namespace(group).inodes.get(ino).size


async def write_over(file: AsyncFile) -> None:
    """The old bytes are being sent when this returns, the new ones are gathered."""
    await file.pwrite(OLD, 0)
    await file.pwrite(NEW, 0)


@pytest.mark.usefixtures("lingering")
@pytest.mark.parametrize("budget", [1, 1 << 26], ids=["one at a time", "all at once"])
@pytest.mark.parametrize(
    "finish", [AsyncFile.close, AsyncFile.flush, AsyncFile.fsync], ids=["close", "flush", "fsync"]
)
def test_whenever_a_file_is_flushed_all_that_was_written_is_there(
    tmp_path: Path, finish: Finish, budget: int
) -> None:
    async def finish_at_each_moment() -> None:
        async with (
            simulated(3, tmp_path, seed=1) as cluster,
            cluster.client(0.0) as writer,
            cluster.client(0.0) as other,
        ):
            writer._write_budget.limit = budget
            for moment in MOMENTS:
                async with await writer.open("/file", "wb") as file:
                    await write_over(file)
                    await asyncio.sleep(moment)
                    await finish(file)
                    assert known_size(cluster, file.inode.ino) == len(NEW), moment
                    assert await other.read_bytes("/file") == NEW, moment
                await writer.unlink("/file")

    clock.run(finish_at_each_moment())


@pytest.mark.usefixtures("lingering")
def test_whenever_its_writer_looks_all_that_was_written_is_there(tmp_path: Path) -> None:
    async def look_at_each_moment() -> None:
        async with simulated(3, tmp_path, seed=2) as cluster, cluster.client(0.0) as fs:
            for moment in MOMENTS:
                async with await fs.open("/file", "w+b") as file:
                    await write_over(file)
                    await asyncio.sleep(moment)
                    assert (await fs.stat("/file")).st_size == len(NEW), moment
                    assert (await file.stat()).st_size == len(NEW), moment
                    assert await file.pread(len(NEW), 0) == NEW, moment
                await fs.unlink("/file")

    clock.run(look_at_each_moment())


def test_a_file_that_waits_for_another_s_bytes_is_closed_when_its_own_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchfs.writing.LINGER_SECONDS", ONE_WAY_SECONDS)

    async def close_behind_another() -> bytes:
        async with simulated(3, tmp_path, seed=3) as cluster, cluster.client(0.0) as fs:
            fs._write_budget.limit = 1
            async with (
                await fs.open("/large", "wb") as large,
                await fs.open("/small", "wb") as small,
            ):
                sending = asyncio.create_task(large.write(bytes(40 * CHUNK_BYTES)))
                await small.write(b"kept")
                await asyncio.sleep(2 * ONE_WAY_SECONDS)  # the background has taken it over
                await small.close()
                await sending
            return await fs.read_bytes("/small")

    assert clock.run(close_behind_another()) == b"kept"


def test_what_was_gathered_while_the_background_sends_is_sent_soon_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchfs.writing.LINGER_SECONDS", ONE_WAY_SECONDS)

    async def write_twice() -> bytes:
        async with (
            simulated(3, tmp_path, seed=4) as cluster,
            cluster.client(0.0) as fs,
            cluster.client(0.0) as other,
            await fs.open("/file", "wb") as file,
        ):
            await file.write(b"first ")
            await asyncio.sleep(2 * ONE_WAY_SECONDS)
            await file.write(b"second")
            await asyncio.sleep(100 * ONE_WAY_SECONDS)
            return await other.read_bytes("/file")

    assert clock.run(write_twice()) == b"first second"


# ------------------------------------------------------------ fsync


def test_who_syncs_while_another_does_returns_when_the_nodes_have_answered(tmp_path: Path) -> None:
    async def sync_twice() -> None:
        async with (
            simulated(3, tmp_path, seed=7) as cluster,
            cluster.client(0.0) as fs,
            await fs.open("/file", "wb") as file,
        ):
            await file.write(b"x")
            await file.flush()
            first = asyncio.create_task(file.fsync())
            await asyncio.sleep(ONE_WAY_SECONDS / 4)
            await file.fsync()
            assert first.done()
            await first

    clock.run(sync_twice())


def test_what_a_cancelled_fsync_asked_for_the_next_one_asks_for_again(tmp_path: Path) -> None:
    async def cancel_and_sync() -> int:
        async with (
            simulated(3, tmp_path, seed=8) as cluster,
            cluster.client(0.0) as fs,
            await fs.open("/file", "wb") as file,
        ):
            await file.write(b"x")
            await file.flush()
            first = asyncio.create_task(file.fsync())
            await asyncio.sleep(ONE_WAY_SECONDS / 4)
            first.cancel()
            await asyncio.wait([first])
            before = fs.requests
            await file.fsync()
            return fs.requests - before

    assert clock.run(cancel_and_sync()) == 1


# ------------------------------------------------------------ several open files of one client


def test_a_hole_is_punched_into_what_another_open_file_wrote_before(tmp_path: Path) -> None:
    async def punch() -> bytes:
        async with (
            simulated(3, tmp_path, seed=5) as cluster,
            cluster.client(0.0) as fs,
            await fs.open("/file", "wb") as file,
            await fs.open("/file", "r+b") as another,
        ):
            await file.write(b"x" * 10)
            await another.fallocate(2, 6, punch_hole=True)
            return await fs.read_bytes("/file")

    assert clock.run(punch()) == b"xx\0\0\0\0\0\0xx"


def test_a_file_opened_to_append_begins_behind_what_the_client_has_just_written(
    tmp_path: Path,
) -> None:
    async def append() -> tuple[int, bytes]:
        async with (
            simulated(3, tmp_path, seed=6) as cluster,
            cluster.client(0.0) as fs,
            await fs.open("/file", "wb") as file,
        ):
            await file.write(b"x" * 10)
            async with await fs.open("/file", "a+b") as another:
                return another.tell(), await another.read()

    assert clock.run(append()) == (10, b"")


# ------------------------------------------------------------ at random


class TwoClients:
    """Two clients that take turns with one file, and the bytes that it has to have.

    Before the other one goes on, what was written is flushed: so much is promised.
    """

    def __init__(self, rng: random.Random, clients: list[AsyncClient]) -> None:
        self.rng = rng
        self.clients = clients
        self.turn = 0
        self.expected = bytearray()
        self.files: list[tuple[int, AsyncFile]] = []

    async def work(self, steps: int) -> None:
        acts = [self.open, self.pwrite, self.pwrite, self.append, self.cut, self.punch, self.close]
        for _ in range(steps):
            await asyncio.sleep(self.rng.choice([0.0, *MOMENTS, *LINGERING]))
            await self.rng.choice([*acts, self.flush, self.read, self.read_whole])()
        for owner, file in self.files:
            await self.take(owner)
            await file.close()
        for number in (0, 1):
            await self.take(number)
            assert await self.clients[number].read_bytes("/file") == self.expected

    async def take(self, number: int) -> AsyncClient:
        if number != self.turn:
            for owner, file in self.files:
                if owner == self.turn and not file.closed:
                    await file.flush()
            self.turn = number
        return self.clients[number]

    async def some_file(self, modes: str = "rwa") -> AsyncFile:
        found = [(owner, file) for owner, file in self.files if file.mode[0] in modes]
        if not found:
            return await self.open(modes[0])
        owner, file = self.rng.choice(found)
        await self.take(owner)
        return file

    async def open(self, kind: str = "") -> AsyncFile:
        number, kind = self.rng.randrange(2), kind or self.rng.choice("rwwa")
        client = await self.take(number)
        file = await client.open("/file", kind + "+b")
        if kind == "w":
            self.expected.clear()
        assert file.tell() == (len(self.expected) if kind == "a" else 0)
        self.files.append((number, file))
        return file

    async def pwrite(self) -> None:
        file, data, offset = await self.some_file("rw"), self.data(), self.offset()
        await file.pwrite(data, offset)
        self.put(data, offset)

    async def append(self) -> None:
        file, data = await self.some_file("a"), self.data()
        await file.write(data)
        self.put(data, len(self.expected))

    async def cut(self) -> None:
        file, size = await self.some_file(), self.offset()
        await file.truncate(size)
        self.put(b"", size)
        del self.expected[size:]

    async def punch(self) -> None:
        file, offset, size = await self.some_file("rw"), self.offset(), len(self.data())
        await file.fallocate(offset, size, punch_hole=True)
        end = min(offset + size, len(self.expected))
        if offset < end:
            self.put(bytes(end - offset), offset)

    async def close(self) -> None:
        file = await self.some_file()
        self.files = [(owner, other) for owner, other in self.files if other is not file]
        await file.close()

    async def flush(self) -> None:
        await (await self.some_file()).flush()

    async def read(self) -> None:
        file, offset, size = await self.some_file(), self.offset(), len(self.data())
        assert await file.pread(size, offset) == self.expected[offset : offset + size]
        assert (await file.stat()).st_size == len(self.expected)

    async def read_whole(self) -> None:
        client = await self.take(self.rng.randrange(2))
        assert await client.read_bytes("/file") == self.expected

    def offset(self) -> int:
        return self.rng.choice([0, 1, 4095, 4096, CHUNK_BYTES - 1, CHUNK_BYTES, 3 * CHUNK_BYTES])

    def data(self) -> bytes:
        return self.rng.randbytes(self.rng.choice([1, 10, 5000, CHUNK_BYTES, 70_000, 300_000]))

    def put(self, data: bytes, offset: int) -> None:
        self.expected.extend(bytes(max(0, offset - len(self.expected))))
        self.expected[offset : offset + len(data)] = data


EXAMPLES = 25


@pytest.mark.usefixtures("lingering")
@pytest.mark.parametrize("seed", range(2))
def test_two_clients_that_write_in_turns_read_what_was_written(tmp_path: Path, seed: int) -> None:
    async def take_turns() -> None:
        rng = random.Random(seed)
        async with (
            simulated(3, tmp_path, seed) as cluster,
            cluster.client(0.0) as first,
            cluster.client(0.0) as second,
        ):
            for _ in range(EXAMPLES):
                first._write_budget.limit = rng.choice([1, 100_000, 1 << 26])
                await first.write_bytes("/file", b"")
                await TwoClients(rng, [first, second]).work(20)
                await first.unlink("/file")

    clock.run(take_turns())
