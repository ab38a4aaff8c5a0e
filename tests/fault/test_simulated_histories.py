"""Clients change the same few names while nodes are killed: what they see has to fit one order.

All of it is in this process, in virtual time: the real client, daemons and wire format, over links
that delay and lose messages. A seed makes one history, and is in the test's name when it fails;
with PYTHONHASHSEED=0 it is repeated to the message.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from benchfs.bench.simulate import clock
from benchfs.client import AsyncClient
from benchfs.inode import home_group
from tests.fault.actors import Actor, Recorder, explained
from tests.fault.history import UNKNOWN
from tests.fault.mortal import MortalCluster

CLIENTS = 4
STEPS = 14  # of each client
PATIENT_SECONDS, HASTY_SECONDS = 30.0, 0.3
SEEDS, THOROUGH_SEEDS = 40, 2000


async def names(fs: AsyncClient, *, wide: bool) -> tuple[str, ...]:
    """In two directories that different nodes lead, the second one wide or not."""
    led: dict[str, str] = {}
    for number in itertools.count():
        await fs.mkdir(f"/{number}", wide=wide and bool(led))
        leader = fs.cluster_map.primary(home_group((await fs.stat(f"/{number}")).st_ino))
        led.setdefault(leader, f"/{number}")
        if len(led) == 2:
            break
    return tuple(f"{directory}/{name}" for directory in led.values() for name in "ab")


async def history(seed: int, place: Path, *, kills: int, wide: bool) -> Recorder:
    """What the clients saw, to the end: there one of them looks at everything."""
    loop = asyncio.get_running_loop()
    recorder = Recorder(loop.time)
    cluster = MortalCluster(seed, place)
    try:
        await cluster.start_all()
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(
                    cluster.client(number % 2, HASTY_SECONDS if number < 1 else PATIENT_SECONDS)
                )
                for number in range(CLIENTS)
            ]
            fought_for = await names(clients[-1], wide=wide)
            actors = [
                Actor(number, fs, recorder, fought_for, random.Random(seed * CLIENTS + number))
                for number, fs in enumerate(clients)
            ]
            cluster.disturb()
            await _act(cluster, actors, recorder, kills)
            for name in fought_for:
                assert await actors[-1].look_up(name) != UNKNOWN
    finally:
        await cluster.stop()
    return recorder


async def _act(
    cluster: MortalCluster, actors: Sequence[Actor], recorder: Recorder, kills: int
) -> None:
    async def kill() -> None:
        for _ in range(kills):
            await cluster.kill_within(40, recorder.whole)

    killer = asyncio.create_task(kill())
    async with asyncio.TaskGroup() as tasks:
        for actor in actors:
            tasks.create_task(actor.run(STEPS))
    if recorder.whole.is_set():  # nobody sends any more: there may be nothing to kill at
        killer.cancel()
    await asyncio.gather(killer, return_exceptions=True)


def seeds() -> range:
    """More of them in the thorough profile."""
    thorough = settings().max_examples > settings.get_profile("ci").max_examples
    return range(THOROUGH_SEEDS if thorough else SEEDS)


@pytest.mark.parametrize("seed", seeds())
def test_what_clients_see_fits_one_order_whenever_nodes_are_killed(
    seed: int, tmp_path: Path
) -> None:
    recorder = clock.run(history(seed, tmp_path, kills=2, wide=bool(seed % 2)))

    assert explained(recorder.events), (seed, recorder.events)
