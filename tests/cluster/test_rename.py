"""Renames between any two names of a cluster: files, directories, exchanges, and what is refused.

Directories get home groups by chance, over three nodes; every test has several of them.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

import benchfs
from benchfs.errors import BenchFSError
from benchfs.rpc.connection import Connection
from benchfs.rpc.messages import Hello, Prove, Release

DIRECTORIES = 8


@pytest.fixture
async def fs(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    """A client that always asks, and directories /0 to /7 in groups of their own."""
    async with benchfs.AsyncClient(cluster.url, attribute_seconds=0) as client:
        for number in range(DIRECTORIES):
            await client.mkdir(f"/{number}")
        yield client
        await client.rmtree("/")


def pairs() -> list[tuple[str, str]]:
    """Each directory with the next one, and one with itself."""
    each = [(f"/{number}", f"/{(number + 1) % DIRECTORIES}") for number in range(DIRECTORIES)]
    return [*each, ("/0", "/0"), ("", "/0"), ("/0", "")]


async def refused(code: int, fs: benchfs.AsyncClient, old: str, new: str, **how: bool) -> None:
    with pytest.raises(OSError) as failure:
        await fs.rename(old, new, **how)
    assert failure.value.errno == code, failure.value


async def test_a_file_moves_with_its_content(fs: benchfs.AsyncClient) -> None:
    for old, new in pairs():
        await fs.write_bytes(f"{old}/from", b"content")
        ino = (await fs.stat(f"{old}/from")).st_ino
        await fs.rename(f"{old}/from", f"{new}/to")
        assert not await fs.exists(f"{old}/from")
        assert await fs.read_bytes(f"{new}/to") == b"content"
        assert (await fs.stat(f"{new}/to")).st_ino == ino
        await fs.write_bytes(f"{new}/to", b"more content")
        assert (await fs.stat(f"{new}/to")).st_size == 12
        await fs.unlink(f"{new}/to")
        assert not await fs.exists(f"{new}/to")


async def test_a_replaced_file_is_gone_with_its_chunks() -> None:
    with benchfs.LocalCluster(nodes=3) as cluster:  # of its own: there are no other chunks
        async with benchfs.AsyncClient(cluster.url, attribute_seconds=0) as fs:
            await replace_files(fs)
            async with asyncio.timeout(30):
                while any(node.reply.chunk_bytes for node in await fs.status() if node.reply):
                    await asyncio.sleep(0.02)


async def replace_files(fs: benchfs.AsyncClient) -> None:
    for number in range(DIRECTORIES):
        await fs.mkdir(f"/{number}")
    for old, new in pairs():
        await fs.write_bytes(f"{old}/from", b"new")
        await fs.write_bytes(f"{new}/to", b"old" * 1000)
        await fs.rename(f"{old}/from", f"{new}/to")
        await fs.rename(f"{new}/to", f"{old}/back")  # an entry that stands for one elsewhere
        await fs.write_bytes(f"{new}/to", b"newer")
        await fs.rename(f"{new}/to", f"{old}/back")
        assert await fs.read_bytes(f"{old}/back") == b"newer"
        await fs.unlink(f"{old}/back")


async def test_a_directory_moves_with_all_that_is_below(fs: benchfs.AsyncClient) -> None:
    for old, new in pairs():
        await fs.makedirs(f"{old}/from/below")
        await fs.write_bytes(f"{old}/from/below/file", b"1")
        await fs.rename(f"{old}/from", f"{new}/to")
        assert await fs.read_bytes(f"{new}/to/below/file") == b"1"
        assert not await fs.exists(f"{old}/from")
        await fs.rmtree(f"{new}/to")


async def test_a_directory_replaces_an_empty_one_only(fs: benchfs.AsyncClient) -> None:
    for old, new in pairs():
        await fs.mkdir(f"{old}/from")
        await fs.mkdir(f"{new}/to")
        await fs.write_bytes(f"{old}/from/file", b"1")
        await fs.write_bytes(f"{new}/to/file", b"2")
        await refused(errno.ENOTEMPTY, fs, f"{old}/from", f"{new}/to")
        await fs.unlink(f"{new}/to/file")
        await fs.rename(f"{old}/from", f"{new}/to")
        assert await fs.read_bytes(f"{new}/to/file") == b"1"
        await fs.rmtree(f"{new}/to")


async def test_what_is_refused_leaves_everything_as_it_was(fs: benchfs.AsyncClient) -> None:
    for old, new in pairs():
        await fs.write_bytes(f"{old}/file", b"file")
        await fs.mkdir(f"{new}/dir")
        await fs.write_bytes(f"{new}/other", b"other")
        await refused(errno.ENOENT, fs, f"{old}/none", f"{new}/to")
        await refused(errno.ENOENT, fs, f"{old}/file", f"{new}/none/to")
        await refused(errno.ENOTDIR, fs, f"{old}/file", f"{new}/other/to")
        await refused(errno.EISDIR, fs, f"{old}/file", f"{new}/dir")
        await refused(errno.ENOTDIR, fs, f"{new}/dir", f"{old}/file")
        await refused(errno.ENOTDIR, fs, f"{old}/file/", f"{new}/to")
        await refused(errno.EEXIST, fs, f"{old}/file", f"{new}/other", replace=False)
        await refused(errno.ENOENT, fs, f"{old}/file", f"{new}/none", exchange=True)
        assert await fs.read_bytes(f"{old}/file") == b"file"
        assert await fs.read_bytes(f"{new}/other") == b"other"
        await fs.rename(f"{old}/file", f"{new}/free", replace=False)
        await fs.rename(f"{new}/free", f"{new}/free")
        for name in ("free", "other"):
            await fs.unlink(f"{new}/{name}")
        await fs.rmdir(f"{new}/dir")


async def test_a_directory_does_not_come_below_itself(fs: benchfs.AsyncClient) -> None:
    await fs.makedirs("/0/a/b/c")
    await refused(errno.EINVAL, fs, "/0/a", "/0/a/b/c/d")
    await refused(errno.EINVAL, fs, "/0/a", "/0/a/d")
    await refused(errno.ENOTEMPTY, fs, "/0/a/b", "/0/a")
    await refused(errno.EINVAL, fs, "/0/a", "/0/a/b", exchange=True)
    await refused(errno.EINVAL, fs, "/0/a/b", "/0/a", exchange=True)
    await refused(errno.EBUSY, fs, "/", "/0/a")
    await refused(errno.EBUSY, fs, "/0/a", "/")
    assert await fs.isdir("/0/a/b/c")


async def test_an_exchange_swaps_whatever_has_the_names(fs: benchfs.AsyncClient) -> None:
    for old, new in pairs():
        await fs.mkdir(f"{old}/dir")
        await fs.write_bytes(f"{old}/dir/inside", b"inside")
        await fs.write_bytes(f"{new}/file", b"file")
        await fs.rename(f"{old}/dir", f"{new}/file", exchange=True)
        assert await fs.read_bytes(f"{old}/dir") == b"file"
        assert await fs.read_bytes(f"{new}/file/inside") == b"inside"
        await fs.mkdir(f"{old}/other")
        await fs.rename(f"{new}/file", f"{old}/other", exchange=True)
        assert await fs.listdir(f"{new}/file") == []
        assert await fs.read_bytes(f"{old}/other/inside") == b"inside"
        await fs.rmtree(f"{old}/other")
        await fs.rmdir(f"{new}/file")
        await fs.unlink(f"{old}/dir")


async def test_what_stays_in_one_group_is_one_request_each(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fs.mkdir("/0/wide", wide=True)
    for directory in ("/0", "/0/wide"):
        await (await fs.open(f"{directory}/warm", "xb")).close()
    # it remembers directories
    async with benchfs.AsyncClient(cluster.url, attribute_seconds=60) as client:
        await client.exists("/0/wide/x")
        requests: list[str] = []
        call = Connection.call

        def counted(self: Connection, request: tuple[object, ...], **how: Any) -> Any:
            # what is closed is released in the background, for many files at once
            if not isinstance(request, (Hello, Prove, Release)):
                requests.append(type(request).__name__)
            return call(self, request, **how)

        monkeypatch.setattr(Connection, "call", counted)
        file = await client.open("/0/wide/warm", "ab")
        await file.close()
        assert requests == ["Open"]
        requests.clear()
        file = await client.open("/0/new", "xb")
        await client.rename("/0/new", "/0/newer")
        await client.unlink("/0/newer")
        assert requests == ["Open", "Rename", "Unlink"]
        await file.close()


async def test_a_reader_finds_a_file_under_one_of_its_names_at_any_time(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    places = [f"/{number}/file" for number in range(DIRECTORIES)]
    await fs.write_bytes(places[0], b"1")
    ended = asyncio.Event()

    async def read() -> int:
        rounds = 0
        async with benchfs.AsyncClient(cluster.url, attribute_seconds=0) as reader:
            while not ended.is_set():
                # in the order of the renames: whoever is gone from one place is at a later one
                found = [await reader.exists(place) for place in places]
                assert any(found)
                rounds += 1
        return rounds

    readers = [asyncio.create_task(read()) for _ in range(3)]
    for _ in range(8):
        for old, new in itertools.pairwise(places):
            await fs.rename(old, new)
        await fs.write_bytes(places[0], b"2")
    ended.set()
    assert all([await reader for reader in readers])


async def test_two_moves_never_make_a_loop(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    async with benchfs.AsyncClient(cluster.url, attribute_seconds=0) as other:
        for _ in range(10):
            await fs.makedirs("/0/a/c")
            await fs.makedirs("/1/b/d/e")
            outcomes = await asyncio.gather(
                fs.rename("/0/a", "/1/b/d/e/a"),
                other.rename("/1/b/d", "/0/a/c/d"),
                return_exceptions=True,
            )
            failed = [one for one in outcomes if isinstance(one, BaseException)]
            assert len(failed) == 1, outcomes
            assert isinstance(failed[0], BenchFSError)
            assert failed[0].errno in {errno.EINVAL, errno.ENOENT}
            found = sum([await fs.isdir("/0/a"), await fs.isdir("/1/b/d")])
            assert found == 1
            await fs.rmtree("/0")
            await fs.rmtree("/1")
            await fs.mkdir("/0")
            await fs.mkdir("/1")


async def test_renames_that_cross_each_other_lose_and_double_nothing(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    names = [f"/{number}/x" for number in range(4)]
    for name in names:
        await fs.write_bytes(name, name.encode())

    async def turn(start: int) -> None:
        async with benchfs.AsyncClient(cluster.url, timeout=30) as client:
            for step in range(15):
                one, two = (start + step) % 4, (start + 2 * step + 1) % 4
                await client.rename(names[one], names[two], exchange=True)

    await asyncio.gather(*[turn(start) for start in range(4)])

    contents = sorted([await fs.read_bytes(name) for name in names])
    assert contents == sorted(name.encode() for name in names)
