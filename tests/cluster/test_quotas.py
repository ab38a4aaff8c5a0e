"""Quotas of a real cluster: what is refused, what is counted, what renames and links may do."""

from __future__ import annotations

import asyncio
import errno
import json
import subprocess
import sys

import pytest

import benchfs
from benchfs.errors import BenchFSError, NoSpaceError
from benchfs.fsck import Kind, Options
from benchfs.quotas import Quota, _Walk
from benchfs.user import User

MIB = 1 << 20
COMMAND = (sys.executable, "-m", "benchfs.cli.main", "quota")


async def used(fs: benchfs.AsyncClient, path: str) -> tuple[int, int]:
    """Bytes and inodes; what the nodes count anew is the same."""
    quota = await fs.get_quota(path)
    assert quota is not None
    assert quota.exact
    assert await fs.check_quota(path) == quota
    return quota.used_bytes, quota.used_inodes


async def until_used(fs: benchfs.AsyncClient, path: str, goal: tuple[int, int]) -> None:
    """The nodes hear of a close a little later."""
    async with asyncio.timeout(30):
        while (quota := await fs.get_quota(path)) is None or (
            (quota.used_bytes, quota.used_inodes) != goal
        ):
            await asyncio.sleep(0.01)
    assert await used(fs, path) == goal


def refused(failure: pytest.ExceptionInfo[BaseException]) -> bool:
    """Whether it says EDQUOT, and of which quota."""
    assert isinstance(failure.value, NoSpaceError)
    assert "the quota of /p (" in str(failure.value)
    return failure.value.errno == errno.EDQUOT


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


# ------------------------------------------------------------------ renames and links


@pytest.fixture
async def trees(fs: benchfs.AsyncClient) -> benchfs.AsyncClient:
    """/p and /q with quotas, /free without; 100 bytes in /p/f."""
    for name in ("p", "q", "free"):
        await fs.makedirs(f"/{name}/d")
    await fs.set_quota("/p", max_bytes=1000, max_inodes=10)
    await fs.set_quota("/q", max_bytes=150, max_inodes=10)
    await fs.write_bytes("/p/f", b"x" * 100)
    return fs


async def test_a_renamed_file_counts_where_it_is(trees: benchfs.AsyncClient) -> None:
    for old, new, in_p, in_q in (
        ("/p/f", "/q/d/f", 0, 100),
        ("/q/d/f", "/free/f", 0, 0),
        ("/free/f", "/p/d/f", 100, 0),
        ("/p/d/f", "/p/f", 100, 0),
    ):
        await trees.rename(old, new)
        assert (await used(trees, "/p"))[0] == in_p
        assert (await used(trees, "/q"))[0] == in_q


async def test_a_file_that_another_quota_has_no_room_for_stays(trees: benchfs.AsyncClient) -> None:
    await trees.write_bytes("/q/g", b"x" * 60)
    with pytest.raises(NoSpaceError) as failure:
        await trees.rename("/p/f", "/q/f")
    assert failure.value.errno == errno.EDQUOT
    assert (await used(trees, "/p"), await used(trees, "/q")) == ((100, 3), (60, 3))
    assert await trees.read_bytes("/p/f") == b"x" * 100


async def test_an_empty_directory_counts_where_it_is(trees: benchfs.AsyncClient) -> None:
    await trees.rename("/p/d", "/q/e")

    await trees.write_bytes("/q/e/f", b"x")

    assert await used(trees, "/p") == (100, 2)
    assert await used(trees, "/q") == (1, 4)


@pytest.mark.parametrize("what", ["directory", "linked file", "wide directory", "own quota"])
async def test_what_cannot_be_counted_to_another_quota_is_not_renamed(
    trees: benchfs.AsyncClient, what: str
) -> None:
    if what == "linked file":
        await trees.link("/p/f", "/p/x")
    elif what == "wide directory":
        await trees.mkdir("/p/x", wide=True)
    else:
        await trees.mkdir("/p/x")
        if what == "own quota":
            await trees.set_quota("/p/x", max_bytes=1)
        else:
            await trees.mkdir("/p/x/inside")
    before = await used(trees, "/p"), await used(trees, "/q")
    for target in ("/q/x", "/free/x"):
        with pytest.raises(BenchFSError) as failure:
            await trees.rename("/p/x", target)
        assert failure.value.errno == errno.EXDEV
    with pytest.raises(BenchFSError) as failure:
        await trees.rename("/p/x", "/q/d", exchange=True)
    assert failure.value.errno == errno.EXDEV
    assert (await used(trees, "/p"), await used(trees, "/q")) == before
    await trees.rename("/p/x", "/p/d/x")


