"""What the chunk store promises, over every kind of chunk files. A new kind joins in `KINDS`."""

import asyncio
import errno
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchfs.checks import piece_checks, verify_pieces
from benchfs.env import FixedEnv, fixed_env
from benchfs.layout import BLOCK_SIZE, MAX_CHUNK_SIZE
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import Code
from benchfsd import rows
from benchfsd.chunks import (
    ChunkFiles,
    ChunkStore,
    DiskChunkFiles,
    ReadResult,
    RingChunkFiles,
    refusals,
)
from benchfsd.chunks.cleaning import IDLE_SECONDS
from benchfsd.chunks.record import decode_chunk
from benchfsd.chunks.table import MAX_PURGED, PURGED_SECONDS
from benchfsd.database import Database, FatalStorageError
from benchfsd.mode import Mode

KIB = 1024
MIB = 1024 * KIB
GROUP, INO = 3, 0x0003_1234_0000_0007


class Cold(DiskChunkFiles):
    """No byte is in memory before it was fetched, and reading it once throws it out again."""

    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self.warm: set[tuple[int, int]] = set()
        self.fetches = 0

    def read(self, ino, index, offset, buffers, *, wait):
        if not wait and (ino, index) not in self.warm:
            raise BlockingIOError(errno.EAGAIN, "cold")
        self.warm.discard((ino, index))
        return super().read(ino, index, offset, buffers, wait=wait)

    async def fetch(self, ino, index, offset, length):
        await super().fetch(ino, index, offset, length)
        self.fetches += 1
        self.warm.add((ino, index))


class ColdRingFiles(Cold, RingChunkFiles):
    """The same, fetched by the ring."""


KINDS = {"disk": DiskChunkFiles, "cold": Cold, "ring": RingChunkFiles, "cold ring": ColdRingFiles}


class Node:
    """A store with its database and files in one directory; opened again after a stop."""

    def __init__(self, place: Path, kind: str = "disk", mode: Mode = Mode.WRITEBACK, **options):
        self.place = place
        self.kind = kind
        self.mode = mode
        self.options = options
        self.fatal: list[FatalStorageError] = []
        self.env: FixedEnv = fixed_env()
        self.open(clean_stop=True)

    def open(self, *, clean_stop: bool) -> int:
        self.database = Database(
            self.place / "db",
            sync=self.mode is Mode.DURABLE,
            schedule=asyncio.get_running_loop().call_soon,
        )
        self.files: ChunkFiles = KINDS[self.kind](
            self.place, durable=self.mode is Mode.DURABLE, on_fatal=self.fatal.append, max_open=2
        )
        self.store = ChunkStore(
            self.files,
            self.database,
            self.env,
            mode=self.mode,
            node_id="node-1",
            on_fatal=self.fatal.append,
            **{"reserve": 0, **self.options},
        )
        return self.store.recover(clean_stop=clean_stop)

    async def stop(self) -> None:
        await self.store.close()
        self.database.close()

    def end_abruptly(self) -> None:
        """What is left of the store is what kill -9 leaves: nothing is cleaned or put down."""
        self.store.abandon()
        if self.database.batch_open:
            self.database._batch.abort()
            self.database._batch = None
        self.database.close()

    def write(self, offset: int, payload: bytes, index: int = 0, truncation: int = 0, **options):
        return self.store.write(
            *(options.get("group", GROUP), options.get("ino", INO), index),
            *(truncation, offset, memoryview(payload), piece_checks(payload, offset)),
            options.get("chunk_size", MIB),
        )

    async def read_result(
        self, offset: int, length: int, index: int = 0, ino: int = INO
    ) -> tuple[ReadResult, bytes]:
        into = memoryview(bytearray(length))
        answer = self.store.read(GROUP, ino, index, offset, length, into)
        result = await answer if isinstance(answer, Awaitable) else answer
        data = bytes(into[: result.count])
        assert verify_pieces(data, offset, result.checks) is None
        return result, data

    async def read(self, offset: int, length: int, index: int = 0, ino: int = INO) -> bytes:
        return (await self.read_result(offset, length, index, ino))[1]

    def path(self, index: int = 0, ino: int = INO) -> Path:
        return self.place / "chunks" / f"{ino & 0xFF:02x}" / f"{ino:016x}.{index}"

    def chunk_files(self) -> list[str]:
        return sorted(path.name for path in (self.place / "chunks").glob("*/*"))

    def record(self, index: int = 0):
        value = self.database.get(rows.chunk_key(GROUP, INO, index))
        return None if value is None else decode_chunk(value)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def node(tmp_path: Path, kind: str) -> AsyncIterator[Node]:
    opened = Node(tmp_path, kind)
    yield opened
    opened.end_abruptly()
    assert opened.fatal == []


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


