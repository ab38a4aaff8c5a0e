"""The rules of `fsck` over made-up rows: what is wrong is found, what is right is not."""

from __future__ import annotations

import pytest

from benchfs.fsck import Finding, Kind
from benchfs.fsck.rules import Tally
from benchfs.inode import ROOT_INO, FileType, make_ino
from benchfs.rpc.messages import (
    Attributes,
    LayoutRecord,
    SurveyedChunk,
    SurveyedEntry,
    SurveyedInode,
)

GROUPS = 8
NOW_NS = 1_000_000_000_000
AGE_NS = 60_000_000_000
CHUNK = 65536
LAYOUT = LayoutRecord(CHUNK, 3, ())

FILE = make_ino(2, 0, 16)
DIRECTORY = make_ino(3, 0, 16)
GONE = make_ino(4, 0, 16)


def inode(ino: int, file_type: int = FileType.FILE, **changes: int) -> Attributes:
    plain = Attributes(
        ino=ino,
        type=file_type,
        mode=0o755,
        nlink=1,
        uid=0,
        gid=0,
        size=0,
        truncation=0,
        atime_ns=0,
        mtime_ns=0,
        ctime_ns=0,
        change=1,
        parent=0,
        entries=0,
        fanout=0,
        layout=LAYOUT,
    )
    return plain._replace(**changes)


def directory(ino: int, parent: int, entries: int = 0) -> Attributes:
    return inode(ino, FileType.DIRECTORY, parent=parent, entries=entries, fanout=1)


def entry(parent: int, name: bytes, ino: int, **flags: bool) -> SurveyedEntry:
    plain = SurveyedEntry(parent, name, ino, FileType.FILE, lost=False, held=False)
    return plain._replace(**flags)


class World:
    """The rows of a small cluster: the root with a directory, which has a file."""

    def __init__(self) -> None:
        self.inodes = {
            ROOT_INO: directory(ROOT_INO, ROOT_INO, entries=1),
            DIRECTORY: directory(DIRECTORY, ROOT_INO, entries=1),
            FILE: inode(FILE, size=2 * CHUNK),
        }
        self.entries = [
            (0, entry(ROOT_INO, b"d", DIRECTORY)),
            (3, entry(DIRECTORY, b"f", FILE)),
        ]
        self.parts: list[tuple[int, Attributes]] = []
        self.used: dict[int, tuple[int, ...]] = {}
        self.chunks = [
            SurveyedChunk(3, FILE, 0, CHUNK, 0),
            SurveyedChunk(4, FILE, 1, CHUNK, 0),
        ]
        self.open: set[int] = set()
        self.pending: set[int] = set()
        self.busy: set[int] = set()
        self.led = frozenset(range(GROUPS))

    def findings(self, shares: int = 1) -> list[Finding]:
        found = []
        quotas = {one.ino: one.quota for one in self.inodes.values()} if shares > 1 else None
        for share in range(shares):
            tally = Tally(share, shares, GROUPS, frozenset(self.busy), quotas)
            ours = [one for one in self.inodes.values() if one.ino % shares == share]
            tally.add_inodes(map(self._surveyed, ours), now_ns=NOW_NS, age_ns=AGE_NS)
            for group, part in self.parts:
                if part.ino % shares == share:
                    tally.add_parts(group, [self._surveyed(part)])
            for group, one in self.entries:
                tally.add_entries(group, [one])
            for ino in tally.wide_directories():
                tally.add_used(ino, self.used.get(ino, ()))
            chunks = [chunk for chunk in self.chunks if chunk.ino % shares == share]
            tally.add_chunks("node", chunks, self.led)
            found += list(tally.findings())
        return found

    def _surveyed(self, attributes: Attributes) -> SurveyedInode:
        ino = attributes.ino
        return SurveyedInode(attributes, ino in self.open, ino in self.pending)

    def change(self, ino: int, **changes: int) -> None:
        self.inodes[ino] = self.inodes[ino]._replace(**changes)

    @property
    def kinds(self) -> list[Kind]:
        return [finding.kind for finding in self.findings()]


