"""Holes: found, made, filled with space; the checks of what is around them stay right."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import benchfs

CHUNK = 256 * 1024
PAGE = 4096


@pytest.fixture(scope="module")
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=3, chunk_size=CHUNK) as running:
        yield running


@pytest.fixture
async def fs(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(cluster.url, local_reads=False, cache_bytes=0) as client:
        yield client
        await client.rmtree("/")


@pytest.fixture
async def other(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(cluster.url, attribute_seconds=0) as client:
        yield client


def disk_bytes(cluster: benchfs.LocalCluster, ino: int) -> int:
    """What the file's chunks take on the disks."""
    files: list[Path] = list(cluster.directory.glob(f"*/data/chunks/*/{ino:016x}.*"))
    return sum(path.stat().st_blocks * 512 for path in files)


async def extents(file: benchfs.AsyncFile) -> list[tuple[int, int]]:
    """Walk the file by SEEK_DATA and SEEK_HOLE."""
    found, at = [], 0
    while True:
        try:
            start = await file.seek(at, os.SEEK_DATA)
        except OSError as problem:
            if problem.errno != errno.ENXIO:
                raise
            return found
        at = await file.seek(start, os.SEEK_HOLE)
        found.append((start, at))


async def test_data_and_holes_are_found_across_chunks(fs: benchfs.AsyncClient) -> None:
    async with await fs.open("/f", "w+b") as file:
        await file.pwrite(b"x" * PAGE, 0)
        await file.pwrite(b"x" * 2 * CHUNK, 3 * CHUNK + 16 * PAGE)
        await file.pwrite(b"x", 100 * CHUNK - 1)
        assert await extents(file) == [
            (0, PAGE),
            (3 * CHUNK + 16 * PAGE, 5 * CHUNK + 16 * PAGE),
            (100 * CHUNK - PAGE, 100 * CHUNK),
        ]
        assert await file.seek(PAGE, os.SEEK_HOLE) == PAGE
        assert await file.seek(4 * CHUNK, os.SEEK_DATA) == 4 * CHUNK
        assert file.tell() == 4 * CHUNK


async def test_a_file_without_data_is_one_hole(fs: benchfs.AsyncClient) -> None:
    async with await fs.open("/f", "w+b") as file:
        await file.truncate(1 << 40)
        assert await extents(file) == []
        assert await file.seek(5, os.SEEK_HOLE) == 5


async def test_the_end_of_a_dense_file_is_a_hole(fs: benchfs.AsyncClient) -> None:
    async with await fs.open("/f", "w+b") as file:
        await file.write(b"x" * (2 * CHUNK + 10))
        assert await file.seek(0, os.SEEK_HOLE) == 2 * CHUNK + 10


@pytest.mark.parametrize("offset", [-1, 10, 11])
@pytest.mark.parametrize("whence", [os.SEEK_DATA, os.SEEK_HOLE])
async def test_nothing_is_found_outside_the_file(
    fs: benchfs.AsyncClient, offset: int, whence: int
) -> None:
    async with await fs.open("/f", "w+b") as file:
        await file.write(b"x" * 10)
        with pytest.raises(OSError, match="No such device or address") as caught:
            await file.seek(offset, whence)
        assert caught.value.errno == errno.ENXIO
        assert file.tell() == 10


async def test_a_punched_range_reads_as_zeros_and_takes_no_space(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient, other: benchfs.AsyncClient
) -> None:
    data = random.Random(1).randbytes(6 * CHUNK)
    start, end = CHUNK // 2, 4 * CHUNK + 3 * PAGE
    await fs.write_bytes("/f", data)
    ino = (await fs.stat("/f")).st_ino
    before = disk_bytes(cluster, ino)
    async with await fs.open("/f", "r+b") as file:
        await file.fallocate(start, end - start, punch_hole=True)
        await file.fsync()
        assert await extents(file) == [(0, start), (end, 6 * CHUNK)]
    expected = data[:start] + bytes(end - start) + data[end:]
    assert await other.read_bytes("/f") == expected
    assert before - disk_bytes(cluster, ino) == end - start
    assert (await other.stat("/f")).st_size == 6 * CHUNK


