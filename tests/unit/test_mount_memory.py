"""What a mount answers by itself: names looked up ahead, and directories' attributes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from benchfs.fuse.ahead import ENTRIES, LEAST_SECONDS, LOOKUPS_BEFORE, PAUSE_SECONDS, Ahead
from benchfs.fuse.believed import Directories
from benchfs.inode import FileType
from benchfs.rpc.messages import Attributes, EntryRecord, LayoutRecord

DIRECTORY = 7
SECONDS = 1.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def inode(ino: int, kind: FileType = FileType.FILE, nlink: int = 1, time_ns: int = 0) -> Attributes:
    layout = LayoutRecord(0, 0, ())
    times = (time_ns, time_ns, time_ns)
    return Attributes(ino, kind, 0o644, nlink, 0, 0, 0, 0, *times, 1, 0, 0, 0, layout)


class Place:
    """A directory of the cluster, whose listing waits until it may go on."""

    def __init__(self, count: int) -> None:
        self.inodes = {b"%04d" % number: inode(1000 + number) for number in range(count)}
        self.asked: list[bytes] = []
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def entries(
        self, ino: int, after: bytes
    ) -> AsyncIterator[tuple[EntryRecord, Attributes]]:
        self.asked.append(after)
        await self.may_go_on.wait()
        for name, found in sorted(self.inodes.items()):
            if name > after:
                yield EntryRecord(name, found.ino, found.type, found, 1), found


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def look_up(ahead: Ahead, count: int = LOOKUPS_BEFORE, start: int = 0) -> None:
    for number in range(start, start + count):
        ahead.looked_up(DIRECTORY, b"%04d" % number)


@pytest.fixture
def clock() -> Clock:
    return Clock()


# ----------------------------------------------------------------------- names


async def test_after_some_lookups_in_a_row_the_names_that_follow_are_there(clock: Clock) -> None:
    place = Place(50)
    ahead = Ahead(place.entries, SECONDS, clock)
    look_up(ahead, LOOKUPS_BEFORE - 1)
    await settle()
    assert not place.asked

    look_up(ahead, 1, LOOKUPS_BEFORE - 1)
    await settle()
    assert place.asked == [b"0015"]
    assert ahead.take(DIRECTORY, b"0015") is None
    clock.now += 0.25
    found = ahead.take(DIRECTORY, b"0016")
    assert found is not None
    assert (found.attributes.ino, found.seconds) == (1016, 0.75)


async def test_lookups_now_and_then_fetch_nothing(clock: Clock) -> None:
    place = Place(50)
    ahead = Ahead(place.entries, SECONDS, clock)
    for number in range(3 * LOOKUPS_BEFORE):
        look_up(ahead, 1, number)
        clock.now += 1.1 * PAUSE_SECONDS
    await settle()
    assert not place.asked


async def test_where_names_are_always_asked_for_nothing_is_fetched(clock: Clock) -> None:
    place = Place(50)
    ahead = Ahead(place.entries, 0.0, clock)
    look_up(ahead)
    await settle()
    assert not place.asked


async def test_an_answer_is_given_once_and_not_when_it_is_old(clock: Clock) -> None:
    place = Place(50)
    ahead = Ahead(place.entries, SECONDS, clock)
    look_up(ahead)
    await settle()
    assert ahead.take(DIRECTORY, b"0030") is not None
    assert ahead.take(DIRECTORY, b"0030") is None
    clock.now += SECONDS - LEAST_SECONDS / 2
    assert ahead.take(DIRECTORY, b"0031") is None


async def test_what_the_mount_changes_is_not_answered(clock: Clock) -> None:
    place = Place(50)
    ahead = Ahead(place.entries, SECONDS, clock)
    look_up(ahead)
    await settle()
    ahead.changed(1020)
    ahead.name_changed(DIRECTORY, b"0021")
    assert ahead.take(DIRECTORY, b"0020") is None
    assert ahead.take(DIRECTORY, b"0021") is None
    assert ahead.take(DIRECTORY, b"0022") is not None


async def test_what_the_mount_changes_while_names_are_fetched_is_not_answered(
    clock: Clock,
) -> None:
    place = Place(50)
    place.may_go_on.clear()
    ahead = Ahead(place.entries, SECONDS, clock)
    look_up(ahead)
    await settle()
    ahead.changed(1020)
    ahead.name_changed(DIRECTORY, b"0021")
    place.may_go_on.set()
    await settle()
    assert ahead.take(DIRECTORY, b"0020") is None
    assert ahead.take(DIRECTORY, b"0021") is None
    assert ahead.take(DIRECTORY, b"0022") is not None


async def test_files_of_several_names_are_not_answered(clock: Clock) -> None:
    place = Place(50)
    place.inodes[b"0020"] = inode(1020, nlink=2)
    ahead = Ahead(place.entries, SECONDS, clock)
    look_up(ahead)
    await settle()
    assert ahead.take(DIRECTORY, b"0020") is None


async def test_fetching_what_nobody_asks_for_gets_rare(clock: Clock) -> None:
    place = Place(ENTRIES)
    ahead = Ahead(place.entries, SECONDS, clock)
    for _ in range(40):
        look_up(ahead)
        await settle()
    assert len(place.asked) == 6  # after 16 look-ups, 32, 64, 128, 256, 512

    ahead = Ahead(place.entries, SECONDS, clock)
    place.asked.clear()
    for _ in range(40):
        look_up(ahead)
        await settle()
        for number in range(200):
            ahead.take(DIRECTORY, b"%04d" % number)
    assert len(place.asked) == 40


async def test_at_the_end_nothing_is_fetched_any_more(clock: Clock) -> None:
    place = Place(50)
    place.may_go_on.clear()
    ahead = Ahead(place.entries, SECONDS, clock)
    look_up(ahead)
    await settle()
    await ahead.close()
    place.may_go_on.set()
    await settle()
    assert ahead.take(DIRECTORY, b"0020") is None


# ----------------------------------------------------------------------- directories


def test_a_directory_is_believed_for_its_time(clock: Clock) -> None:
    directories = Directories(SECONDS, clock)
    asked = directories.ask()
    clock.now += 0.25  # which the answer took
    directories.learn(inode(DIRECTORY, FileType.DIRECTORY), asked)
    found = directories.find(DIRECTORY)
    assert found is not None
    assert found.seconds == 0.75
    clock.now += 0.75
    assert directories.find(DIRECTORY) is None


def test_files_are_not_remembered(clock: Clock) -> None:
    directories = Directories(SECONDS, clock)
    directories.learn(inode(9), directories.ask())
    assert directories.find(9) is None


def test_a_new_file_moves_its_directorys_times_forward_and_no_others(clock: Clock) -> None:
    directories = Directories(SECONDS, clock)
    directories.learn(inode(DIRECTORY, FileType.DIRECTORY, time_ns=50), directories.ask())
    directories.file_was_made(DIRECTORY, inode(9, time_ns=60))
    directories.file_was_made(DIRECTORY, inode(10, time_ns=40))
    directories.file_was_made(DIRECTORY, inode(11)._replace(ctime_ns=70))  # it was there
    found = directories.find(DIRECTORY)
    assert found is not None
    times = (found.attributes.atime_ns, found.attributes.mtime_ns, found.attributes.ctime_ns)
    assert times == (50, 60, 60)


def test_a_removed_file_moves_its_directorys_times_forward(clock: Clock) -> None:
    directories = Directories(SECONDS, clock)
    directories.learn(inode(DIRECTORY, FileType.DIRECTORY, time_ns=50), directories.ask())
    directories.file_was_removed(DIRECTORY, 60)
    found = directories.find(DIRECTORY)
    assert found is not None
    assert (found.attributes.mtime_ns, found.attributes.ctime_ns) == (60, 60)
    directories.file_was_removed(DIRECTORY, 0)
    assert directories.find(DIRECTORY) is None


def test_an_answer_that_was_asked_for_before_a_change_is_not_believed(clock: Clock) -> None:
    directories = Directories(SECONDS, clock)
    for change in (
        lambda: directories.forget(DIRECTORY),
        lambda: directories.file_was_made(DIRECTORY, inode(9)),
        lambda: directories.file_was_removed(DIRECTORY, 60),
        directories.forget_all,
    ):
        asked = directories.ask()
        change()
        directories.learn(inode(DIRECTORY, FileType.DIRECTORY), asked)
        assert directories.find(DIRECTORY) is None


def test_a_directory_that_was_changed_otherwise_is_asked_for(clock: Clock) -> None:
    directories = Directories(SECONDS, clock)
    for forget in (lambda: directories.forget(DIRECTORY), directories.forget_all):
        directories.learn(inode(DIRECTORY, FileType.DIRECTORY), directories.ask())
        forget()
        assert directories.find(DIRECTORY) is None
