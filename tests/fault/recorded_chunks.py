"""A chunk store whose effects are recorded, so that every moment of its work can be made again.

The store works on recording files and a recording database. The effects up to a moment are replayed
into an empty directory, from which a new store recovers and is read.
"""

import asyncio
import os
import shutil
from pathlib import Path
from typing import NamedTuple

from benchfs.checks import piece_checks, verify_pieces
from benchfs.env import fixed_env
from benchfs.layout import BLOCK_SIZE
from benchfsd.chunks import ChunkStore, DiskChunkFiles
from benchfsd.chunks.changing import SMALL_BYTES
from benchfsd.database import Database
from benchfsd.mode import Mode

GROUP, INO, CHUNK_SIZE = 1, 0x55AA, 4 * BLOCK_SIZE


class Effect(NamedTuple):
    """Something that stays after the process. `flushed`: nor can power loss undo it."""

    kind: str  # commit, create, write, truncate, remove, sync; begin and ack of an operation
    index: int = 0  # chunk, or number of the operation
    offset: int = 0
    data: bytes = b""
    rows: tuple[tuple[bytes, bytes | None], ...] = ()


Log = list[Effect]


class RecordingDatabase(Database):
    def __init__(self, log: Log, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self._log = log
        self._mutations: list[tuple[bytes, bytes | None]] = []

    def put(self, key: bytes, value: bytes) -> None:
        super().put(key, value)
        self._mutations.append((key, value))

    def delete(self, key: bytes) -> bool:
        self._mutations.append((key, None))
        return super().delete(key)

    def commit(self) -> None:
        if self.batch_open:
            self._log.append(Effect("commit", rows=tuple(self._mutations)))
            self._mutations.clear()
        super().commit()


class RecordingFiles(DiskChunkFiles):
    def __init__(self, log: Log, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self._log = log

    def create(self, ino: int, index: int) -> None:
        super().create(ino, index)
        self._log.append(Effect("create", index))

    def write(self, ino: int, index: int, offset: int, payload) -> None:
        super().write(ino, index, offset, payload)
        self._log.append(Effect("write", index, offset, bytes(payload)))

    def truncate(self, ino: int, index: int, length: int) -> None:
        super().truncate(ino, index, length)
        self._log.append(Effect("truncate", index, length))

    def remove(self, ino: int, index: int) -> None:
        super().remove(ino, index)
        self._log.append(Effect("remove", index))

    async def sync(self, ino: int, index: int) -> None:
        # Flushes what was written so far. What is written meanwhile is not flushed by it.
        self._log.append(Effect("sync", index))
        await asyncio.sleep(0)

    def sync_now(self, ino: int, index: int) -> None:
        self._log.append(Effect("sync", index))


# ------------------------------------------------------------------------------- operations


class Operation(NamedTuple):
    name: str
    index: int = 0
    offset: int = 0  # cut: the new size of the file
    size: int = 0


# Neighbours in one block, a block's edge, a whole block, a hole; both sides of a chunk's edge.
OPERATIONS = (
    Operation("write", 0, 0, 100),
    Operation("write", 0, 100, BLOCK_SIZE),
    Operation("write", 0, 0, BLOCK_SIZE),
    Operation("write", 0, 2 * BLOCK_SIZE + 50, 60),
    Operation("write", 1, 10, 10),
    Operation("sync"),
    Operation("cut", 0, 60),
    Operation("cut", 0, BLOCK_SIZE + 90),
    Operation("cut", 0, 0),
)

FEWER_OPERATIONS = tuple(OPERATIONS[number] for number in (0, 1, 3, 5, 6, 8))

Model = dict[int, bytes]


def payload_of(number: int, operation: Operation) -> bytes:
    return bytes([number + 1]) * operation.size


def applied(model: Model, number: int, operation: Operation) -> Model:
    """The chunks after an operation."""
    after = dict(model)
    if operation.name == "write":
        old = after.get(operation.index, b"").ljust(operation.offset, b"\0")
        end = operation.offset + operation.size
        new = payload_of(number, operation)
        after[operation.index] = old[: operation.offset] + new + old[end:]
    elif operation.name == "cut":
        boundary, kept = divmod(operation.offset, CHUNK_SIZE)
        for index in list(after):
            if index > boundary or (index == boundary and not kept):
                del after[index]
            elif index == boundary:
                after[index] = after[index][:kept]
    return after


def epoch_before(operations: tuple[Operation, ...], number: int) -> int:
    return sum(operation.name == "cut" for operation in operations[:number])


def make_store(
    place: Path, mode: Mode, log: Log | None = None, small_bytes: int = SMALL_BYTES
) -> tuple[ChunkStore, Database]:
    loop = asyncio.get_running_loop()
    fatal: list[Exception] = []
    options = {"durable": mode is Mode.DURABLE, "on_fatal": fatal.append}
    # What a flush does is in the log: a real one would only take time.
    base = {"sync": False, "schedule": loop.call_soon, "map_bytes": 1 << 24}
    if log is None:
        database = Database(place / "db", **base)
        files: DiskChunkFiles = DiskChunkFiles(place, **options)
    else:
        database = RecordingDatabase(log, place / "db", **base)
        files = RecordingFiles(log, place, **options)
    store = ChunkStore(
        *(files, database, fixed_env()),
        mode=mode,
        node_id="node-1",
        on_fatal=fatal.append,
        reserve=0,
        small_bytes=small_bytes,
    )
    return store, database


async def run(
    store: ChunkStore, log: Log, operations: tuple[Operation, ...], start: int = 0
) -> None:
    """Execute operations one after the other, noting when each begins and is acknowledged."""
    for number, operation in enumerate(operations[start:], start):
        log.append(Effect("begin", number))
        await execute(store, operations, number, operation)
        await asyncio.sleep(0)  # the turn ends, with the commit that replies wait for
        log.append(Effect("ack", number))


async def execute(store, operations, number: int, operation: Operation) -> None:
    epoch = epoch_before(operations, number)
    if operation.name == "write":
        payload = payload_of(number, operation)
        checks = piece_checks(payload, operation.offset)
        store.write(
            GROUP, INO, operation.index, epoch, operation.offset, payload, checks, CHUNK_SIZE
        )
    elif operation.name == "sync":
        await store.sync(INO)
    else:
        await store.cut(INO, epoch + 1, operation.offset, CHUNK_SIZE)


async def record(
    place: Path, mode: Mode, operations: tuple[Operation, ...], small_bytes: int = SMALL_BYTES
) -> Log:
    log: Log = []
    store, database = make_store(place, mode, log, small_bytes)
    store.recover(clean_stop=True)
    await run(store, log, operations)
    store.abandon()
    database.close()
    shutil.rmtree(place)
    return log


def replay(place: Path, effects: list[Effect]) -> None:
    """Make the directory that these effects leave behind."""
    rows: dict[bytes, bytes | None] = {}
    folder = place / "chunks" / f"{INO & 0xFF:02x}"
    folder.mkdir(parents=True)
    for effect in effects:
        path = folder / f"{INO:016x}.{effect.index}"
        if effect.kind == "commit":
            rows.update(effect.rows)
        elif effect.kind == "create":
            path.touch(exist_ok=False)
        elif effect.kind == "write":
            with path.open("r+b") as file:
                file.seek(effect.offset)
                file.write(effect.data)
        elif effect.kind == "truncate":
            os.truncate(path, min(effect.offset, path.stat().st_size))
        elif effect.kind == "remove":
            path.unlink(missing_ok=True)
    database = Database(place / "db", sync=False, schedule=lambda callback: None, map_bytes=1 << 24)
    for key, value in rows.items():
        if value is not None:
            database.put(key, value)
    database.close()


async def read_chunk(store: ChunkStore, index: int) -> bytes:
    """The chunk's bytes, read as a whole and once more in odd pieces. They must agree."""
    into = memoryview(bytearray(CHUNK_SIZE))
    result = await maybe(store.read(GROUP, INO, index, 0, CHUNK_SIZE, into))
    data = bytes(into[: result.count])
    if verify_pieces(data, 0, result.checks) is not None:
        raise Wrong(f"chunk {index} does not match the checks that come with it")
    pieces = []
    for offset in range(0, CHUNK_SIZE, 40_000):
        result = await maybe(store.read(GROUP, INO, index, offset, 40_000, into))
        pieces.append(bytes(into[: result.count]))
    if b"".join(pieces) != data:
        raise Wrong(f"chunk {index} reads in pieces as something else")
    return data


async def maybe(answer):
    return await answer if hasattr(answer, "__await__") else answer


class Wrong(Exception):
    """A promise is broken."""
