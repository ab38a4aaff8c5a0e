"""Operations by inode number, and writes of one file that come at the same time."""

from __future__ import annotations

import asyncio
import errno
import random

import pytest

import benchfs
from benchfs.errors import BenchFSError
from benchfs.inode import READ, ROOT_INO, WRITE
from benchfs.rpc.messages import RenameHow

OWNER = benchfs.User(50_001, 60_001)


async def test_names_and_numbers_lead_to_the_same_as_paths(fs: benchfs.AsyncClient) -> None:
    inodes = fs.by_inode
    directory = await inodes.make_directory(ROOT_INO, b"d", 0o755, OWNER)
    made = await inodes.make_file(directory.ino, b"f", 0o640, OWNER)
    assert (made.uid, made.gid, made.mode) == (OWNER.uid, OWNER.gid, 0o640)
    assert (await fs.stat("/d/f")).st_ino == made.ino
    assert (await inodes.lookup(directory.ino, b"f")).ino == made.ino
    await inodes.rename(directory.ino, b"f", ROOT_INO, b"g", RenameHow.REPLACE)
    assert await fs.listdir("/") == ["d", "g"]
    await inodes.unlink(ROOT_INO, b"g")
    with pytest.raises(FileNotFoundError):
        await inodes.lookup(ROOT_INO, b"g")
    with pytest.raises(BenchFSError) as too_long:
        await inodes.lookup(ROOT_INO, b"n" * 256)
    assert too_long.value.errno == errno.ENAMETOOLONG


async def test_handles_of_an_inode_share_what_was_written(fs: benchfs.AsyncClient) -> None:
    files = fs.by_inode.files
    one = await fs.by_inode.create(ROOT_INO, b"f", 0o644, OWNER, exclusive=True)
    two = await files.open(one.ino, READ | WRITE, append=True)
    assert one is two
    await one.write(b"12345", 0)
    await two.append(b"6")
    view = memoryview(bytearray(10))
    assert await one.read_into(view, 0) == 6
    assert bytes(view[:6]) == b"123456"
    await files.release(one)
    await files.release(two)
    assert await fs.read_bytes("/f") == b"123456"


async def test_a_cache_is_known_to_be_good_until_somebody_else_writes(
    fs: benchfs.AsyncClient, cluster: benchfs.LocalCluster
) -> None:
    files = fs.by_inode.files

    async def is_cached(ino: int) -> bool:
        opened = await files.open(ino, READ)
        await files.release(opened)
        return opened.cached

    made = await fs.by_inode.create(ROOT_INO, b"f", 0o644, OWNER, exclusive=True)
    await made.write(b"1" * 1000, 0)
    await made.truncate(500)
    await made.write(b"2", 900)
    await files.release(made)
    assert await is_cached(made.ino)
    async with benchfs.AsyncClient(cluster.url) as other:
        await other.write_bytes("/f", b"3")
    assert not await is_cached(made.ino)
    assert await is_cached(made.ino)


async def test_writes_at_the_same_time_land_where_they_belong(
    fs: benchfs.AsyncClient, cluster: benchfs.LocalCluster
) -> None:
    rng = random.Random(1)
    size = 3_000
    places = list(range(200))
    rng.shuffle(places)
    expected = b"".join(bytes([place]) * size for place in range(200))
    # so few bytes in flight that writes wait for one another
    async with benchfs.AsyncClient(cluster.url, in_flight_bytes=size) as narrow:
        async with await narrow.open("/f", "w+b") as file:
            await asyncio.gather(
                *[file.pwrite(bytes([place]) * size, place * size) for place in places]
            )
            assert await file.pread(len(expected), 0) == expected
