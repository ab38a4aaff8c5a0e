"""What was written is read with its checks, whatever the range; what is refused harms nothing."""

import errno
import random
import shutil

import pytest

from benchfs.checks import piece_checks
from benchfs.env import fixed_env
from benchfs.layout import BLOCK_SIZE, MAX_CHUNK_SIZE
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import Code
from benchfsd.chunks import (
    ReadResult,
    refusals,
)
from tests.contract.chunks.node import GROUP, INO, KIB, MIB, Node, noise


async def test_what_was_written_is_read(node: Node) -> None:
    payload = noise(300 * KIB)
    version = node.write(100, payload)

    result, data = await node.read_result(100, len(payload))

    assert data == payload
    assert result.version == version > 0


@pytest.mark.parametrize("offset", [0, 1, 4096, BLOCK_SIZE - 1, BLOCK_SIZE, 3 * BLOCK_SIZE + 7])
@pytest.mark.parametrize("length", [1, 4096, BLOCK_SIZE, BLOCK_SIZE + 2, 200 * KIB, MIB])
async def test_any_range_is_read_with_the_checks_of_its_pieces(node, offset, length) -> None:
    payload = noise(5 * BLOCK_SIZE + 100)
    node.write(0, payload)
    await node.store.sync(INO)

    assert await node.read(offset, length) == payload[offset : offset + length]


async def test_a_chunk_that_is_not_there_is_a_hole_of_version_zero(node: Node) -> None:
    assert await node.read_result(0, 100) == (ReadResult(0, 0, b""), b"")


async def test_a_read_after_the_end_finds_nothing_in_a_chunk_that_is_there(node: Node) -> None:
    version = node.write(0, b"abc")

    assert await node.read_result(3, 10) == (ReadResult(version, 0, b""), b"")


async def test_bytes_between_two_writes_are_zeros_with_the_checks_of_zeros(node: Node) -> None:
    node.write(10, b"begin")
    node.write(400 * KIB, b"end")

    assert await node.read(0, 500 * KIB) == bytes(10) + b"begin" + bytes(400 * KIB - 15) + b"end"


async def test_neighbours_in_one_block_do_not_disturb_each_other(node: Node) -> None:
    """Records of 47,008 bytes: no record begins or ends where a page or a block does."""
    size, count = 47_008, 20
    for number in random.Random(5).sample(range(count), count):
        node.write(number * size, noise(size, number))
        if number % 5 == 0:
            await node.store.sync(INO)

    for number in range(count):
        assert await node.read(number * size, size) == noise(size, number)


async def test_versions_grow_with_every_write_across_restarts_and_removal(node: Node) -> None:
    versions = [node.write(0, b"a"), node.write(0, b"a")]
    node.end_abruptly()
    node.open(clean_stop=False)
    versions.append((await node.read_result(0, 1))[0].version)
    versions.append(node.write(0, b"a"))
    await node.stop()
    node.open(clean_stop=True)
    await node.store.cut(INO, 1, 0, MIB)
    versions.append(node.write(0, b"a", truncation=1))

    assert versions == sorted(set(versions))


async def test_versions_are_not_repeated_by_a_clock_that_went_back(node: Node) -> None:
    node.env.clock.advance(1000)
    await node.stop()
    node.open(clean_stop=True)
    before = node.write(0, b"a")
    node.end_abruptly()
    node.env = fixed_env()  # a thousand seconds earlier
    node.open(clean_stop=False)

    assert node.write(0, b"b") > before


async def test_versions_are_not_repeated_by_a_store_that_was_made_anew(node: Node) -> None:
    before = node.write(0, b"a")
    await node.stop()
    shutil.rmtree(node.place / "db")
    shutil.rmtree(node.place / "chunks")
    node.env.clock.advance(1)
    node.open(clean_stop=True)

    assert node.write(0, b"b") > before


# ---------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("offset", "size", "chunk_size"),
    [(MIB - 1, 2, MIB), (MIB, 1, MIB), (-1, 1, MIB), (0, 0, MIB), (0, 1, MAX_CHUNK_SIZE + 1)],
)
async def test_a_write_outside_the_chunk_is_invalid(node, offset, size, chunk_size) -> None:
    with pytest.raises(RemoteError) as caught:
        node.store.write(GROUP, INO, 0, 0, offset, bytes(size), b"", chunk_size)

    assert caught.value.code == errno.EINVAL
    assert node.chunk_files() == []


async def test_a_payload_that_changed_in_transit_is_not_written(node: Node) -> None:
    node.write(0, b"before")

    with pytest.raises(RemoteError, match="in transit") as caught:
        node.store.write(GROUP, INO, 0, 0, 0, b"aftes", piece_checks(b"after", 0), MIB)

    assert caught.value.code == errno.EBADMSG
    assert await node.read(0, 10) == b"before"


async def test_a_request_with_a_wrong_group_destroys_nothing(node: Node) -> None:
    node.write(0, b"mine")
    for _ in range(2):  # while the chunk is in memory, and while it is not
        with pytest.raises(RemoteError, match="is in group 3") as caught:
            node.write(0, b"other", group=GROUP + 1)
        assert caught.value.code == errno.EINVAL
        await node.stop()
        node.open(clean_stop=True)

    assert await node.read(0, 10) == b"mine"


async def test_an_old_truncation_epoch_is_refused_and_learns_the_newer_one(node: Node) -> None:
    node.write(0, b"new", truncation=300)

    with pytest.raises(RemoteError) as caught:
        node.write(0, b"old", truncation=299, index=1)

    assert caught.value.code == Code.STALE_TRUNCATION
    assert caught.value.detail == refusals.pack_truncation(300)


async def test_an_epoch_once_seen_holds_after_a_crash(node: Node) -> None:
    node.write(0, b"new", truncation=2)
    await node.store.cut(INO + 1, 5, 0, MIB)
    node.end_abruptly()
    node.open(clean_stop=False)

    for ino, old in ((INO, 1), (INO + 1, 4)):
        with pytest.raises(RemoteError) as caught:
            node.write(0, b"old", truncation=old, ino=ino)
        assert caught.value.code == Code.STALE_TRUNCATION