# ------------------------------------------------------------------------- reading and writing


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


# ------------------------------------------------------------------------------------ damage


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


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


# -------------------------------------------------------------------------------- dirty marks


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


# ------------------------------------------------------------------------- cutting and removal


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


# -------------------------------------------------------------------------------- after a reboot


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


# ------------------------------------------------------------------------------------- loans


def is_good(node: Node, loan) -> bool:
    stamps = memoryview(os.pread(node.store.board.descriptor, 8 * node.store.board.cells, 0))
    return stamps.cast("Q")[loan.cell] == loan.stamp


async def test_a_loan_gives_the_bytes_with_all_their_checks(node: Node) -> None:
    payload = noise(2 * BLOCK_SIZE + 99)
    version = node.write(0, payload)
    version = node.write(100, payload[100:200])  # its check is unknown now

    loan = await node.store.lend(GROUP, INO, 0)

    with os.fdopen(loan.descriptor, "rb") as file:
        assert verify_pieces(file.read(), 0, loan.checks) is None
        with pytest.raises(OSError):
            os.write(file.fileno(), b"x")
    assert (loan.version, loan.length) == (version, len(payload))
    assert is_good(node, loan)


@pytest.mark.parametrize("change", ["write", "cut", "purge"])
async def test_a_loan_ends_before_the_chunk_changes(node: Node, monkeypatch, change) -> None:
    node.write(0, b"lent")
    await node.store.sync(INO)
    loan = await node.store.lend(GROUP, INO, 0)
    os.close(loan.descriptor)
    good_at_change = []
    for name in ("write", "truncate", "remove"):
        real = getattr(node.files, name)

        def changed(*arguments, real=real):
            good_at_change.append(is_good(node, loan))
            real(*arguments)

        monkeypatch.setattr(node.files, name, changed)

    if change == "write":
        node.write(0, b"x")
    elif change == "cut":
        await node.store.cut(INO, 1, 1, MIB)
    else:
        await node.store.purge((INO,))

    assert good_at_change == [False]


async def test_a_loan_ends_though_the_chunk_left_memory_meanwhile(tmp_path: Path) -> None:
    node = Node(tmp_path, capacity=1)
    node.write(0, b"lent")
    await node.store.sync(INO)
    loan = await node.store.lend(GROUP, INO, 0)
    os.close(loan.descriptor)
    for index in range(1, 5):
        node.write(0, b"other", index=index)
        await node.store.sync(INO)
    assert is_good(node, loan)

    node.write(0, b"x")

    assert not is_good(node, loan)
    node.end_abruptly()


async def test_reading_and_cleaning_end_no_loan(node: Node) -> None:
    node.write(0, b"lent")
    loan = await node.store.lend(GROUP, INO, 0)
    os.close(loan.descriptor)

    await node.store.sync(INO)
    await node.read(1, 2)

    assert is_good(node, loan)


async def test_a_hole_or_a_lost_chunk_is_not_lent(node: Node) -> None:
    with pytest.raises(RemoteError) as caught:
        await node.store.lend(GROUP, INO, 0)
    assert caught.value.code == errno.ENOENT
    node.write(0, b"a")
    await node.store.sync(INO)
    node.path().unlink()

    with pytest.raises(RemoteError, match="missing") as caught:
        await node.store.lend(GROUP, INO, 0)
    assert caught.value.code == errno.EBADMSG
    assert len(node.store.board) == 0