@pytest.mark.parametrize("seed", range(4))
async def test_random_punches_and_writes_match_a_file_in_memory(
    fs: benchfs.AsyncClient, other: benchfs.AsyncClient, seed: int
) -> None:
    """Ranges that share blocks with what stays: every read verifies the checks of the blocks."""
    rng = random.Random(seed)
    size = 3 * CHUNK
    oracle = bytearray(size)
    await fs.write_bytes("/f", bytes(size))
    async with await fs.open("/f", "r+b") as file, await other.open("/f") as reader:
        for _ in range(120):
            start = rng.randrange(size)
            length = rng.choice([1, 100, PAGE, 65_536, 100_000])
            end = min(start + length, size)
            kind = rng.choice(["write", "write", "punch", "zero", "sync", "read"])
            if kind == "write":
                data = rng.randbytes(end - start)
                await file.pwrite(data, start)
                oracle[start:end] = data
            elif kind == "sync":
                await file.fsync()
            elif kind == "read":
                await file.flush()
                assert await reader.pread(length, start) == oracle[start:end]
            else:
                punch = kind == "punch"
                await file.fallocate(start, end - start, punch_hole=punch, zero_range=not punch)
                oracle[start:end] = bytes(end - start)
        await file.fsync()
    assert await other.read_bytes("/f") == oracle


async def test_allocated_space_is_there_before_it_is_written(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient, other: benchfs.AsyncClient
) -> None:
    async with await fs.open("/f", "w+b") as file:
        await file.fallocate(0, 5 * CHUNK + 7)
        found = await other.stat("/f")
        assert found.st_size == 5 * CHUNK + 7
        assert disk_bytes(cluster, found.st_ino) >= 5 * CHUNK
        assert await other.read_bytes("/f") == bytes(5 * CHUNK + 7)
        await file.pwrite(b"x" * CHUNK, CHUNK)
    assert await other.read_bytes("/f") == bytes(CHUNK) + b"x" * CHUNK + bytes(3 * CHUNK + 7)


async def test_keep_size_keeps_it(fs: benchfs.AsyncClient, other: benchfs.AsyncClient) -> None:
    async with await fs.open("/f", "w+b") as file:
        await file.write(b"12345")
        await file.fallocate(0, 3 * CHUNK, keep_size=True)
        await file.fallocate(0, 2 * CHUNK, punch_hole=True)
    assert await other.read_bytes("/f") == bytes(5)


async def test_what_cannot_be_allocated_is_refused(fs: benchfs.AsyncClient) -> None:
    async with await fs.open("/f", "w+b") as file:
        for offset, length, code in [
            (0, 0, errno.EINVAL),
            (-1, 5, errno.EINVAL),
            (0, -5, errno.EINVAL),
            (1 << 48, 1, errno.EFBIG),
        ]:
            with pytest.raises(OSError) as caught:
                await file.fallocate(offset, length)
            assert caught.value.errno == code
        with pytest.raises(OSError, match="Invalid") as caught:
            await file.fallocate(0, 1, punch_hole=True, zero_range=True)
    async with await fs.open("/f") as file:
        with pytest.raises(OSError, match="Bad file") as caught:
            await file.fallocate(0, 1)
        assert caught.value.errno == errno.EBADF


async def test_more_than_the_disk_has_cannot_be_allocated(small_disk: Path) -> None:
    with benchfs.LocalCluster(nodes=2, data=small_disk, chunk_size=CHUNK) as cluster:
        async with benchfs.AsyncClient(cluster.url) as fs, await fs.open("/f", "w+b") as file:
            with pytest.raises(OSError, match="No space") as caught:
                await file.fallocate(0, 200 << 20)
            assert caught.value.errno == errno.ENOSPC
            assert (await file.stat()).st_size == 0
            await file.fallocate(0, 200 << 20, punch_hole=True)
            await fs.unlink("/f")
