"""Directories of many entries and of several groups: made, listed, counted, renamed, removed."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator

import pytest

import benchfs


@pytest.fixture
async def fs(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(cluster.url, attribute_seconds=0) as client:
        yield client
        await client.rmtree("/")


async def fill(fs: benchfs.AsyncClient, path: str, names: list[str]) -> None:
    async def make(part: list[str]) -> None:
        for name in part:
            await (await fs.open(f"{path}/{name}", "xb")).close()

    await asyncio.gather(*[make(names[start::20]) for start in range(20)])


async def groups_of(fs: benchfs.AsyncClient, path: str) -> set[int]:
    return {entry.inode() >> 48 async for entry in fs.scandir(path)}


async def test_the_entries_of_a_wide_directory_are_in_many_groups(fs: benchfs.AsyncClient) -> None:
    await fs.mkdir("/narrow")
    await fs.mkdir("/wide", wide=True)
    names = [f"f{number:04}" for number in range(500)]
    for path in ("/narrow", "/wide"):
        await fill(fs, path, names)
        assert await fs.listdir(path) == names
    assert len(await groups_of(fs, "/narrow")) == 1
    assert 30 < len(await groups_of(fs, "/wide")) <= 64


async def test_the_time_set_for_a_wide_directory_holds_until_it_changes(
    fs: benchfs.AsyncClient,
) -> None:
    await fs.mkdir("/wide", wide=True)
    await fill(fs, "/wide", [str(number) for number in range(50)])

    await fs.utime("/wide", ns=(1, 2))
    await fs.chmod("/wide", 0o700)

    assert (await fs.stat("/wide")).st_mtime_ns == 2
    before = (await fs.stat("/wide")).st_ctime_ns
    await fs.write_bytes("/wide/new", b"1")
    await fs.chmod("/wide", 0o755)
    assert (await fs.stat("/wide")).st_mtime_ns > before


async def test_a_wide_directory_does_what_every_directory_does(fs: benchfs.AsyncClient) -> None:
    await fs.mkdir("/wide", wide=True)
    for number in range(20):
        name = f"/wide/{number}"
        await fs.write_bytes(name, b"1")
        with pytest.raises(FileExistsError):
            await fs.open(name, "xb")
        with pytest.raises(FileExistsError):
            await fs.mkdir(name)
        with pytest.raises(FileNotFoundError):
            await fs.unlink(f"{name}none")
        with pytest.raises(FileNotFoundError):
            await fs.open(f"{name}none", "rb")
        assert await fs.read_bytes(name) == b"1"
        await fs.rename(name, f"{name}new")
        await fs.mkdir(name)
        await fs.rename(f"{name}new", f"{name}/file")
        await fs.rename(name, f"{name}dir")
        assert await fs.read_bytes(f"{name}dir/file") == b"1"
        with pytest.raises(OSError) as failure:
            await fs.rmdir(f"{name}dir")
        assert failure.value.errno == errno.ENOTEMPTY
    assert await fs.listdir("/wide") == sorted(f"{number}dir" for number in range(20))
    assert len([path async for path in fs.scandir("/wide/3dir")]) == 1


async def test_what_is_made_in_a_wide_directory_is_wide(fs: benchfs.AsyncClient) -> None:
    await fs.mkdir("/wide", wide=True)
    await fs.makedirs("/wide/as/parent")
    await fs.mkdir("/wide/narrow", wide=False)
    names = [str(number) for number in range(100)]
    for path in ("/wide/as/parent", "/wide/narrow"):
        await fill(fs, path, names)
    assert len(await groups_of(fs, "/wide/as/parent")) > 10
    assert len(await groups_of(fs, "/wide/narrow")) == 1


async def test_a_wide_directory_is_removed_when_all_its_parts_are_empty(
    fs: benchfs.AsyncClient,
) -> None:
    await fs.mkdir("/wide", wide=True)
    names = [str(number) for number in range(100)]
    await fill(fs, "/wide", names)
    for name in names:
        with pytest.raises(OSError) as failure:
            await fs.rmdir("/wide")
        assert failure.value.errno == errno.ENOTEMPTY
        await fs.unlink(f"/wide/{name}")
    await fs.rmdir("/wide")
    assert not await fs.exists("/wide")
    with pytest.raises(FileNotFoundError):
        await fs.write_bytes("/wide/1", b"1")


async def test_nothing_is_made_in_a_wide_directory_that_is_removed(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    async with benchfs.AsyncClient(cluster.url) as other:
        for turn in range(20):
            path = f"/wide{turn}"
            await fs.mkdir(path, wide=True)
            await other.exists(f"{path}/x")

            async def make(number: int, path: str = path) -> bool:
                try:
                    await other.write_bytes(f"{path}/{number}", b"1")
                except FileNotFoundError:
                    return False
                return True

            async def remove(path: str = path) -> bool:
                try:
                    await fs.rmdir(path)
                except benchfs.errors.NotEmptyError:
                    return False
                return True

            removed, *made = await asyncio.gather(remove(), *[make(n) for n in range(5)])
            assert removed == (not any(made))
            found = [] if removed else await fs.listdir(path)
            assert found == [str(number) for number, there in enumerate(made) if there]


async def test_rights_and_times_of_a_wide_directory_are_those_of_all_its_parts(
    fs: benchfs.AsyncClient,
) -> None:
    await fs.mkdir("/wide", wide=True)
    await fs.chown("/wide", -1, 77)
    for number in range(10):
        await fs.write_bytes(f"/wide/{number}", b"1")
    await fs.chmod("/wide", 0o2770)
    before = await fs.stat("/wide")
    for number in range(10, 20):
        await fs.write_bytes(f"/wide/{number}", b"1")
        after = await fs.stat("/wide")
        assert after.st_mtime_ns > before.st_mtime_ns
        assert (await fs.stat(f"/wide/{number}")).st_gid == 77
        before = after


async def test_an_empty_wide_directory_may_be_replaced(fs: benchfs.AsyncClient) -> None:
    await fs.makedirs("/a/from")
    await fs.write_bytes("/a/from/file", b"1")
    await fs.mkdir("/to", wide=True)
    await fs.write_bytes("/to/x", b"1")
    with pytest.raises(OSError) as failure:
        await fs.rename("/a/from", "/to")
    assert failure.value.errno == errno.ENOTEMPTY
    await fs.unlink("/to/x")
    await fs.rename("/a/from", "/to")
    assert await fs.listdir("/to") == ["file"]


async def test_a_listing_gives_what_stays_exactly_once(fs: benchfs.AsyncClient) -> None:
    """While other entries come and go before and behind the place it has come to."""
    for path, wide in (("/narrow", False), ("/wide", True)):
        await fs.mkdir(path, wide=wide)
        names = [f"stays{number:05}" for number in range(3000)]
        await fill(fs, path, names)
        found: list[str] = []
        async for entry in fs.scandir(path):
            found.append(entry.name)
            number = len(found)
            if number % 50 == 0:
                await (await fs.open(f"{path}/stays{number:05}-new", "wb")).close()
                await (await fs.open(f"{path}/a{number}", "wb")).close()
                await fs.unlink(f"{path}/stays{number:05}-new")
        assert [name for name in found if len(name) == 10] == names
        assert len(found) == len(set(found))


async def test_entries_of_other_groups_come_with_attributes_too(fs: benchfs.AsyncClient) -> None:
    await fs.mkdir("/d")
    await fs.mkdir("/away")
    for number in range(30):
        await fs.mkdir(f"/d/dir{number:02}", 0o700)
        await fs.write_bytes(f"/away/{number}", b"x" * number)
        await fs.rename(f"/away/{number}", f"/d/file{number:02}")
    entries = [entry async for entry in fs.scandir("/d")]
    assert len(entries) == 60
    for entry in entries:
        assert await entry.stat() == await fs.stat(entry.path)
