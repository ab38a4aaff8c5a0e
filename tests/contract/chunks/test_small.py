"""Chunks that are small have no file: their bytes are in their record."""

import errno

import pytest

from benchfs.rpc.errors import RemoteError
from benchfsd.chunks.changing import SMALL_BYTES
from benchfsd.chunks.cleaning import IDLE_SECONDS
from benchfsd.database import Database
from benchfsd.mode import Mode
from tests import disks
from tests.contract.chunks.node import GROUP, INO, KIB, Node, noise

SMALL = noise(3901)


@pytest.fixture
async def node(tmp_path):
    opened = Node(tmp_path, small_bytes=SMALL_BYTES)
    yield opened
    opened.end_abruptly()
    assert opened.fatal == []


async def test_a_small_chunk_is_read_as_it_was_written_and_has_no_file(node) -> None:
    node.write(0, SMALL)

    assert await node.read(0, 64 * KIB) == SMALL
    assert await node.read(1000, 100) == SMALL[1000:1100]
    assert node.chunk_files() == []
    assert (node.store.chunk_count, node.store.chunk_bytes) == (1, len(SMALL))


async def test_writing_it_takes_one_transaction_and_leaves_nothing_to_clean(node) -> None:
    before = node.database.commits

    node.write(0, SMALL)
    node.database.commit()

    assert node.database.commits == before + 1
    assert not node.store.needs_cleaning


@pytest.mark.parametrize(("offset", "size"), [(0, SMALL_BYTES + 1), (1, 10)])
async def test_a_chunk_that_is_larger_or_begins_later_has_a_file(node, offset, size) -> None:
    node.write(offset, noise(size))

    assert len(node.chunk_files()) == 1


@pytest.mark.parametrize("offset", [0, 100, 3901, 10 * KIB])
async def test_the_second_write_gives_it_a_file(node, offset: int) -> None:
    node.write(0, SMALL)

    node.write(offset, b"second")

    assert len(node.chunk_files()) == 1
    expected = bytearray(SMALL.ljust(offset, b"\0"))
    expected[offset : offset + 6] = b"second"
    assert await node.read(0, 64 * KIB) == expected


@pytest.mark.parametrize("size", [10, 64 * KIB])
async def test_another_group_makes_no_chunk_in_its_place(node, size: int) -> None:
    node.write(0, SMALL)

    with pytest.raises(RemoteError, match="is in group"):
        node.write(0, noise(size), group=GROUP + 1)

    assert await node.read(0, 64 * KIB) == SMALL


@pytest.mark.parametrize("mode", Mode)
async def test_kill_leaves_a_small_chunk_whole(tmp_path, mode: Mode) -> None:
    node = Node(tmp_path, mode=mode, small_bytes=SMALL_BYTES)
    node.write(0, SMALL)
    node.database.commit()

    node.end_abruptly()

    assert node.open(clean_stop=False) == 0
    assert await node.read(0, 64 * KIB) == SMALL
    node.end_abruptly()


async def test_a_file_that_a_crash_left_beside_it_is_swept_and_never_read(node) -> None:
    node.write(0, SMALL)
    node.database.commit()
    node.files.create(INO, 0)
    node.files.write(INO, 0, 0, b"of a change that was never committed")
    node.end_abruptly()
    node.open(clean_stop=False)

    assert await node.read(0, 64 * KIB) == SMALL
    assert await node.store.sweep() == 1
    assert await node.read(0, 64 * KIB) == SMALL


async def test_that_file_is_in_nobodys_way(node) -> None:
    node.write(0, SMALL)
    node.files.create(INO, 0)
    node.files.write(INO, 0, 0, noise(64 * KIB, 2))

    node.write(len(SMALL), b"more")

    assert await node.read(0, 64 * KIB) == SMALL + b"more"


async def test_cutting_it_keeps_it_small(node) -> None:
    node.write(0, SMALL)

    await node.store.cut(INO, 1, 1000, 1024 * KIB)

    assert await node.read(0, 64 * KIB) == SMALL[:1000]
    assert node.chunk_files() == []
    assert node.store.chunk_bytes == 1000


async def test_removing_it_removes_its_bytes(node) -> None:
    node.write(0, SMALL)

    await node.store.purge((INO,))

    assert node.record() is None
    assert (node.store.chunk_count, node.store.chunk_bytes) == (0, 0)


async def test_the_file_of_a_chunk_that_was_removed_is_not_that_of_a_small_one(node) -> None:
    node.write(0, noise(64 * KIB))
    await node.store.cut(INO, 1, 0, 1024 * KIB)
    node.write(0, SMALL, truncation=1)
    node.write(10, b"second", truncation=1)
    await node.store.clean_idle(IDLE_SECONDS)

    assert await node.read(0, 64 * KIB) == SMALL[:10] + b"second" + SMALL[16:]


async def test_a_hole_punched_into_it_is_zeros(node) -> None:
    node.write(0, SMALL)

    node.store.shaper.punch(GROUP, INO, 0, 0, 10, 20)

    assert await node.read(0, 64 * KIB) == SMALL[:10] + bytes(20) + SMALL[30:]


async def test_space_allocated_for_it_changes_nothing(node) -> None:
    node.write(0, SMALL)

    node.store.shaper.allocate(GROUP, INO, 0, 0, 0, 64 * KIB)

    assert await node.read(0, 64 * KIB) == SMALL


async def test_all_of_it_is_data(node) -> None:
    node.write(0, SMALL)

    assert await node.store.shaper.map_data(INO, 1024 * KIB, 0) == ([(0, len(SMALL))], None)


async def test_it_is_not_lent(node) -> None:
    node.write(0, SMALL)

    with pytest.raises(RemoteError, match="no file") as refused:
        await node.store.lend(GROUP, INO, 0)

    assert refused.value.code == errno.ENOENT


async def test_it_is_verified_with_the_others(node) -> None:
    node.write(0, SMALL)

    report = await node.store.verify_all()

    assert (report.chunks, report.bytes, report.damaged_blocks) == (1, len(SMALL), 0)


async def test_many_in_one_turn_are_not_one_transaction(node) -> None:
    before = node.database.commits

    for index in range(1000):
        node.write(0, SMALL, index=index)
    node.database.commit()

    assert 3 <= node.database.commits - before <= 5


async def test_on_a_full_disk_it_has_no_bytes_in_the_database(node, monkeypatch) -> None:
    monkeypatch.setattr(Database, "has_headroom", False)

    node.write(0, SMALL)

    assert len(node.chunk_files()) == 1
    assert node.record().data == b""


async def test_a_disk_too_full_for_its_file_leaves_it_as_it_is(short_tmp) -> None:
    with disks.small(short_tmp, mib=16) as disk:
        node = Node(disk, small_bytes=SMALL_BYTES)
        node.write(0, SMALL)
        node.database.commit()
        with (disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError):
            while True:
                filler.write(bytes(KIB))

        with pytest.raises(RemoteError) as refused:
            node.write(0, b"second")

        assert refused.value.code == errno.ENOSPC
        assert await node.read(0, 64 * KIB) == SMALL
        assert node.chunk_files() == []
        node.end_abruptly()