@pytest.fixture
def world() -> World:
    return World()


def test_a_world_that_is_right_has_no_findings(world: World) -> None:
    assert world.findings() == []


@pytest.mark.parametrize("shares", [2, 3, 7, 16])
def test_shares_find_what_the_whole_finds_and_each_thing_once(world: World, shares: int) -> None:
    world.entries.append((2, entry(GONE, b"x", GONE, lost=True)))
    world.entries.append((0, entry(ROOT_INO, b"x", GONE)))
    world.change(FILE, nlink=3)

    assert sorted(world.findings(shares)) == sorted(world.findings())
    assert sorted(world.kinds) == sorted([Kind.LOST_ENTRY, Kind.DANGLING, Kind.LINKS, Kind.COUNT])


# ------------------------------------------------------------------------- names


def test_an_inode_without_a_name(world: World) -> None:
    del world.entries[1]
    world.change(DIRECTORY, entries=0)

    (only,) = world.findings()

    assert (only.kind, only.group, only.ino) == (Kind.NAMELESS, 2, FILE)


@pytest.mark.parametrize("why", ["young", "pending", "busy"])
def test_what_is_young_or_unfinished_is_left_alone(world: World, why: str) -> None:
    del world.entries[1]
    world.change(DIRECTORY, entries=0)
    if why == "young":
        world.change(FILE, ctime_ns=NOW_NS - AGE_NS + 1)
    else:
        getattr(world, why).add(FILE)

    assert world.findings() == []


def test_a_file_that_was_removed_while_open_is_right(world: World) -> None:
    del world.entries[1]
    world.change(DIRECTORY, entries=0)
    world.change(FILE, nlink=0)
    assert world.kinds == [Kind.NAMELESS]

    world.open.add(FILE)

    assert world.findings() == []


def test_a_link_count_that_is_not_the_number_of_names(world: World) -> None:
    world.entries.append((0, entry(ROOT_INO, b"link", FILE)))
    world.change(ROOT_INO, entries=2)

    (only,) = world.findings()

    assert (only.kind, only.ino, only.found, only.expected) == (Kind.LINKS, FILE, 1, 2)


def test_an_entry_without_an_inode_unless_it_is_being_removed(world: World) -> None:
    world.change(ROOT_INO, entries=2)
    world.entries.append((0, entry(ROOT_INO, b"x", GONE)))
    (only,) = world.findings()
    assert (only.kind, only.group, only.parent, only.name) == (Kind.DANGLING, 0, ROOT_INO, b"x")

    world.entries[-1] = (0, entry(ROOT_INO, b"x", GONE, held=True))

    assert world.findings() == []


def test_an_entry_without_a_directory_is_no_name(world: World) -> None:
    world.entries[1] = (4, entry(GONE, b"f", FILE, lost=True))
    world.change(DIRECTORY, entries=0)

    assert sorted(world.kinds) == [Kind.LOST_ENTRY, Kind.NAMELESS]


def test_a_row_that_cannot_be_read_is_there(world: World) -> None:
    del world.inodes[FILE]
    tally = Tally(0, 1, GROUPS, frozenset())
    tally.add_unreadable(FILE)
    tally.add_entries(3, [world.entries[1][1]])
    tally.add_chunks("node", world.chunks, world.led)

    assert list(tally.findings()) == []


# ------------------------------------------------------------------------- directories


def test_a_directory_with_another_parent_than_it_says(world: World) -> None:
    world.change(DIRECTORY, parent=GONE)

    (only,) = world.findings()

    assert (only.kind, only.expected) == (Kind.PARENT, ROOT_INO)


def test_a_directory_with_two_names(world: World) -> None:
    world.entries.append((0, entry(ROOT_INO, b"again", DIRECTORY)))
    world.change(ROOT_INO, entries=2)

    assert world.kinds == [Kind.NAMES]


