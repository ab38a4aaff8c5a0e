"""Cutting and removing: what goes, what stays, and what comes too late."""

import asyncio
import errno

import pytest

from benchfs.layout import BLOCK_SIZE
from benchfs.rpc.errors import RemoteError
from benchfsd import rows
from benchfsd.chunks.table import MAX_PURGED, PURGED_SECONDS
from tests.contract.chunks.node import GROUP, INO, KIB, MIB, Node, flip, noise


async def test_cut_shortens_the_boundary_and_removes_what_is_beyond(node: Node) -> None:
    for index in range(4):
        node.write(0, noise(100 * KIB, index), index=index, chunk_size=128 * KIB)
    before = (await node.read_result(0, 1, index=1))[0].version

    await node.store.cut(INO, 1, 128 * KIB + 1000, 128 * KIB)

    assert await node.read(0, MIB, index=0) == noise(100 * KIB, 0)
    result, data = await node.read_result(0, MIB, index=1)
    assert data == noise(100 * KIB, 1)[:1000]
    assert result.version > before
    assert (await node.read_result(0, 1, index=2))[0].version == 0
    assert node.chunk_files() == [f"{INO:016x}.{index}" for index in (0, 1)]
    assert node.store.chunk_count == 2
    assert node.store.chunk_bytes == 100 * KIB + 1000


@pytest.mark.parametrize("stop", [None, "clean", "abrupt"])
async def test_a_cut_that_comes_again_or_late_does_nothing(node: Node, stop) -> None:
    node.write(0, noise(1000))
    await node.store.cut(INO, 5, 100, MIB)
    node.write(100, b"after the cut", truncation=5)
    node.write(0, b"after the cut", truncation=5, index=3)
    if stop == "clean":
        await node.stop()
        node.open(clean_stop=True)
    elif stop == "abrupt":
        node.end_abruptly()
        node.open(clean_stop=False)

    await node.store.cut(INO, 5, 100, MIB)
    await node.store.cut(INO, 4, 0, MIB)

    assert await node.read(0, 1000) == noise(1000)[:100] + b"after the cut"
    assert await node.read(0, 1000, index=3) == b"after the cut"


async def test_a_late_cut_of_an_old_epoch_spares_chunks_that_no_newer_one_touched(node) -> None:
    node.write(0, b"kept")
    await node.store.cut(INO, 5, MIB, MIB)

    await node.store.cut(INO, 4, 0, MIB)

    assert await node.read(0, 10) == b"kept"


async def test_bytes_that_were_cut_off_do_not_come_back(node: Node) -> None:
    node.write(0, b"x" * 200_000)
    await node.store.cut(INO, 1, 100, MIB)
    node.write(150_000, b"y", truncation=1)

    assert await node.read(0, MIB) == b"x" * 100 + bytes(149_900) + b"y"


async def test_a_cut_chunk_can_be_written_again_at_once(node: Node) -> None:
    node.write(0, b"before")
    cutting = asyncio.ensure_future(node.store.cut(INO, 1, 0, MIB))
    await asyncio.sleep(0)  # the record is deleted, the file is not yet
    node.write(3, b"after", truncation=1)
    await cutting

    assert await node.read(0, MIB) == bytes(3) + b"after"
    node.end_abruptly()
    node.open(clean_stop=False)
    assert await node.read(0, MIB) == bytes(3) + b"after"


async def test_a_damaged_chunk_can_be_cut_and_stays_damaged(node: Node) -> None:
    node.write(0, noise(2 * BLOCK_SIZE))
    await node.store.sync(INO)
    flip(node.path(), 5)

    await node.store.cut(INO, 1, 1000, MIB)
    await node.store.sync(INO)

    with pytest.raises(RemoteError, match="failed their check"):
        await node.read(10, 100)


async def test_purge_removes_records_and_files_and_refuses_late_writes(node: Node) -> None:
    for index in range(3):
        node.write(0, b"abc", index=index)
    node.write(0, b"stays", ino=INO + 1)

    for _ in range(2):
        await node.store.purge((INO, INO + 7))
        assert node.chunk_files() == [f"{INO + 1:016x}.0"]
        assert node.store.chunk_count == 1
        assert node.store.chunk_bytes == 5
        assert node.database.get(rows.file_key(INO)) is None

    for use in (
        lambda: node.write(0, b"late"),
        lambda: node.store.read(GROUP, INO, 0, 0, 1, memoryview(bytearray(1))),
    ):
        with pytest.raises(RemoteError) as caught:
            use()
        assert caught.value.code == errno.ESTALE
    assert await node.read(0, 10, ino=INO + 1) == b"stays"


async def test_a_removed_file_is_forgotten_after_a_while(node: Node) -> None:
    await node.store.purge((INO,))
    node.env.clock.advance(PURGED_SECONDS)
    await node.store.clean_idle(node.env.clock.monotonic())

    node.write(0, b"accepted")


async def test_what_is_remembered_of_removed_files_is_bounded(node: Node) -> None:
    await node.store.purge(tuple(range(1, MAX_PURGED + 2)))

    assert len(node.store._table._purged) == MAX_PURGED


async def test_files_go_only_after_the_deletion_of_their_records_is_committed(node: Node) -> None:
    node.write(0, b"abc")
    await node.store.sync(INO)
    purging = asyncio.ensure_future(node.store.purge((INO,)))
    await asyncio.sleep(0)
    assert node.database.batch_open
    assert node.chunk_files() != []
    purging.cancel()
    node.end_abruptly()  # before the commit

    node.open(clean_stop=False)
    assert await node.read(0, 3) == b"abc"


async def test_sweep_removes_files_without_records_only(node: Node) -> None:
    node.write(0, b"kept", index=1)
    for index, ino in ((0, INO), (2, INO), (0, INO + 256)):
        node.path(index, ino).write_bytes(b"left behind")
    (node.place / "chunks" / "not-ours").touch()
    (node.place / "chunks" / f"{INO & 0xFF:02x}" / "not-ours").touch()

    assert await node.store.sweep() == 3
    assert node.chunk_files() == [f"{INO:016x}.1", "not-ours"]


async def test_a_file_that_was_left_behind_shows_in_no_new_chunk(node: Node) -> None:
    node.write(0, b"a", index=1)
    node.path(0).write_bytes(b"left behind")

    node.write(20, b"new")

    assert await node.read(0, 100) == bytes(20) + b"new"
