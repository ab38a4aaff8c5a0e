"""A full or failing disk: new bytes are refused, and those that are there stay."""

import errno
import os
from pathlib import Path

import pytest

from benchfs.layout import BLOCK_SIZE
from benchfs.rpc.errors import RemoteError
from tests.contract.chunks.node import INO, KIB, MIB, Node, noise


async def test_a_full_disk_refuses_new_bytes_and_keeps_the_old_ones(small_disk: Path) -> None:
    node = Node(small_disk, reserve=None)
    payload = noise(MIB)
    written = []
    with pytest.raises(RemoteError, match="node-1") as caught:
        for index in range(100):
            node.write(0, payload, index=index)
            written.append(index)
    assert caught.value.code == errno.ENOSPC
    assert 8 <= len(written) <= 12  # of 16 MiB: 4 in reserve, some for the database
    assert node.store.free_bytes < MIB

    for index in written:
        assert await node.read(0, MIB, index=index) == payload
    with pytest.raises(RemoteError, match="full"):
        node.write(MIB - 1, noise(MIB), index=0, chunk_size=2 * MIB)  # it grows
    node.write(0, noise(MIB, 2), index=0)  # overwriting takes no space
    await node.store.sync(INO)
    await node.store.cut(INO, 1, MIB // 2, MIB)
    assert await node.read(0, MIB) == noise(MIB, 2)[: MIB // 2]
    node.write(0, payload, index=1, truncation=1)
    await node.store.purge((INO,))
    assert node.chunk_files() == []
    node.write(0, payload, ino=INO + 1)
    await node.stop()


async def test_a_write_that_the_disk_cuts_short_changes_no_acknowledged_byte(small_disk) -> None:
    node = Node(small_disk)  # no reserve: the disk itself is full in the middle of a write
    payload = noise(MIB)
    index = 0
    hog = small_disk / "hog"
    node.write(0, payload[:100_000], index=0)
    await node.store.sync(INO)
    with hog.open("wb") as file:
        free = os.statvfs(small_disk).f_bavail * 4096
        file.write(bytes(free - 512 * KIB))

    with pytest.raises(RemoteError, match="full") as caught:
        for index in range(3):
            node.write(100_000 if index == 0 else 0, payload[100_000:], index=index)

    assert caught.value.code == errno.ENOSPC
    assert await node.read(0, 100_000) == payload[:100_000]
    if index == 0:
        assert await node.read(0, MIB) == payload[:100_000]
    hog.unlink()
    node.write(100_000, payload[100_000:], index=0)
    assert await node.read(0, MIB) == payload
    await node.stop()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
async def test_a_write_that_fails_half_way_harms_no_neighbour(
    node: Node, monkeypatch, code
) -> None:
    old = noise(BLOCK_SIZE + 1000)
    node.write(0, old)
    real = node.files.write

    def write_half(ino, index, offset, payload) -> None:
        real(ino, index, offset, payload[: len(payload) // 2])
        raise OSError(code, os.strerror(code))

    for offset, size in ((100, 200), (BLOCK_SIZE, 5000), (5 * BLOCK_SIZE, 100)):
        monkeypatch.setattr(node.files, "write", write_half)
        with pytest.raises(RemoteError) as caught:
            node.write(offset, b"x" * size)
        assert caught.value.code == (errno.EIO if code == errno.EIO else errno.ENOSPC)
        assert caught.value.node == "node-1"
        monkeypatch.setattr(node.files, "write", real)

        data = await node.read(0, MIB)
        assert len(data) == node.store.chunk_bytes == len(old)
        assert data[:100] == old[:100]
        assert data[300:BLOCK_SIZE] == old[300:BLOCK_SIZE]

    node.write(6 * BLOCK_SIZE, b"later")
    assert await node.read(5 * BLOCK_SIZE, BLOCK_SIZE) == bytes(BLOCK_SIZE)
    assert await node.read(len(old), BLOCK_SIZE) == bytes(BLOCK_SIZE)