@pytest.mark.parametrize("shares", [1, 3])
def test_what_counts_to_another_quota_than_its_directory(world: World, shares: int) -> None:
    world.change(DIRECTORY, quota=DIRECTORY)  # one of its own
    (only,) = world.findings(shares)
    assert (only.kind, only.ino, only.found, only.expected) == (Kind.QUOTA, FILE, 0, DIRECTORY)

    world.change(FILE, quota=DIRECTORY)
    assert world.findings(shares) == []

    world.change(DIRECTORY, quota=GONE)
    found = sorted((one.ino, one.expected) for one in world.findings(shares))
    assert found == sorted([(DIRECTORY, 0), (FILE, GONE)])


def test_what_has_names_in_several_directories_may_count_to_any_quota(world: World) -> None:
    world.change(DIRECTORY, quota=DIRECTORY)
    world.change(ROOT_INO, entries=2)
    world.change(FILE, nlink=2)
    world.entries.append((0, entry(ROOT_INO, b"link", FILE)))

    assert world.findings() == []


@pytest.mark.parametrize("entries", [0, 2])
def test_a_count_that_is_not_the_number_of_entries(world: World, entries: int) -> None:
    world.change(DIRECTORY, entries=entries)

    (only,) = world.findings()

    assert (only.kind, only.found, only.expected) == (Kind.COUNT, entries, 1)


def test_a_part_counts_the_entries_of_its_group(world: World) -> None:
    world.parts = [(5, directory(DIRECTORY, ROOT_INO, entries=1))]
    world.used = {DIRECTORY: (5,)}
    world.entries.append((5, entry(DIRECTORY, b"link", FILE)))
    world.change(FILE, nlink=2)
    assert world.findings() == []

    world.parts = [(5, directory(DIRECTORY, ROOT_INO, entries=3))]

    (only,) = world.findings()
    assert (only.kind, only.group) == (Kind.COUNT, 5)


def test_a_part_that_the_directory_does_not_know_or_that_has_none(world: World) -> None:
    world.parts = [(5, directory(DIRECTORY, ROOT_INO)), (6, directory(GONE, ROOT_INO))]

    assert sorted(world.kinds) == [Kind.UNKNOWN_PART, Kind.LOST_PART]


# ------------------------------------------------------------------------- chunks


def test_chunks_without_an_inode_are_found_once_a_group(world: World) -> None:
    world.chunks += [SurveyedChunk(1, GONE, index, 1, 0) for index in (0, 8)]

    (only,) = world.findings()

    assert (only.kind, only.group, only.node) == (Kind.LOST_CHUNKS, 1, "node")


def test_a_chunk_in_a_group_where_nobody_looks_for_it(world: World) -> None:
    world.chunks[0] = world.chunks[0]._replace(group=7)
    assert world.kinds == [Kind.WRONG_GROUP]

    world.chunks[0] = world.chunks[0]._replace(group=3)
    world.led = frozenset({4})

    assert world.kinds == [Kind.WRONG_GROUP]


def test_a_size_below_the_bytes_that_arrived_unless_it_is_open(world: World) -> None:
    world.change(FILE, size=5)
    (only,) = world.findings()
    assert (only.kind, only.found, only.expected) == (Kind.SHORT_SIZE, 5, 2 * CHUNK)

    world.open.add(FILE)

    assert world.findings() == []


def test_a_size_above_the_bytes_is_a_hole(world: World) -> None:
    world.change(FILE, size=1 << 40)

    assert world.findings() == []


def test_bytes_that_an_earlier_truncation_should_have_cut(world: World) -> None:
    world.change(FILE, size=CHUNK, truncation=1)
    world.chunks[0] = world.chunks[0]._replace(truncation=1)

    (only,) = world.findings()

    assert (only.kind, only.node) == (Kind.UNCUT, "node")
