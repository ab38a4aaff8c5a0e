"""Every crash of the chunk store, up to a bound: what was acknowledged is there, whenever it ends.

The store works on recording files and a recording database. For every sequence of up to three
operations, and for every moment of the last one, the effects so far are replayed into an empty
directory; a new store recovers from that and is read. Shorter sequences cover earlier moments.

Two kinds of end: *kill -9*, where all effects stay and the last write may be torn, and *power
loss* in mode durable, where any subset of what was not flushed is gone. That the enumeration sees
faults is checked with stores that have one.
"""

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from benchfs.checks import piece_checks, verify_pieces
from benchfs.env import fixed_env
from benchfs.layout import BLOCK_SIZE
from benchfs.rpc.errors import RemoteError
from benchfsd.chunks import ChunkStore, DiskChunkFiles
from benchfsd.chunks.changing import Changer
from benchfsd.chunks.cleaning import IDLE_SECONDS, Cleaner
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


def make_store(place: Path, mode: Mode, log: Log | None = None) -> tuple[ChunkStore, Database]:
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
    )
    return store, database


async def run(
    store: ChunkStore, log: Log, operations: tuple[Operation, ...], start: int = 0
) -> None:
    """Execute operations one after the other, noting when each begins and is acknowledged."""
    for number, operation in enumerate(operations[start:], start):
        log.append(Effect("begin", number))
        await execute(store, operations, number, operation)
        log.append(Effect("ack", number))
        await asyncio.sleep(0)  # the turn ends, with the commit of what is open


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


@pytest.fixture
def memory_place() -> Iterator[Callable[[], Path]]:
    """Makes empty directories, in memory if there is room for files in memory."""
    base = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    numbers = itertools.count()

    def make() -> Path:
        place = Path(base, str(next(numbers)))
        place.mkdir()
        return place

    yield make
    shutil.rmtree(base)


async def record(place: Path, mode: Mode, operations: tuple[Operation, ...]) -> Log:
    log: Log = []
    store, database = make_store(place, mode, log)
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


# ------------------------------------------------------------------------------------ kill -9


async def check_kill(
    make_place: Callable[[], Path], operations: tuple[Operation, ...], effects: list[Effect]
) -> None:
    """The process ended after these effects: read what is there, and go on working with it."""
    begun = sum(effect.kind == "begin" for effect in effects)
    acknowledged = sum(effect.kind == "ack" for effect in effects)
    before: Model = {}
    for number in range(acknowledged):
        before = applied(before, number, operations[number])
    after = before
    if begun > acknowledged:
        after = applied(before, acknowledged, operations[acknowledged])
    place = make_place()
    replay(place, effects)
    store, database = make_store(place, Mode.WRITEBACK)
    store.recover(clean_stop=False)
    for _ in range(2):  # as recovered, and as put down after that
        for index in (0, 1):
            data = await read_chunk(store, index)
            check_bytes(index, data, before.get(index, b""), after.get(index, b""))
        await store.clean_idle(IDLE_SECONDS)
        assert store.dirty_count == 0
        await store.sweep()
    if begun > acknowledged:  # whoever was not answered asks again
        await execute(store, operations, acknowledged, operations[acknowledged])
        for index in (0, 1):
            if await read_chunk(store, index) != after.get(index, b""):
                raise Wrong(f"chunk {index} is not what the repeated operation makes of it")
    await store.close()
    database.close()
    left = {path.name for path in (place / "chunks").glob("*/*")}
    if left != {f"{INO:016x}.{index}" for index in after}:
        raise Wrong(f"files left: {left}")
    shutil.rmtree(place)


def check_bytes(index: int, data: bytes, before: bytes, after: bytes) -> None:
    """Each byte is as before the operation that was not acknowledged, or as after it."""
    if data in (before, after):
        return
    for offset in range(max(len(data), len(before), len(after))):
        allowed = (before[offset : offset + 1], after[offset : offset + 1])
        if data[offset : offset + 1] not in allowed:
            found = data[offset : offset + 1]
            raise Wrong(f"byte {offset} of chunk {index} is {found!r}, not one of {allowed!r}")


