"""Copies that the nodes make among themselves, held against copies in memory."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import AsyncIterator, Iterator

import pytest

import benchfs

CHUNK = 65_536


@pytest.fixture(scope="module")
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=3, chunk_size=CHUNK) as running:
        yield running


@pytest.fixture
async def fs(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(cluster.url, cache_bytes=0) as client:
        yield client
        await client.rmtree("/")


@pytest.mark.parametrize("seed", range(5))
async def test_ranges_of_any_alignment_and_chunk_size_arrive(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient, seed: int
) -> None:
    rng = random.Random(seed)
    source, target = rng.randbytes(7 * CHUNK + 99), bytearray(rng.randbytes(5 * CHUNK))
    await fs.write_bytes("/source", source)
    async with (
        await fs.open("/source") as reader,
        await fs.open("/target", "w+b", chunk_size=rng.choice([1, 2, 3]) * CHUNK) as writer,
    ):
        await writer.write(target)
        for _ in range(15):
            start, to = rng.randrange(len(source)), rng.randrange(6 * CHUNK)
            count = rng.choice([1, 5000, CHUNK, 200_000])
            part = source[start : start + count]
            assert await reader.copy_range(writer, count, start, to) == len(part)
            target.extend(bytes(max(0, to - len(target))))
            target[to : to + len(part)] = part
        assert await writer.pread(len(target) + 1, 0) == target
    async with benchfs.AsyncClient(cluster.url, local_reads=False) as other:
        assert await other.read_bytes("/target") == target


async def test_positions_move_on_and_the_end_is_zero(fs: benchfs.AsyncClient) -> None:
    await fs.write_bytes("/source", b"0123456789")
    async with await fs.open("/source") as reader, await fs.open("/target", "w+b") as writer:
        await reader.seek(4)
        assert await fs.copy_file_range(reader, writer, 100) == 6
        assert (reader.tell(), writer.tell()) == (10, 6)
        assert await fs.copy_file_range(reader, writer, 100) == 0
        await writer.seek(0)
        assert await writer.read() == b"456789"


async def test_what_was_written_and_not_sent_yet_is_copied(fs: benchfs.AsyncClient) -> None:
    async with await fs.open("/source", "w+b") as reader, await fs.open("/t", "w+b") as writer:
        await reader.write(b"fresh")
        await writer.write(b"old--and-more")
        assert await fs.copy_file_range(reader, writer, 5, 0, 0) == 5
        assert await writer.pread(100, 0) == b"fresh" + b"and-more"


async def test_holes_stay_holes_and_replace_data(fs: benchfs.AsyncClient) -> None:
    async with await fs.open("/source", "w+b") as reader, await fs.open("/t", "w+b") as writer:
        await reader.pwrite(b"x" * CHUNK, 9 * CHUNK)
        await writer.write(b"y" * 20 * CHUNK)
        assert await fs.copy_file_range(reader, writer, 10 * CHUNK, 0, CHUNK) == 10 * CHUNK
        expected = b"y" * CHUNK + bytes(9 * CHUNK) + b"x" * CHUNK + b"y" * 9 * CHUNK
        assert await writer.pread(20 * CHUNK, 0) == expected
        assert await writer.seek(CHUNK, os.SEEK_HOLE) == CHUNK
        assert await writer.seek(CHUNK, os.SEEK_DATA) == 10 * CHUNK


async def test_within_a_file_only_ranges_apart_are_copied(fs: benchfs.AsyncClient) -> None:
    data = random.Random(1).randbytes(3 * CHUNK)
    await fs.write_bytes("/f", data)
    async with await fs.open("/f", "r+b") as file:
        assert await file.copy_range(file, CHUNK, 0, 2 * CHUNK) == CHUNK
        assert await file.pread(3 * CHUNK, 0) == data[: 2 * CHUNK] + data[:CHUNK]
        with pytest.raises(OSError, match="overlap") as caught:
            await file.copy_range(file, CHUNK, 0, CHUNK - 1)
        assert caught.value.errno == errno.EINVAL


async def test_what_cannot_be_copied_is_refused(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    async with (
        benchfs.AsyncClient(cluster.url) as other,
        await fs.open("/a", "w+b") as file,
        await fs.open("/b", "ab") as append,
        await fs.open("/a") as reader,
        await other.open("/a", "r+b") as foreign,
    ):
        await file.write(b"12345")
        await file.flush()
        for source, target, offset, code in [
            (append, file, 0, errno.EBADF),
            (file, append, 0, errno.EBADF),
            (file, reader, 0, errno.EBADF),
            (file, foreign, 0, errno.EXDEV),
            (file, file, -1, errno.EINVAL),
            (reader, file, 1 << 48, errno.EFBIG),
        ]:
            with pytest.raises(OSError) as caught:
                await source.copy_range(target, 5, 0, offset)
            assert caught.value.errno == code