async def test_a_hard_link_across_quotas_is_refused(trees: benchfs.AsyncClient) -> None:
    await trees.link("/p/f", "/p/d/g")
    for target in ("/q/g", "/q/d/g", "/free/g"):
        with pytest.raises(BenchFSError) as failure:
            await trees.link("/p/f", target)
        assert failure.value.errno == errno.EXDEV
        assert not await trees.exists(target)
    assert (await trees.stat("/p/f")).st_nlink == 2
    assert await used(trees, "/p") == (100, 3)


# ------------------------------------------------------- the other client, the command


@pytest.mark.parametrize("what", ["file", "directory"])
async def test_what_left_while_a_quota_was_set_and_counts_to_it_all_the_same_fsck_corrects(
    fs: benchfs.AsyncClient, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """It is renamed after the walk found it, and before it is told to count."""
    await fs.makedirs("/p/d")
    await fs.mkdir("/free")
    if what == "file":
        await fs.write_bytes("/p/d/x", b"x" * 100)
    else:
        await fs.mkdir("/p/d/x")
    moving = (await fs.stat("/p/d/x")).st_ino
    plain = _Walk._mark

    async def late(self: _Walk, group: int, inos: list[int]) -> bool:
        if moving in inos and await fs.exists("/p/d/x"):
            await fs.rename("/p/d/x", "/free/x")
        return await plain(self, group, inos)

    monkeypatch.setattr(_Walk, "_mark", late)
    size = 100 if what == "file" else 0
    await fs.set_quota("/p", max_bytes=1000, max_inodes=10)
    assert await used(fs, "/p") == (size, 3)  # one too many, and counting anew does not help

    report = await fs.fsck(Options(repair=True, age=0, patience=1))

    (only,) = report.found
    assert (only.finding.kind, only.path, only.repaired) == (Kind.QUOTA, "/free/x", True)
    assert await used(fs, "/p") == (0, 2)
    assert (await fs.fsck(Options(age=0, patience=1))).found == []


async def test_after_renames_in_and_out_while_a_quota_came_and_went_fsck_makes_the_count_right(
    fs: benchfs.AsyncClient,
) -> None:
    places = [f"/{top}/{number}" for top in ("p", "free") for number in range(4)]
    for place in places:
        await fs.makedirs(place)
    for number in range(24):
        await fs.write_bytes(f"{places[number % 8]}/{number}", b"x" * number)
    ended = asyncio.Event()

    async def move(first: int) -> int:
        """Rename some files around, always to the next place."""
        turn = 0
        while not ended.is_set():
            for number in range(first, 24, 4):
                old, new = places[(number + turn) % 8], places[(number + turn + 1) % 8]
                await fs.rename(f"{old}/{number}", f"{new}/{number}")
            turn += 1
        return turn

    movers = [asyncio.create_task(move(first)) for first in range(4)]
    for _ in range(4):
        await fs.set_quota("/p", max_bytes=10_000, max_inodes=1000)
        await fs.clear_quota("/p")
    await fs.set_quota("/p", max_bytes=10_000, max_inodes=1000)
    ended.set()
    assert min(await asyncio.gather(*movers)) > 0

    report = await fs.fsck(Options(repair=True, age=0, patience=1))

    assert {one.finding.kind for one in report.found} <= {Kind.QUOTA}
    assert report.clean
    inside = [int(name) for place in places[:4] for name in await fs.listdir(place)]
    assert await used(fs, "/p") == (sum(inside), len(inside) + 5)
    for place in places[:4]:
        for name in await fs.listdir(place):
            await fs.unlink(f"{place}/{name}")
    await until_used(fs, "/p", (0, 5))


async def test_setting_a_quota_that_was_interrupted_can_be_finished_by_fsck(
    fs: benchfs.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fs.makedirs("/p/d/e")
    await fs.mkdir("/p/w", wide=True)
    for path in ("/p/f", "/p/d/f", "/p/d/e/f", "/p/w/f"):
        await fs.write_bytes(path, b"x")

    async def interrupted(_: _Walk, __: int, ___: int) -> list[tuple[int, int]]:
        raise NoSpaceError(errno.EIO, "interrupted")

    with monkeypatch.context() as patch:
        patch.setattr(_Walk, "_mark_entries", interrupted)
        with pytest.raises(NoSpaceError):
            await fs.set_quota("/p", max_inodes=100)
    assert await used(fs, "/p") == (0, 1)

    report = await fs.fsck(Options(repair=True, age=0, patience=1))

    assert {one.finding.kind for one in report.found} == {Kind.QUOTA}
    assert report.clean
    assert await used(fs, "/p") == (4, 8)
    await fs.write_bytes("/p/w/g", b"x")  # wherever its names are kept
    assert await used(fs, "/p") == (5, 9)


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
