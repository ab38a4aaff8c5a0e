"""Chunks with holes, over every kind of chunk files: what a punch keeps, what a crash leaves."""

from __future__ import annotations

import errno
import random

import pytest

from benchfs.layout import BLOCK_SIZE
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import Code
from tests.contract.chunks.node import GROUP, INO, MIB, Node, noise

SIZE = 5 * BLOCK_SIZE + 100


def punch(node: Node, offset: int, length: int, truncation: int = 0, index: int = 0) -> int:
    return node.store.shaper.punch(GROUP, INO, index, truncation, offset, length)


def allocate(node: Node, offset: int, length: int, truncation: int = 0, index: int = 0) -> int:
    return node.store.shaper.allocate(GROUP, INO, index, truncation, offset, length)


@pytest.mark.parametrize("clean", [True, False], ids=["clean", "dirty"])
@pytest.mark.parametrize(
    ("offset", "length"),
    [
        (0, SIZE),
        (0, 10),
        (100, BLOCK_SIZE),
        (BLOCK_SIZE, 2 * BLOCK_SIZE),
        (5 * BLOCK_SIZE, 4 * BLOCK_SIZE),
        (SIZE - 1, 50),
    ],
)
async def test_a_punched_range_is_zeros_and_the_rest_stays_also_after_a_crash(
    node: Node, offset: int, length: int, clean: bool
) -> None:
    data = bytearray(noise(SIZE))
    version = node.write(0, bytes(data))
    if clean:
        await node.store.sync(INO)
    end = min(offset + length, SIZE)

    assert punch(node, offset, length) > version

    data[offset:end] = bytes(end - offset)
    assert await node.read(0, MIB) == data
    node.end_abruptly()
    node.open(clean_stop=False)
    assert await node.read(0, MIB) == data
    await node.store.sync(INO)
    node.end_abruptly()
    node.open(clean_stop=False)
    assert await node.read(0, MIB) == data


async def test_punching_a_hole_or_behind_the_end_changes_nothing(node: Node) -> None:
    assert punch(node, 0, 100) == 0
    version = node.write(0, b"abc")
    assert punch(node, 3, 100) == version
    assert node.chunk_files() == [f"{INO:016x}.0"]


async def test_bytes_that_were_damaged_are_not_declared_good_by_a_punch_beside_them(
    node: Node,
) -> None:
    node.write(0, noise(BLOCK_SIZE))
    await node.store.sync(INO)
    with node.path().open("r+b") as file:
        file.seek(5000)
        file.write(b"\0\0rot\0\0")

    with pytest.raises(RemoteError) as caught:
        punch(node, 0, 100)

    assert caught.value.code == errno.EBADMSG


async def test_a_loan_ends_before_its_chunk_is_punched(node: Node) -> None:
    node.write(0, noise(BLOCK_SIZE))
    await node.store.lend(GROUP, INO, 0)
    assert (INO, 0) in node.store.board

    punch(node, 0, 100)

    assert (INO, 0) not in node.store.board


async def test_allocated_space_has_no_bytes_and_survives_a_restart(node: Node) -> None:
    version = allocate(node, 0, MIB)

    result, data = await node.read_result(0, MIB)
    assert (result.version, data) == (version, b"")
    assert node.path().stat().st_blocks * 512 >= MIB
    await node.stop()
    node.open(clean_stop=True)
    node.write(10, b"x")
    assert await node.read(0, MIB) == bytes(10) + b"x"


async def test_shaping_under_an_epoch_that_is_over_is_refused(node: Node) -> None:
    node.write(0, b"abc")
    await node.store.cut(INO, 1, 2, MIB)

    for shape in (punch, allocate):
        with pytest.raises(RemoteError) as caught:
            shape(node, 0, 1)
        assert caught.value.code == Code.STALE_TRUNCATION


async def test_removed_files_and_ranges_outside_chunks_are_refused(node: Node) -> None:
    node.write(0, b"abc")
    for shape in (punch, allocate):
        for length in (0, 17 * MIB):
            with pytest.raises(RemoteError) as caught:
                shape(node, 0, length)
            assert caught.value.code == errno.EINVAL
    await node.store.purge((INO,))
    for shape in (punch, allocate):
        with pytest.raises(RemoteError) as caught:
            shape(node, 0, 1)
        assert caught.value.code == errno.ESTALE


async def test_the_map_of_data_leaves_out_holes(node: Node) -> None:
    node.write(0, noise(BLOCK_SIZE), index=0)
    node.write(2 * BLOCK_SIZE, noise(BLOCK_SIZE), index=3)
    node.write(0, noise(MIB), index=4)
    punch(node, 0, BLOCK_SIZE, index=4)

    extents, until = await node.store.shaper.map_data(INO, MIB, 100)

    assert until is None
    assert extents == [
        (100, BLOCK_SIZE),
        (3 * MIB + 2 * BLOCK_SIZE, 3 * MIB + 3 * BLOCK_SIZE),
        (4 * MIB + BLOCK_SIZE, 5 * MIB),
    ]


async def test_the_end_of_a_file_is_the_end_of_its_last_chunk_with_bytes(node: Node) -> None:
    assert node.store.end_of(INO, MIB) == (0, 0)
    for index in random.Random(1).sample(range(5), 5):
        node.write(0, noise(100 + index), index=index)
    allocate(node, 0, 50, index=9)
    assert node.store.end_of(INO, MIB) == (0, 4 * MIB + 104)
    await node.store.cut(INO, 3, MIB + 7, MIB)
    assert node.store.end_of(INO, MIB) == (3, MIB + 7)


async def test_a_file_system_that_cannot_allocate_says_so(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no such thing here")

    monkeypatch.setattr(type(node.store._files), "allocate", cannot)

    with pytest.raises(RemoteError) as caught:
        allocate(node, 0, MIB)

    assert caught.value.code == errno.EOPNOTSUPP