def ends(log: Log, last: int) -> Iterator[list[Effect]]:
    """The effects at each moment of the operation `last`; writes also half done."""
    start = log.index(Effect("begin", last)) + 1
    for end in range(start, len(log) + 1):
        yield log[:end]
        if end < len(log) and log[end].kind == "write":
            torn = log[end]
            yield [*log[:end], torn._replace(data=torn.data[: len(torn.data) // 2])]


async def enumerate_kills(
    make_place: Callable[[], Path], choice: tuple[Operation, ...], length: int
) -> int:
    """Check every end of every sequence of `length` operations; return the number of ends."""
    count = 0
    for operations in itertools.product(choice, repeat=length):
        log = await record(make_place(), Mode.WRITEBACK, operations)
        for effects in ends(log, length - 1):
            try:
                await check_kill(make_place, operations, effects)
            except (Wrong, RemoteError) as problem:
                story = [effect.kind for effect in effects]
                pytest.fail(f"{problem}\n  after {operations}\n  {story}", pytrace=False)
            count += 1
    return count


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("choice", "length"), [(OPERATIONS, 1), (OPERATIONS, 2), (FEWER_OPERATIONS, 3)]
)
async def test_kill_loses_no_acknowledged_byte(memory_place, choice, length: int) -> None:
    count = await enumerate_kills(memory_place, choice, length)

    assert count > 3 * len(choice) ** length  # or the enumeration proves nothing


@pytest.mark.timeout(120)
async def test_without_the_dirty_mark_the_enumeration_finds_the_fault(
    memory_place, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Changer.activate

    def activate_without_mark(self, state, truncation: int) -> None:
        if state.dirty or not state.length:
            real(self, state, truncation)
            return
        state.truncation = truncation
        self._table._clean.pop((state.ino, state.index))
        state.dirty = True
        self._table.keep_dirty(state)

    monkeypatch.setattr(Changer, "activate", activate_without_mark)

    with pytest.raises(pytest.fail.Exception, match="check"):
        await enumerate_kills(memory_place, FEWER_OPERATIONS, 3)


@pytest.mark.timeout(120)
async def test_with_the_mark_after_the_bytes_the_enumeration_finds_the_fault(
    memory_place, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = RecordingFiles.write

    def write_before_commit(self, ino: int, index: int, offset: int, payload) -> None:
        commits = []
        while self._log and self._log[-1].kind == "commit":
            commits.append(self._log.pop())
        real(self, ino, index, offset, payload)
        self._log.extend(reversed(commits))

    monkeypatch.setattr(RecordingFiles, "write", write_before_commit)

    with pytest.raises(pytest.fail.Exception):
        await enumerate_kills(memory_place, FEWER_OPERATIONS, 3)


# ---------------------------------------------------------------------------------- power loss

POWER_STORIES = (
    "write0 sync write1",
    "write0 sync write1 sync write2",
    "write0 write1 sync write3 write0 sync",
    "write2 sync write0 sync write0",
    "write3 sync write1 sync",
    "write1 write4 sync cut6 write0 sync",
    "write1 sync cut7 sync write0",
    "write1 write4 sync cut8 write0 sync",
)


def story(text: str) -> tuple[Operation, ...]:
    return tuple(
        OPERATIONS[5] if word == "sync" else OPERATIONS[int(word[-1])] for word in text.split()
    )


def unflushed(effects: list[Effect]) -> list[int]:
    """Positions of effects on files that power loss may undo. Commits are flushed ones."""
    found: list[int] = []
    for position, effect in enumerate(effects):
        if effect.kind in {"write", "truncate"}:
            found.append(position)
        elif effect.kind in {"sync", "remove"}:
            found = [p for p in found if effects[p].index != effect.index]
    return found


async def check_power_loss(
    make_place: Callable[[], Path],
    operations: tuple[Operation, ...],
    effects: list[Effect],
    lost: set[int],
) -> None:
    """What an acknowledged sync promised is there, unless it was overwritten or cut later."""
    acknowledged = sum(effect.kind == "ack" for effect in effects)
    begun = sum(effect.kind == "begin" for effect in effects)
    synced = max((n + 1 for n in range(acknowledged) if operations[n].name == "sync"), default=0)
    models: list[Model] = [{}]
    for number, operation in enumerate(operations[:begun]):
        models.append(applied(models[-1], number, operation))
    allowed = models[synced:]
    cuts = [n for n in range(synced, acknowledged) if operations[n].name == "cut"]
    if cuts:  # committed when it was acknowledged: what it cut off is gone for good
        allowed = models[cuts[-1] + 1 :]
        promised = models[synced]
    else:
        promised = models[synced]
    place = make_place()
    replay(place, [effect for n, effect in enumerate(effects) if n not in lost])
    store, database = make_store(place, Mode.DURABLE)
    await store.verify_all()
    store.recover(clean_stop=False)
    for index, expected in promised.items():
        if not any(index in model for model in allowed):
            continue
        data = await read_chunk(store, index)
        for offset in range(len(expected)):
            choices = {model.get(index, b"")[offset : offset + 1] for model in allowed}
            if data[offset : offset + 1] not in choices:
                raise Wrong(f"byte {offset} of chunk {index} is not one of {choices!r}")
    store.abandon()
    database.close()
    shutil.rmtree(place)


async def enumerate_power_losses(make_place: Callable[[], Path]) -> int:
    count = 0
    for text in POWER_STORIES:
        operations = story(text)
        log = await record(make_place(), Mode.DURABLE, operations)
        for end in range(1, len(log) + 1):
            effects = log[:end]
            if effects[-1].kind == "begin":
                continue  # as at the end before
            open_to_loss = unflushed(effects)
            for size in range(len(open_to_loss) + 1):
                for lost in itertools.combinations(open_to_loss, size):
                    try:
                        await check_power_loss(make_place, operations, effects, set(lost))
                    except (Wrong, RemoteError) as problem:
                        kinds = [e.kind for n, e in enumerate(effects) if n not in lost]
                        pytest.fail(f"{problem}\n  after {text}: {kinds}", pytrace=False)
                    count += 1
    return count


@pytest.mark.timeout(120)
async def test_power_loss_takes_nothing_that_was_synced(memory_place) -> None:
    assert await enumerate_power_losses(memory_place) > 200


@pytest.mark.timeout(120)
async def test_cleaning_before_the_flush_is_found(memory_place, monkeypatch) -> None:
    async def clean_early(self, state) -> None:
        await self.complete(state)
        self._table.settle(state)

    monkeypatch.setattr(Cleaner, "clean", clean_early)

    with pytest.raises(pytest.fail.Exception):
        await enumerate_power_losses(memory_place)
