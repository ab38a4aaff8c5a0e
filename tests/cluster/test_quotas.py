"""Quotas of a real cluster: what is refused, what is counted, how they are set and shown."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

import benchfs
from benchfs.errors import NoSpaceError
from benchfs.quotas import Quota
from benchfs.user import User
from tests.cluster.quota_counts import refused, until_used, used

MIB = 1 << 20
COMMAND = (sys.executable, "-m", "benchfs.cli.main", "quota")


# ----------------------------------------------------------------------------- limits


async def test_no_more_inodes_than_the_quota_allows_whatever_they_are(
    fs: benchfs.AsyncClient,
) -> None:
    await fs.makedirs("/p/d")
    await fs.set_quota("/p", max_inodes=5)
    await fs.write_bytes("/p/f", b"")
    await fs.symlink("f", "/p/d/s")
    await fs.mkfifo("/p/d/fifo")

    for attempt in (
        fs.write_bytes("/p/g", b""),
        fs.mkdir("/p/d/e"),
        fs.symlink("f", "/p/t"),
        fs.mkfifo("/p/d/fifo2"),
    ):
        with pytest.raises(OSError) as failure:
            await attempt
        assert refused(failure)
    await fs.link("/p/f", "/p/another name")
    await fs.unlink("/p/d/s")
    await fs.mkdir("/p/d/e")
    assert await used(fs, "/p/d/e") == (0, 5)


async def test_many_clients_get_all_that_the_quota_allows_and_no_more(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    for number in range(8):
        await fs.makedirs(f"/p/{number}")
    await fs.set_quota("/p", max_inodes=9 + 100)

    refusals: set[int] = set()

    async def fill(number: int) -> int:
        made = 0
        async with benchfs.AsyncClient(cluster.url) as client:
            for name in range(40):
                try:
                    await client.write_bytes(f"/p/{number}/{name}", b"")
                    made += 1
                except NoSpaceError:
                    refusals.add(number)
        return made

    made = await asyncio.gather(*[fill(number) for number in range(8)])

    assert sum(made) == 100
    assert refusals
    assert await used(fs, "/p") == (0, 109)


async def test_writing_more_bytes_is_refused_and_what_was_there_stays(
    fs: benchfs.AsyncClient,
) -> None:
    await fs.mkdir("/p")
    await fs.set_quota("/p", max_bytes=10_000)
    await fs.write_bytes("/p/f", b"x" * 6000)

    with pytest.raises(OSError) as failure:
        await fs.write_bytes("/p/g", b"x" * 6000)
    assert refused(failure)
    assert await fs.read_bytes("/p/f") == b"x" * 6000
    assert (await fs.stat("/p/g")).st_size == 0
    await fs.truncate("/p/f", 4000)
    await fs.write_bytes("/p/g", b"y" * 6000)
    assert await used(fs, "/p") == (10_000, 3)


async def test_a_long_write_is_refused_while_it_goes_on(fs: benchfs.AsyncClient) -> None:
    await fs.mkdir("/p")
    await fs.set_quota("/p", max_bytes=MIB)
    written = 0
    file = await fs.open("/p/f", "wb")
    with pytest.raises(OSError) as failure:
        for _ in range(200):
            await file.write(bytes(MIB))
            written += 1
    assert refused(failure)
    with pytest.raises(OSError):
        await file.close()
    assert written < 200
    await fs.unlink("/p/f")
    await until_used(fs, "/p", (0, 1))


async def test_appending_and_lengthening_count(fs: benchfs.AsyncClient) -> None:
    await fs.mkdir("/p")
    await fs.set_quota("/p", max_bytes=1000)
    async with await fs.open("/p/f", "ab") as file:
        await file.write(b"x" * 600)
    assert await used(fs, "/p") == (600, 2)
    with pytest.raises(OSError) as failure:
        await fs.truncate("/p/f", 1001)
    assert refused(failure)
    await fs.truncate("/p/f", 1000)
    file = await fs.open("/p/f", "ab")
    with pytest.raises(OSError) as failure:
        await file.write(b"x")
        await file.flush()
    assert refused(failure)
    with pytest.raises(OSError):
        await file.close()
    assert await used(fs, "/p") == (1000, 2)


async def test_allocating_copying_and_syncing_count(fs: benchfs.AsyncClient) -> None:
    await fs.mkdir("/p")
    await fs.set_quota("/p", max_bytes=1000)
    await fs.write_bytes("/free-source", b"x" * 2000)
    file = await fs.open("/p/f", "w+b")
    async with await fs.open("/free-source") as source:
        with pytest.raises(OSError) as failure:
            await file.fallocate(0, 2000)
        assert refused(failure)
        with pytest.raises(OSError) as failure:
            await fs.copy_file_range(source, file, 2000, 0, 0)
        assert refused(failure)
    with pytest.raises(OSError):
        await file.close()
    file = await fs.open("/p/g", "wb")
    with pytest.raises(OSError) as failure:
        await file.write(b"x" * 2000)
        await file.fsync()
    assert refused(failure)
    with pytest.raises(OSError):
        await file.close()
    await fs.unlink("/free-source")


async def test_a_removed_file_counts_until_it_is_closed(fs: benchfs.AsyncClient) -> None:
    await fs.mkdir("/p")
    await fs.set_quota("/p", max_bytes=1000, max_inodes=10)
    await fs.write_bytes("/p/f", b"x" * 700)
    async with await fs.open("/p/f") as file:
        await fs.unlink("/p/f")
        assert await used(fs, "/p") == (700, 2)
        assert await file.read(1) == b"x"

    await until_used(fs, "/p", (0, 1))


# --------------------------------------------------------------- setting and clearing


@pytest.mark.parametrize("wide", [False, True])
async def test_a_quota_counts_what_was_there_before(fs: benchfs.AsyncClient, wide: bool) -> None:
    await fs.mkdir("/p", wide=wide)
    await fs.mkdir("/p/d")
    for number in range(30):
        await fs.write_bytes(f"/p/{number}", b"x" * 10)
        await fs.write_bytes(f"/p/d/{number}", b"x" * 10)
    await fs.symlink("abc", "/p/d/s")

    quota = await fs.set_quota("/p", max_bytes=100)

    assert (quota.used_bytes, quota.used_inodes) == (603, 63)
    assert await used(fs, "/p/d/3") == (603, 63)
    with pytest.raises(OSError) as failure:
        await fs.write_bytes("/p/new", b"x")
    assert refused(failure)
    await fs.rmtree("/p/d")
    for number in range(30):
        await fs.unlink(f"/p/{number}")
    await fs.write_bytes("/p/new", b"x")
    assert await used(fs, "/p") == (1, 2)


async def test_a_cleared_quota_limits_nothing(fs: benchfs.AsyncClient) -> None:
    await fs.makedirs("/p/d")
    await fs.set_quota("/p", max_inodes=2)
    with pytest.raises(OSError):
        await fs.mkdir("/p/e")

    await fs.clear_quota("/p")

    await fs.mkdir("/p/e")
    assert await fs.get_quota("/p") is None
    assert await fs.get_quota("/p/d") is None
    await fs.clear_quota("/p")
    await fs.set_quota("/p", max_inodes=4)
    assert await used(fs, "/p") == (0, 3)


async def test_a_directory_with_a_quota_of_its_own_counts_to_that_alone(
    fs: benchfs.AsyncClient,
) -> None:
    await fs.makedirs("/p/own/d")
    await fs.write_bytes("/p/own/f", b"12345")
    await fs.set_quota("/p/own", max_bytes=10)
    await fs.set_quota("/p", max_bytes=7)

    await fs.write_bytes("/p/f", b"123")

    assert await used(fs, "/p") == (3, 2)
    assert await used(fs, "/p/own/d") == (5, 3)
    await fs.clear_quota("/p/own")
    assert await used(fs, "/p/own") == (8, 5)


async def test_only_the_superuser_sets_quotas(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    await fs.mkdir("/p")
    quota = await fs.set_quota("/p", max_bytes=7)
    async with benchfs.AsyncClient(cluster.url, user=User(1001, 1001)) as alice:
        for attempt in (
            alice.set_quota("/p", max_bytes=8),
            alice.clear_quota("/p"),
            alice.check_quota("/p"),
        ):
            with pytest.raises(PermissionError):
                await attempt
        assert await alice.get_quota("/p") == quota


async def test_a_quota_is_of_a_directory(fs: benchfs.AsyncClient) -> None:
    await fs.write_bytes("/f", b"")
    with pytest.raises(NotADirectoryError):
        await fs.set_quota("/f", max_bytes=1)
    with pytest.raises(NotADirectoryError):
        await fs.clear_quota("/f")
    with pytest.raises(FileNotFoundError):
        await fs.set_quota("/missing", max_bytes=1)
    with pytest.raises(ValueError, match="-1"):
        await fs.set_quota("/", max_bytes=-1)


# ------------------------------------------------------- the other client, the command


def test_the_synchronous_client_has_the_same_methods(cluster: benchfs.LocalCluster) -> None:
    with benchfs.Client(cluster.url) as fs:
        fs.mkdir("/p")
        quota = fs.set_quota("/p", max_bytes=5, max_inodes=6)

        assert isinstance(quota, Quota)
        assert fs.get_quota("/p") == fs.check_quota("/p") == quota
        fs.clear_quota("/p")
        assert fs.get_quota("/p") is None
        fs.rmdir("/p")


async def test_the_command_sets_shows_and_clears(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    await fs.mkdir("/p")
    await fs.write_bytes("/p/f", b"123")

    async def command(*arguments: str) -> str:
        done = await asyncio.to_thread(
            subprocess.run,
            [*COMMAND, *arguments, "--cluster", str(cluster.directory)],
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        )
        return done.stdout

    await command("set", "/p", "--bytes", "10g", "--inodes", "100000")
    shown = json.loads(await command("show", "/p/f", "--json"))["quota"]
    assert shown["path"] == "/p"
    assert (shown["max_bytes"], shown["max_inodes"]) == (10 << 30, 100_000)
    assert (shown["used_bytes"], shown["used_inodes"], shown["exact"]) == (3, 2, True)
    assert "3 B of 10 GiB" in await command("check", "/p")
    await command("clear", "/p")
    assert await command("show", "/p") == "/p has no quota\n"
