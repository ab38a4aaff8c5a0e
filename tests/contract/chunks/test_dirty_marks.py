"""The mark that is committed before a chunk changes, and what cleans the chunk again."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from benchfs.checks import piece_checks
from benchfsd.chunks.cleaning import IDLE_SECONDS
from benchfsd.database import FatalStorageError
from benchfsd.mode import Mode
from tests.contract.chunks.node import INO, KIB, MIB, Node, noise


async def test_the_mark_is_committed_before_the_first_byte_and_not_again(node, monkeypatch) -> None:
    seen = []
    real = type(node.files).write

    def write(self, ino, index, offset, payload):
        record = node.record()
        seen.append((record.dirty, node.database.batch_open))
        real(self, ino, index, offset, payload)

    monkeypatch.setattr(type(node.files), "write", write)
    node.write(0, b"first")
    commits = 0

    def commit() -> None:
        nonlocal commits
        commits += 1

    monkeypatch.setattr(node.database, "commit", commit)
    node.write(0, b"second")

    assert seen == [(True, False), (True, False)]
    assert commits == 0
    assert not node.database.batch_open


async def test_sync_cleans_the_chunks_of_that_file(node: Node) -> None:
    node.write(0, b"abc")
    node.write(0, b"abc", ino=INO + 1)

    await node.store.sync(INO)

    record = node.record()
    assert not record.dirty
    assert record.checks == piece_checks(b"abc", 0)
    assert node.store.dirty_count == 1


async def test_idle_chunks_are_cleaned_and_busy_ones_are_not(node: Node) -> None:
    node.write(0, b"idle")
    node.env.clock.advance(IDLE_SECONDS)
    node.write(0, b"busy", index=1)

    await node.store.clean_idle(node.env.clock.monotonic())

    assert not node.record(0).dirty
    assert node.record(1).dirty
    assert node.store.needs_cleaning


async def test_after_a_clean_stop_nothing_is_dirty_and_the_figures_are_right(node: Node) -> None:
    node.write(10, noise(100 * KIB))
    node.write(0, b"12345", index=1)
    await node.stop()

    assert node.open(clean_stop=True) == 0
    assert not node.record(0).dirty
    assert (node.store.chunk_count, node.store.chunk_bytes) == (2, 100 * KIB + 15)
    assert await node.read(10, 100 * KIB) == noise(100 * KIB)


async def test_after_an_abrupt_end_dirty_chunks_are_taken_from_their_files(node: Node) -> None:
    node.write(0, noise(100 * KIB))
    await node.store.sync(INO)
    node.write(50_000, noise(100 * KIB, 2))
    node.write(7, b"new", index=1)
    node.write(0, b"clean", index=2, ino=INO + 1)
    await node.store.sync(INO + 1)
    node.end_abruptly()

    assert node.open(clean_stop=False) == 2
    assert await node.read(0, MIB) == noise(100 * KIB)[:50_000] + noise(100 * KIB, 2)
    assert await node.read(0, MIB, index=1) == bytes(7) + b"new"
    assert await node.read(0, MIB, index=2, ino=INO + 1) == b"clean"
    assert node.store.chunk_count == 3
    assert node.store.chunk_bytes == 50_000 + 100 * KIB + 10 + 5
    await node.store.sync(INO)
    assert not node.record(0).dirty


@pytest.mark.parametrize("mode", Mode)
async def test_a_write_during_the_flush_keeps_the_mark(tmp_path: Path, mode: Mode) -> None:
    node = Node(tmp_path, mode=mode)
    flushes = 0

    async def sync(ino: int, index: int) -> None:
        nonlocal flushes
        flushes += 1
        node.write(1, b"late")

    node.files.sync = sync  # type: ignore[method-assign]
    node.write(0, b"early")

    await node.store.sync(INO)

    assert flushes == (mode is Mode.DURABLE)
    assert node.record().dirty == (mode is Mode.DURABLE)
    node.end_abruptly()


async def test_a_write_while_checks_are_computed_keeps_the_mark_in_mode_durable(tmp_path) -> None:
    node = Node(tmp_path, "cold", Mode.DURABLE)
    node.write(0, noise(1000))
    node.write(10, b"x")  # the block's check is unknown, and its bytes are cold
    fetch = node.files.fetch

    async def fetch_and_write(*arguments) -> None:
        await fetch(*arguments)
        node.write(20, b"late")

    node.files.fetch = fetch_and_write  # type: ignore[method-assign]

    await node.store.sync(INO)

    assert node.record().dirty
    node.end_abruptly()


async def test_a_failed_flush_is_fatal_and_not_tried_again(tmp_path, monkeypatch) -> None:
    node = Node(tmp_path, mode=Mode.DURABLE)
    calls = 0

    def fdatasync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        raise OSError(errno.EIO, "the disk is gone")

    fdatasync.__name__ = "fdatasync"
    monkeypatch.setattr(os, "fdatasync", fdatasync)
    node.write(0, b"lost")

    for _ in range(2):
        with pytest.raises(FatalStorageError, match="the disk is gone"):
            await node.store.sync(INO)

    assert calls == 1
    assert len(node.fatal) == 1
    assert node.record().dirty
    node.end_abruptly()


async def test_a_failed_flush_is_noticed_though_nobody_waits_any_more(tmp_path, monkeypatch):
    node = Node(tmp_path, mode=Mode.DURABLE)
    release = asyncio.Event()
    loop = asyncio.get_running_loop()
    started = asyncio.Event()

    def fdatasync(descriptor: int) -> None:
        loop.call_soon_threadsafe(started.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(timeout=10)
        raise OSError(errno.EIO, "the disk is gone")

    fdatasync.__name__ = "fdatasync"
    monkeypatch.setattr(os, "fdatasync", fdatasync)
    node.write(0, b"lost")
    waiting = asyncio.create_task(node.store.sync(INO))
    await started.wait()
    waiting.cancel()
    release.set()
    async with asyncio.timeout(10):
        while not node.fatal:
            await asyncio.sleep(0.001)

    with pytest.raises((FatalStorageError, asyncio.CancelledError)):
        await waiting
    node.end_abruptly()


async def test_durable_syncs_the_names_of_new_files_once(tmp_path, monkeypatch) -> None:
    node = Node(tmp_path, mode=Mode.DURABLE)
    synced = []
    real = os.fsync
    monkeypatch.setattr(
        os,
        "fsync",
        lambda fd: synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))) or real(fd),
    )
    node.write(0, b"a")
    await node.store.sync(INO)
    first = list(synced)
    node.write(0, b"b")
    await node.store.sync(INO)

    assert sorted(first) == [f"{INO & 0xFF:02x}", "chunks"]
    assert synced == first
    node.end_abruptly()


async def test_more_dirty_chunks_than_fit_are_cleaned_on_the_way(tmp_path: Path) -> None:
    node = Node(tmp_path, capacity=4)
    for index in range(20):
        node.write(3, noise(10, index), index=index)
        assert node.store.dirty_count <= 4

    for index in range(20):
        assert await node.read(0, 100, index=index) == bytes(3) + noise(10, index)
    node.end_abruptly()
    node.open(clean_stop=False)
    for index in range(20):
        assert await node.read(0, 100, index=index) == bytes(3) + noise(10, index)
    node.end_abruptly()
