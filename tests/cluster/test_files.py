"""Files of a real cluster: the file API held against a local file, and the rules of paths."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import benchfs
from benchfs.errors import BenchFSError

CHUNK = 65536


@pytest.fixture(params=[True, False], ids=["local-reads", "remote-reads"])
async def fs(
    cluster: benchfs.LocalCluster, request: pytest.FixtureRequest
) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(cluster.url, local_reads=request.param) as client:
        yield client
        await client.rmtree("/")


async def test_what_was_written_is_read_back_by_another_client(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    data = random.Random(1).randbytes(9 * 1024 * 1024 + 17)
    await fs.write_bytes("/large", data)
    async with benchfs.AsyncClient(cluster.url) as other:
        assert await other.read_bytes("/large") == data
        assert (await other.stat("/large")).st_size == len(data)


@pytest.mark.parametrize("piece", [1, 1000, 47_008, 65_536, 300_000, 1 << 20])
async def test_sequential_pieces_of_any_size_make_the_file(
    fs: benchfs.AsyncClient, piece: int
) -> None:
    data = random.Random(piece).randbytes(min(3_000_000, piece * 700))
    async with await fs.open("/f", "wb", chunk_size=CHUNK * 4) as file:
        for start in range(0, len(data), piece):
            assert await file.write(data[start : start + piece]) == len(data[start : start + piece])
    got = bytearray()
    async with await fs.open("/f") as file:
        while part := await file.read(piece * 3 + 1):
            got += part
    assert bytes(got) == data


@pytest.mark.parametrize("seed", range(6))
async def test_random_operations_match_a_file_in_memory(fs: benchfs.AsyncClient, seed: int) -> None:
    rng = random.Random(seed)
    oracle = io.BytesIO()
    async with await fs.open("/f", "w+b", chunk_size=CHUNK) as file:
        for _ in range(150):
            kind = rng.choice(["write", "write", "read", "seek", "pwrite", "pread", "cut", "flush"])
            offset, size = rng.randrange(5 * CHUNK), rng.choice([1, 7, 4096, 65_537, 200_000])
            if kind == "write":
                data = rng.randbytes(size)
                assert await file.write(data) == oracle.write(data)
            elif kind == "read":
                assert await file.read(size) == oracle.read(size)
            elif kind == "seek":
                assert await file.seek(offset) == oracle.seek(offset)
            elif kind == "pwrite":
                data = rng.randbytes(size)
                await file.pwrite(data, offset)
                oracle.getbuffer().release()
                position = oracle.tell()
                oracle.seek(offset)
                oracle.write(data)
                oracle.seek(position)
            elif kind == "pread":
                assert await file.pread(size, offset) == oracle.getvalue()[offset : offset + size]
            elif kind == "cut":
                await file.truncate(offset)
                position = oracle.tell()
                oracle.truncate(offset)
                if offset > len(oracle.getvalue()):
                    oracle.seek(offset - 1)
                    oracle.write(b"\0")
                oracle.seek(position)
            else:
                await file.flush()
            assert file.tell() == oracle.tell()
    assert await fs.read_bytes("/f") == oracle.getvalue()


async def test_tasks_may_write_disjoint_parts_at_once(fs: benchfs.AsyncClient) -> None:
    record = 47_008
    async with await fs.open("/shared", "w+b", chunk_size=CHUNK * 2) as file:

        async def write(rank: int) -> None:
            for step in range(6):
                position = (step * 8 + rank) * record
                await file.pwrite(bytes([rank + 1]) * record, position)

        await asyncio.gather(*[write(rank) for rank in range(8)])
    data = await fs.read_bytes("/shared")
    assert data == b"".join(bytes([n % 8 + 1]) * record for n in range(48))


async def test_two_clients_write_one_file_without_touching_each_others_bytes(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    await fs.write_bytes("/shared", b"")
    async with benchfs.AsyncClient(cluster.url) as other:
        async with (
            await fs.open("/shared", "r+b") as one,
            await other.open("/shared", "r+b") as two,
        ):
            for number in range(40):
                await one.pwrite(b"1" * 1000, number * 2000)
                await two.pwrite(b"2" * 1000, number * 2000 + 1000)
    assert await fs.read_bytes("/shared") == (b"1" * 1000 + b"2" * 1000) * 40


async def test_modes(fs: benchfs.AsyncClient) -> None:
    with pytest.raises(FileNotFoundError):
        await fs.open("/f", "rb")
    async with await fs.open("/f", "xb") as file:
        await file.write(b"one")
        with pytest.raises(BenchFSError) as failure:
            await file.read()
        assert failure.value.errno == errno.EBADF
    with pytest.raises(FileExistsError):
        await fs.open("/f", "x")
    async with await fs.open("/f", "a") as file:
        await file.write(b"two")
    assert await fs.read_bytes("/f") == b"onetwo"
    async with await fs.open("/f", "r") as file:
        with pytest.raises(BenchFSError) as failure:
            await file.write(b"x")
        assert failure.value.errno == errno.EBADF
    async with await fs.open("/f", "w") as file:
        pass
    assert (await fs.stat("/f")).st_size == 0
    for bad in ("", "rw", "q", "r++", "rt"):
        with pytest.raises(ValueError, match="mode"):
            await fs.open("/f", bad)


async def test_lines(fs: benchfs.AsyncClient) -> None:
    text = b"first\n\nthird\r\n" + b"x" * 200_000 + b"\nlast"
    await fs.write_bytes("/t", text)
    async with await fs.open("/t") as file:
        assert await file.readline() == b"first\n"
        assert file.tell() == 6
        assert [line async for line in file] == text.splitlines(keepends=True)[1:]
    async with await fs.open("/t") as file:
        assert b"".join(await file.readlines()) == text


async def test_bad_positions_and_closed_files(fs: benchfs.AsyncClient) -> None:
    await fs.write_bytes("/f", b"abc")
    file = await fs.open("/f", "r+b")
    for call in (
        lambda: file.seek(-1),
        lambda: file.pread(-1, 0),
        lambda: file.pread(1, -1),
        lambda: file.pwrite(b"x", -1),
        lambda: file.truncate(-5),
    ):
        with pytest.raises(OSError) as failure:
            await call()
        assert failure.value.errno == errno.EINVAL
        assert failure.value.filename == "/f"
    assert await file.seek(-1, os.SEEK_END) == 2
    assert await file.read() == b"c"
    await file.close()
    await file.close()
    with pytest.raises(ValueError, match="closed"):
        await file.read()


async def test_holes_read_as_zeros(fs: benchfs.AsyncClient) -> None:
    async with await fs.open("/sparse", "w+b", chunk_size=CHUNK) as file:
        await file.pwrite(b"end", 5 * CHUNK + 10)
        assert await file.pread(CHUNK * 6, 0) == bytes(5 * CHUNK + 10) + b"end"
    async with await fs.open("/sparse", "r+b") as file:
        await file.truncate(7 * CHUNK)
        assert await file.pread(10, 7 * CHUNK - 10) == bytes(10)


async def test_cut_bytes_never_come_back(fs: benchfs.AsyncClient) -> None:
    async with await fs.open("/f", "w+b", chunk_size=CHUNK) as file:
        await file.write(b"x" * 3 * CHUNK)
        await file.truncate(10)
        await file.truncate(3 * CHUNK)
        assert await file.pread(3 * CHUNK, 0) == b"x" * 10 + bytes(3 * CHUNK - 10)


async def test_a_reader_sees_what_was_written_before_its_open(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    async with benchfs.AsyncClient(cluster.url) as other:
        for number in range(5):
            await fs.write_bytes("/f", bytes([number]) * 100_000)
            assert await other.read_bytes("/f") == bytes([number]) * 100_000


async def test_directories(fs: benchfs.AsyncClient) -> None:
    await fs.makedirs("/a/b/c")
    await fs.makedirs("/a/b/c", exist_ok=True)
    with pytest.raises(FileExistsError):
        await fs.makedirs("/a/b/c")
    with pytest.raises(FileExistsError):
        await fs.mkdir("/a")
    with pytest.raises(FileNotFoundError):
        await fs.mkdir("/x/y")
    await fs.write_bytes("/a/b/f", b"1")
    with pytest.raises(NotADirectoryError):
        await fs.mkdir("/a/b/f/g")
    with pytest.raises(NotADirectoryError):
        await fs.listdir("/a/b/f")
    with pytest.raises(IsADirectoryError):
        await fs.open("/a/b", "wb")
    with pytest.raises(IsADirectoryError):
        await fs.unlink("/a/b")
    with pytest.raises(NotADirectoryError):
        await fs.rmdir("/a/b/f")
    with pytest.raises(OSError) as failure:
        await fs.rmdir("/a/b")
    assert failure.value.errno == errno.ENOTEMPTY
    assert await fs.listdir("/a/b") == ["c", "f"]
    kinds = {entry.name: entry.is_dir() async for entry in fs.scandir("/a/b")}
    assert kinds == {"c": True, "f": False}
    await fs.rmtree("/a")
    assert not await fs.exists("/a")


async def test_a_directory_of_many_pages_is_listed_whole(fs: benchfs.AsyncClient) -> None:
    await fs.mkdir("/many")
    names = [f"file-{number:05}" for number in range(2500)]

    async def make(part: list[str]) -> None:
        for name in part:
            await (await fs.open(f"/many/{name}", "wb")).close()

    await asyncio.gather(*[make(names[start::20]) for start in range(20)])
    assert await fs.listdir("/many") == names
    assert [entry.path async for entry in fs.scandir("/many")][7] == "/many/file-00007"


async def test_rename(fs: benchfs.AsyncClient) -> None:
    await fs.mkdir("/d")
    await fs.write_bytes("/d/one", b"1")
    await fs.write_bytes("/d/two", b"2")
    await fs.rename("/d/one", "/d/two")
    assert await fs.listdir("/d") == ["two"]
    assert await fs.read_bytes("/d/two") == b"1"
    with pytest.raises(FileNotFoundError):
        await fs.rename("/d/none", "/d/x")
    await fs.rename("/d", "/e")
    assert await fs.read_bytes("/e/two") == b"1"
    with pytest.raises(FileNotFoundError):
        await fs.stat("/d/two")


async def test_attributes(fs: benchfs.AsyncClient) -> None:
    await fs.write_bytes("/f", b"12345")
    await fs.chmod("/f", 0o640)
    await fs.utime("/f", ns=(1_000_000_001, 2_000_000_002))
    found = await fs.stat("/f")
    assert (found.st_mode, found.st_size, found.st_nlink) == (0o100640, 5, 1)
    assert (found.st_atime_ns, found.st_mtime_ns) == (1_000_000_001, 2_000_000_002)
    assert found.st_ino > 0
    assert (await fs.stat("/")).st_mode & 0o40000
    await fs.chown("/f", 12, -1)
    assert (await fs.stat("/f")).st_uid == 12


async def test_paths(fs: benchfs.AsyncClient) -> None:
    odd = b"/\xff\xfe caf\xc3\xa9\n"
    await fs.write_bytes(odd, b"odd")
    assert await fs.read_bytes(odd.decode("utf-8", "surrogateescape")) == b"odd"
    assert [os.fsencode(name) for name in await fs.listdir("/")] == [odd[1:]]
    await fs.unlink(odd)
    await fs.mkdir("/d")
    await fs.write_bytes("d//./../d/f", b"1")
    assert await fs.read_bytes("/d/f") == b"1"
    assert await fs.read_bytes("/../d/f") == b"1"
    name = "n" * 255
    await fs.write_bytes(f"/{name}", b"1")
    assert await fs.exists(name)
    cases: list[tuple[str, int]] = [
        ("", errno.ENOENT),
        ("/a\0b", errno.EINVAL),
        ("/" + "n" * 256, errno.ENAMETOOLONG),
        ("/" + "d/" * 2100, errno.ENAMETOOLONG),
        ("/d/f/", errno.ENOTDIR),
        ("/d/f/x", errno.ENOTDIR),
        ("/d/none/..", errno.ENOENT),
    ]
    for path, code in cases:
        with pytest.raises(OSError) as failure:
            await fs.stat(path)
        assert failure.value.errno == code, path


async def test_a_file_is_not_made_where_a_slash_says_directory_however_long_the_name(
    fs: benchfs.AsyncClient,
) -> None:
    for name in ("n", "n" * 256):
        with pytest.raises(IsADirectoryError):
            await fs.open(f"/{name}/", "wb")


async def test_statvfs_and_status(fs: benchfs.AsyncClient) -> None:
    figures = await fs.statvfs()
    assert 0 < figures.f_bavail <= figures.f_blocks
    assert figures.f_namemax == 255
    statuses = await fs.status()
    assert [status.node_id for status in statuses] == ["node-0", "node-1", "node-2"]
    assert all(status.reply is not None for status in statuses)


async def test_chunks_are_spread_over_all_nodes(fs: benchfs.AsyncClient) -> None:
    async with await fs.open("/wide", "xb", chunk_size=CHUNK) as file:
        await file.write(b"x" * 60 * CHUNK)
    counts = [status.reply.chunks for status in await fs.status() if status.reply]
    assert len(counts) == 3
    assert min(counts) > 5


def test_the_synchronous_client_has_the_same_methods(cluster: benchfs.LocalCluster) -> None:
    public = {name for name in dir(benchfs.AsyncClient) if not name.startswith("_")}
    inside = {"attribute_seconds", "by_inode", "cache", "cluster_map", "local_hits", "requests"}
    assert public - inside <= set(dir(benchfs.Client))
    with benchfs.Client(cluster.url) as fs:
        fs.makedirs("/s/t")
        with fs.open("/s/f", "wb") as file:
            file.write(b"one\ntwo\n")
            file.write(bytearray(b"three"))
        with io.BufferedReader(fs.open("/s/f")) as lines:
            assert lines.readlines() == [b"one\n", b"two\n", b"three"]
        assert [entry.name for entry in fs.scandir("/s")] == ["f", "t"]
        assert fs.stat("/s/f").st_size == 13
        with pytest.raises(FileNotFoundError, match="stat /s/none"):
            fs.stat("/s/none")
        fs.rmtree("/s")


async def test_a_name_that_is_used_again_in_a_replaced_directory_is_found(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    await fs.mkdir("/d")
    await fs.write_bytes("/d/f", b"old")
    async with benchfs.AsyncClient(cluster.url) as other:
        await other.rmtree("/d")
        await other.mkdir("/d")
        await other.write_bytes("/d/f", b"new")
    assert await fs.read_bytes("/d/f") == b"new"


async def test_all_files_of_a_client_see_what_one_of_them_did(
    cluster: benchfs.LocalCluster,
) -> None:
    async with benchfs.AsyncClient(cluster.url, attribute_seconds=60) as fs:
        async with await fs.open("/f", "w+b") as one, await fs.open("/f", "r+b") as other:
            await one.write(b"first")
            assert await other.read() == b"first"
            await other.pwrite(b"F", 0)
            assert await one.pread(10, 0) == b"First"
            await one.truncate(2)
            assert await other.pread(10, 0) == b"Fi"
            assert await other.seek(0, io.SEEK_END) == 2
            await one.pwrite(b"never seen", 0)
            await fs.truncate("/f", 1)
            assert await other.pread(10, 0) == b"n"
            await one.pwrite(b"never seen", 0)
            await fs.write_bytes("/f", b"new")
            assert await one.pread(10, 0) == await other.pread(10, 0) == b"new"
        assert await fs.read_bytes("/f") == b"new"
        await fs.unlink("/f")


async def test_a_client_that_always_asks_sees_at_once_that_another_cut_the_file(
    cluster: benchfs.LocalCluster,
) -> None:
    async with (
        benchfs.AsyncClient(cluster.url, attribute_seconds=0) as fs,
        benchfs.AsyncClient(cluster.url) as other,
    ):
        await fs.write_bytes("/f", b"content")
        async with await fs.open("/f") as file:
            await other.truncate("/f", 3)
            assert await file.pread(10, 0) == b"con"
        await fs.unlink("/f")


async def test_what_two_files_of_a_client_write_comes_in_the_order_it_was_written(
    cluster: benchfs.LocalCluster,
) -> None:
    async with benchfs.AsyncClient(cluster.url) as fs:
        async with (
            await fs.open("/f", "wb") as one,
            await fs.open("/f", "r+b") as other,
            await fs.open("/f", "ab") as end,
        ):
            await one.write(b"first")
            await end.write(b", at the end")
            await other.write(b"F")
            await one.pwrite(b"f", 0)
            await end.write(b".")
            await other.pwrite(b"A", 7)
        assert await fs.read_bytes("/f") == b"first, At the end."
        await fs.unlink("/f")


async def test_a_client_whose_closing_nobody_waits_for_leaves_no_connection(
    cluster: benchfs.LocalCluster,
) -> None:
    def sockets() -> list[str]:
        folder = Path("/proc/self/fd")
        targets = (os.readlink(link) for link in folder.iterdir() if link.is_symlink())
        return sorted(target for target in targets if target.startswith("socket:"))

    before = sockets()
    client = benchfs.AsyncClient(cluster.url)
    await client.connect()
    file = await client.open("/f", "wb")
    await file.write(b"gathered, not sent")
    assert sockets() != before

    closing = asyncio.create_task(client.close())
    await asyncio.sleep(0)  # it has begun to send what was gathered
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing

    assert sockets() == before
    async with benchfs.AsyncClient(cluster.url) as other:
        await other.rmtree("/")
