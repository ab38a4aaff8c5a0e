"""A chunk store under test with its database and files, over every kind of chunk files.

A new kind joins in `KINDS`.
"""

import asyncio
import errno
import random
from collections.abc import Awaitable
from pathlib import Path

from benchfs.checks import piece_checks, verify_pieces
from benchfs.env import FixedEnv, fixed_env
from benchfsd import rows
from benchfsd.chunks import (
    ChunkFiles,
    ChunkStore,
    DiskChunkFiles,
    ReadResult,
    RingChunkFiles,
)
from benchfsd.chunks.record import decode_chunk
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
    """A store with its database and files in one directory; opened again after a stop.

    Small chunks have files, too, unless `small_bytes` says otherwise.
    """

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
            **{"reserve": 0, "small_bytes": 0, **self.options},
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


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))
