"""Every power loss in mode durable, up to a bound: what was synced is there, whenever it comes.

Of the effects so far any subset of what was not flushed is gone. That the enumeration sees faults
is checked with a store that has one.
"""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchfs.rpc.errors import RemoteError
from benchfsd.chunks.changing import SMALL_BYTES
from benchfsd.chunks.cleaning import Cleaner
from benchfsd.mode import Mode
from tests.fault.recorded_chunks import (
    OPERATIONS,
    Effect,
    Model,
    Operation,
    Wrong,
    applied,
    make_store,
    read_chunk,
    record,
    replay,
)

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


async def enumerate_power_losses(
    make_place: Callable[[], Path], small_bytes: int = SMALL_BYTES
) -> int:
    count = 0
    for text in POWER_STORIES:
        operations = story(text)
        log = await record(make_place(), Mode.DURABLE, operations, small_bytes)
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


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("small_bytes", "least"), [(0, 200), (SMALL_BYTES, 100)])
async def test_power_loss_takes_nothing_that_was_synced(
    memory_place, small_bytes: int, least: int
) -> None:
    assert await enumerate_power_losses(memory_place, small_bytes) > least


@pytest.mark.timeout(240)
async def test_cleaning_before_the_flush_is_found(memory_place, monkeypatch) -> None:
    async def clean_early(self, state) -> None:
        await self.complete(state)
        self._table.settle(state)

    monkeypatch.setattr(Cleaner, "clean", clean_early)

    with pytest.raises(pytest.fail.Exception):
        await enumerate_power_losses(memory_place)
