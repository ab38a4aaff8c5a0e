"""Every kill -9 of the chunk store, up to a bound: what was acknowledged is there afterwards.

For every sequence of up to three operations, and for every moment of the last one, the effects so
far stay, and the last write may be torn; shorter sequences cover earlier moments. That the
enumeration sees faults is checked with stores that have one.
"""

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchfs.rpc.errors import RemoteError
from benchfsd import rows
from benchfsd.chunks.changing import SMALL_BYTES, Changer
from benchfsd.chunks.cleaning import IDLE_SECONDS
from benchfsd.chunks.record import decode_chunk
from benchfsd.database import Database
from benchfsd.mode import Mode
from tests.fault.recorded_chunks import (
    FEWER_OPERATIONS,
    GROUP,
    INO,
    OPERATIONS,
    Effect,
    Log,
    Model,
    Operation,
    RecordingFiles,
    Wrong,
    applied,
    execute,
    make_store,
    read_chunk,
    record,
    replay,
)


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
    with_files = {index for index in after if not has_no_file(database, index)}
    database.close()
    left = {path.name for path in (place / "chunks").glob("*/*")}
    if left != {f"{INO:016x}.{index}" for index in with_files}:
        raise Wrong(f"files left: {left}")
    shutil.rmtree(place)


def has_no_file(database: Database, index: int) -> bool:
    """Whether the chunk's bytes are in its record."""
    return bool(decode_chunk(database.get(rows.chunk_key(GROUP, INO, index)) or b"").data)


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
    make_place: Callable[[], Path],
    choice: tuple[Operation, ...],
    length: int,
    small_bytes: int = SMALL_BYTES,
) -> int:
    """Check every end of every sequence of `length` operations; return the number of ends."""
    count = 0
    for operations in itertools.product(choice, repeat=length):
        log = await record(make_place(), Mode.WRITEBACK, operations, small_bytes)
        for effects in ends(log, length - 1):
            try:
                await check_kill(make_place, operations, effects)
            except (Wrong, RemoteError) as problem:
                story = [effect.kind for effect in effects]
                pytest.fail(f"{problem}\n  after {operations}\n  {story}", pytrace=False)
            count += 1
    return count


@pytest.mark.timeout(240)
@pytest.mark.parametrize("small_bytes", [0, SMALL_BYTES])
@pytest.mark.parametrize(
    ("choice", "length"), [(OPERATIONS, 1), (OPERATIONS, 2), (FEWER_OPERATIONS, 3)]
)
async def test_kill_loses_no_acknowledged_byte(
    memory_place, choice, length: int, small_bytes: int
) -> None:
    count = await enumerate_kills(memory_place, choice, length, small_bytes)

    assert count > 3 * len(choice) ** length  # or the enumeration proves nothing


@pytest.mark.timeout(240)
async def test_without_the_dirty_mark_the_enumeration_finds_the_fault(
    memory_place, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Changer.activate

    def activate_without_mark(self, state, truncation: int) -> None:
        if state.dirty or not state.length or state.data:
            real(self, state, truncation)
            return
        state.truncation = truncation
        self._table._clean.pop((state.ino, state.index))
        state.dirty = True
        self._table.keep_dirty(state)

    monkeypatch.setattr(Changer, "activate", activate_without_mark)

    with pytest.raises(pytest.fail.Exception, match="check"):
        await enumerate_kills(memory_place, FEWER_OPERATIONS, 3)


@pytest.mark.timeout(240)
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