# --------------------------------------------------------------------------------- a full disk


@pytest.fixture
def small_disk(short_tmp: Path) -> Iterator[Path]:
    """A file system of 16 MiB. Needs the right to mount."""
    place = short_tmp / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "benchfs-test", str(place)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a tmpfs: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


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


# ----------------------------------------------------------------------------- against a model

CHUNK = 256 * KIB
INDEXES = st.integers(0, 2)
OFFSETS = st.one_of(
    st.sampled_from([0, 1, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 3 * BLOCK_SIZE, CHUNK - 1]),
    st.integers(0, CHUNK - 1),
)
SIZES = st.one_of(st.sampled_from([1, 4096, BLOCK_SIZE, 2 * BLOCK_SIZE]), st.integers(1, CHUNK))
STEPS = st.one_of(
    st.tuples(st.just("write"), INDEXES, OFFSETS, SIZES),
    st.tuples(st.just("read"), INDEXES, OFFSETS, SIZES),
    st.tuples(st.just("cut"), INDEXES, OFFSETS, st.just(0)),
    st.tuples(
        st.sampled_from(["sync", "idle", "stop", "kill", "sweep", "lend"]),
        *(INDEXES, st.just(0), st.just(0)),
    ),
)


@pytest.mark.timeout(120)
@given(
    steps=st.lists(STEPS, min_size=1, max_size=20),
    kind=st.sampled_from(sorted(KINDS)),
    mode=st.sampled_from(Mode),
    capacity=st.sampled_from([1, 100]),
)
async def test_any_sequence_reads_as_a_model_does(steps, kind, mode, capacity) -> None:
    with tempfile.TemporaryDirectory() as place:
        node = Node(Path(place), kind, mode, capacity=capacity)
        model: dict[int, bytearray] = {}
        epoch = 0
        for number, (verb, index, offset, size) in enumerate(steps):
            if verb == "write":
                payload = noise(min(size, CHUNK - offset), number)
                node.write(offset, payload, index=index, truncation=epoch, chunk_size=CHUNK)
                chunk = model.setdefault(index, bytearray())
                chunk.extend(bytes(max(offset + len(payload) - len(chunk), 0)))
                chunk[offset : offset + len(payload)] = payload
            elif verb == "read":
                expected = bytes(model.get(index, b"")[offset : offset + size])
                assert await node.read(offset, size, index=index) == expected
            elif verb == "cut":
                epoch += 1
                await node.store.cut(INO, epoch, index * CHUNK + offset, CHUNK)
                for beyond in [i for i in model if i > index or (i == index and not offset)]:
                    del model[beyond]
                if index in model:
                    del model[index][offset:]
            elif verb == "sync":
                await node.store.sync(INO)
            elif verb == "idle":
                node.env.clock.advance(IDLE_SECONDS)
                await node.store.clean_idle(node.env.clock.monotonic())
                assert node.store.dirty_count == 0
            elif verb == "stop":
                await node.stop()
                node.open(clean_stop=True)
            elif verb == "kill":
                await asyncio.sleep(0)  # what was acknowledged was committed before
                node.end_abruptly()
                node.open(clean_stop=False)
            elif verb == "sweep":
                assert await node.store.sweep() == 0
            elif verb == "lend" and index in model:
                loan = await node.store.lend(GROUP, INO, index)
                with os.fdopen(loan.descriptor, "rb") as file:
                    assert file.read() == model[index]
                assert verify_pieces(model[index], 0, loan.checks) is None
            assert node.store.chunk_count == len(model)
            assert node.store.chunk_bytes == sum(map(len, model.values()))
        for index in range(3):
            assert await node.read(0, CHUNK, index=index) == model.get(index, b"")
        node.end_abruptly()
        assert node.fatal == []
