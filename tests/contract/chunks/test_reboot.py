"""A store that saw another boot believes what was confirmed, and no more."""

import asyncio

import pytest

from benchfs.layout import BLOCK_SIZE
from benchfs.rpc.errors import RemoteError
from benchfsd.chunks import (
    ChunkStore,
    DiskChunkFiles,
)
from benchfsd.database import Database
from benchfsd.mode import Mode
from tests.contract.chunks.node import INO, Node, flip, noise


@pytest.mark.parametrize("mode", [Mode.VOLATILE, Mode.WRITEBACK])
async def test_after_a_reboot_only_confirmed_bytes_are_believed(tmp_path, mode) -> None:
    node = Node(tmp_path, mode=mode)
    node.write(0, noise(3 * BLOCK_SIZE))
    await node.store.sync(INO)
    node.write(BLOCK_SIZE + 10, b"the disk got this")  # a mark, and no check of these bytes
    node.write(0, b"never cleaned", index=1)
    node.write(0, noise(BLOCK_SIZE), index=2, ino=INO + 1)
    await node.store.sync(INO + 1)
    node.end_abruptly()
    flip(node.path(2, INO + 1), 77)
    report = await reopen_after_reboot(node)

    assert report.chunks == 3
    assert {(d.ino, d.index, d.offset) for d in report.damaged} == {
        (INO, 0, BLOCK_SIZE),
        (INO, 1, 0),
        (INO + 1, 2, 0),
    }
    assert report.damaged_blocks == 3
    assert await node.read(0, BLOCK_SIZE) == noise(3 * BLOCK_SIZE)[:BLOCK_SIZE]
    for index, offset, ino in ((0, BLOCK_SIZE + 5, INO), (1, 2, INO), (2, 9, INO + 1)):
        with pytest.raises(RemoteError, match="failed their check"):
            await node.read(offset, 1, index=index, ino=ino)
    node.end_abruptly()


async def test_after_a_reboot_a_durable_store_takes_dirty_files_as_they_are(tmp_path) -> None:
    node = Node(tmp_path, mode=Mode.DURABLE)
    node.write(0, b"synced")
    await node.store.sync(INO)
    node.write(0, b"later.")
    node.end_abruptly()
    report = await reopen_after_reboot(node)

    assert report.damaged == ()
    assert await node.read(0, 10) == b"later."
    node.end_abruptly()


async def reopen_after_reboot(node: Node):
    node.open(clean_stop=True)
    node.store.abandon()
    node.database.close()
    # As a daemon does it: verify first, then recover.
    node.database = Database(
        node.place / "db", sync=False, schedule=asyncio.get_running_loop().call_soon
    )
    node.files = DiskChunkFiles(node.place, durable=False, on_fatal=node.fatal.append)
    node.store = ChunkStore(
        *(node.files, node.database, node.env),
        mode=node.mode,
        node_id="node-1",
        on_fatal=node.fatal.append,
        reserve=0,
    )
    report = await node.store.verify_all()
    assert node.store.recover(clean_stop=False) == 0
    return report
