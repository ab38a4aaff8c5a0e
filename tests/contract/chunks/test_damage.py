"""Bytes, files and records that changed behind the store's back are errors, never data."""

import errno
import os
from collections.abc import Awaitable
from pathlib import Path

import pytest

from benchfs.checks import verify_pieces
from benchfs.layout import BLOCK_SIZE
from benchfs.rpc.errors import RemoteError
from benchfsd import rows
from tests.contract.chunks.node import GROUP, INO, Node, flip, noise


async def test_a_flipped_bit_is_an_error_for_its_block_and_no_other(node: Node) -> None:
    payload = noise(3 * BLOCK_SIZE)
    node.write(0, payload)
    await node.store.sync(INO)
    flip(node.path(), BLOCK_SIZE + 5)

    with pytest.raises(RemoteError, match="bytes 65536 to 131072") as caught:
        await node.read(BLOCK_SIZE + 4096, 100)
    assert caught.value.code == errno.EBADMSG
    assert await node.read(0, BLOCK_SIZE) == payload[:BLOCK_SIZE]
    assert await node.read(2 * BLOCK_SIZE + 9, 99) == payload[2 * BLOCK_SIZE + 9 :][:99]


async def test_a_flipped_bit_in_a_whole_block_shows_in_the_check_that_comes_with_it(node) -> None:
    node.write(0, noise(2 * BLOCK_SIZE))
    await node.store.sync(INO)
    flip(node.path(), BLOCK_SIZE + 5)
    into = memoryview(bytearray(2 * BLOCK_SIZE))

    answer = node.store.read(GROUP, INO, 0, 0, 2 * BLOCK_SIZE, into)
    result = await answer if isinstance(answer, Awaitable) else answer

    assert verify_pieces(into, 0, result.checks) == BLOCK_SIZE


async def test_writing_into_a_damaged_block_does_not_make_it_good(node: Node) -> None:
    node.write(0, noise(BLOCK_SIZE))
    await node.store.sync(INO)
    flip(node.path(), 5)

    with pytest.raises(RemoteError, match="failed their check") as caught:
        node.write(30_000, b"part")
    assert caught.value.code == errno.EBADMSG
    node.write(0, b"whole" * 13_108)  # nothing of the old bytes is left

    assert await node.read(0, BLOCK_SIZE) == (b"whole" * 13_108)[:BLOCK_SIZE]


async def test_appending_to_a_damaged_block_does_not_make_it_good(node: Node) -> None:
    node.write(0, b"some bytes")
    await node.store.sync(INO)
    flip(node.path(), 5)

    for offset in (10, 5 * BLOCK_SIZE):
        with pytest.raises(RemoteError, match="failed their check"):
            node.write(offset, b"more")


@pytest.mark.parametrize("left", [None, 0, 70_000])
async def test_a_missing_or_short_file_is_an_error_and_never_zeros(node, left) -> None:
    node.write(0, noise(2 * BLOCK_SIZE))
    await node.stop()
    if left is None:
        node.path().unlink()
    else:
        os.truncate(node.path(), left)
    node.open(clean_stop=True)

    for offset, length in ((0, 2 * BLOCK_SIZE), (BLOCK_SIZE + 8192, 10)):
        with pytest.raises(RemoteError, match="file") as caught:
            await node.read(offset, length)
        assert caught.value.code == errno.EBADMSG
    with pytest.raises(RemoteError, match="file") as caught:
        node.write(BLOCK_SIZE, noise(BLOCK_SIZE))
    assert caught.value.code == errno.EBADMSG
    await node.store.purge((INO,))
    assert node.record() is None


async def test_a_damaged_record_is_an_error(node: Node) -> None:
    node.write(0, b"bytes")
    await node.store.sync(INO)
    await node.stop()
    node.open(clean_stop=True)
    node.database.put(rows.chunk_key(GROUP, INO, 0), b"nonsense")

    with pytest.raises(RemoteError, match="record is damaged") as caught:
        await node.read(0, 5)
    assert caught.value.code == errno.EBADMSG
    await node.store.purge((INO,))
    assert node.record() is None
    assert node.chunk_files() == []


async def test_a_link_in_the_place_of_a_chunk_is_not_followed(node: Node, tmp_path: Path) -> None:
    node.write(0, b"bytes")
    await node.stop()
    node.path().unlink()
    (tmp_path / "elsewhere").write_bytes(b"bytes")
    node.path().symlink_to(tmp_path / "elsewhere")
    node.open(clean_stop=True)

    with pytest.raises(RemoteError, match="missing"):
        await node.read(0, 5)
