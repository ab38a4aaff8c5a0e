"""Quotas of a real cluster and what moves: renames, links, and counts that fsck makes right."""

from __future__ import annotations

import asyncio
import errno

import pytest

import benchfs
from benchfs.errors import BenchFSError, NoSpaceError
from benchfs.fsck import Kind, Options
from benchfs.quotas import _Walk
from tests.cluster.quota_counts import until_used, used


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


# --------------------------------------------------------- what fsck makes right


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

    report = await fs.fsck(Options(repair=True, age=0, patience=20))

    (only,) = report.found
    assert (only.finding.kind, only.path, only.repaired) == (Kind.QUOTA, "/free/x", True)
    assert await used(fs, "/p") == (0, 2)
    assert (await fs.fsck(Options(age=0, patience=20))).found == []


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

    report = await fs.fsck(Options(repair=True, age=0, patience=20))

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

    report = await fs.fsck(Options(repair=True, age=0, patience=20))

    assert {one.finding.kind for one in report.found} == {Kind.QUOTA}
    assert report.clean
    assert await used(fs, "/p") == (4, 8)
    await fs.write_bytes("/p/w/g", b"x")  # wherever its names are kept
    assert await used(fs, "/p") == (5, 9)
