"""Several clients change the same few names at once: what each of them saw has to fit one order.

Each history is searched for such an order (`tests/fault/history.py`). The names are in two
directories that different nodes lead; in some histories a node is killed and started again.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest

import benchfs
from benchfs.inode import home_group
from benchfs.localcluster import LocalNode
from tests.fault.actors import Actor, Recorder, explained
from tests.fault.history import UNKNOWN

CLIENTS = 4
STEPS = 28  # of each client
SETTLE_SECONDS = 20
PATIENT_SECONDS, HASTY_SECONDS = 20.0, 0.4


@pytest.fixture(scope="module")
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=3) as running:
        yield running


@dataclass
class Scene:
    """Two directories that different nodes lead, and the names in them that are fought for."""

    names: tuple[str, ...]
    nodes: tuple[LocalNode, LocalNode]  # that lead the directories


async def scene(cluster: benchfs.LocalCluster, *, wide: bool, seed: int) -> Scene:
    """A new one. A wide second directory has its names at all nodes."""
    nodes = {node.node_id: node for node in cluster.nodes}
    async with benchfs.AsyncClient(str(cluster.directory)) as fs:
        led: dict[str, str] = {}
        for number in itertools.count():
            path = f"/{seed}-{wide}-{number}-{time.monotonic_ns()}"
            await fs.mkdir(path, wide=wide and bool(led))
            leader = fs.cluster_map.primary(home_group((await fs.stat(path)).st_ino))
            led.setdefault(leader, path)
            if len(led) == 2:
                break
    (one, here), (other, there) = led.items()
    names = (f"{here}/a", f"{here}/b", f"{there}/a", f"{there}/b")
    return Scene(names, (nodes[one], nodes[other]))


async def history(
    cluster: benchfs.LocalCluster,
    place: Scene,
    seed: int,
    disturb: Callable[[Recorder], Awaitable[None]] | None = None,
) -> Recorder:
    """What the clients saw, to the end: there one of them looks at everything."""
    recorder = Recorder()
    clients = [
        benchfs.AsyncClient(
            str(cluster.directory),
            attribute_seconds=number % 2,
            timeout=PATIENT_SECONDS,
        )
        for number in range(CLIENTS)
    ]
    async with clients[0], clients[1], clients[2], clients[3]:
        if disturb is not None:
            for hasty in clients[:2]:
                hasty._use().timeout = HASTY_SECONDS
        actors = [
            Actor(number, fs, recorder, place.names, random.Random(seed * CLIENTS + number))
            for number, fs in enumerate(clients)
        ]
        async with asyncio.TaskGroup() as tasks:
            for actor in actors:
                tasks.create_task(actor.run(STEPS))
            if disturb is not None:
                tasks.create_task(disturb(recorder))
        patient = actors[-1]
        for name in place.names:
            assert await patient.look_up(name) != UNKNOWN
        await nothing_is_half_done(patient.fs, place, recorder)
    return recorder


async def nothing_is_half_done(fs: benchfs.AsyncClient, place: Scene, recorder: Recorder) -> None:
    """Listings, look-ups and link counts agree, and every name can be used."""
    unanswered = any(not event.answered_at_all for event in recorder.events)
    async with asyncio.timeout(SETTLE_SECONDS):
        while (problem := await contradiction(fs, place)) is not None:
            assert unanswered or "names" in problem, problem  # counts may fall a moment later
            await asyncio.sleep(0.02)
    for number, name in enumerate(place.names):
        spare = f"{name}-{number}"
        await fs.write_bytes(name, b"1")
        await fs.rename(name, spare)
        assert await fs.read_bytes(spare) == b"1"
        await fs.unlink(spare)
        assert not await fs.lexists(name)


async def contradiction(fs: benchfs.AsyncClient, place: Scene) -> str | None:
    found: dict[str, int] = {}
    for name in place.names:
        if await fs.lexists(name):
            found[name] = (await fs.lstat(name)).st_ino
    listed = {
        entry.path: entry.inode()
        for directory in {name.rpartition("/")[0] for name in place.names}
        for entry in [entry async for entry in fs.scandir(directory)]
    }
    if listed != found:
        return f"listed: {listed}, found: {found}"
    for name, ino in found.items():
        count = sum(other == ino for other in found.values())
        if (links := (await fs.lstat(name)).st_nlink) != count:
            return f"{name} has {count} names and a count of {links}"
    return None


@pytest.mark.parametrize("wide", [False, True], ids=["narrow", "wide"])
@pytest.mark.parametrize("seed", range(6))
async def test_what_clients_see_fits_one_order(
    cluster: benchfs.LocalCluster, seed: int, wide: bool
) -> None:
    place = await scene(cluster, wide=wide, seed=seed)

    recorder = await history(cluster, place, seed)

    assert all(event.answered_at_all for event in recorder.events)
    assert explained(recorder.events), recorder.events


@pytest.mark.parametrize("wide", [False, True], ids=["narrow", "wide"])
@pytest.mark.parametrize("seed", range(4))
async def test_what_clients_see_fits_one_order_though_a_node_is_killed(
    cluster: benchfs.LocalCluster, seed: int, wide: bool
) -> None:
    place = await scene(cluster, wide=wide, seed=100 + seed)
    victim = place.nodes[seed % 2]

    async def kill(recorder: Recorder) -> None:
        async with asyncio.timeout(PATIENT_SECONDS):
            while len(recorder.events) < 20 + 10 * seed:
                await asyncio.sleep(0)
        recorder.whole.clear()
        victim.kill()
        await asyncio.to_thread(victim.start)
        recorder.whole.set()

    recorder = await history(cluster, place, seed, kill)

    assert explained(recorder.events), recorder.events


async def test_a_client_that_believes_old_names_is_found_out(
    cluster: benchfs.LocalCluster,
) -> None:
    place = await scene(cluster, wide=False, seed=1000)
    name, recorder = place.names[0], Recorder()
    url = str(cluster.directory)
    async with benchfs.AsyncClient(url) as one, benchfs.AsyncClient(url) as other:
        actor = Actor(0, one, recorder, place.names, random.Random(0))
        believer = Actor(1, other, recorder, place.names, random.Random(0))
        await actor.act("create", name, "")
        remembered = await believer.find(name)

        async def recall() -> int:
            return remembered

        await believer.note("lookup", (name,), recall)
        assert explained(recorder.events)
        await actor.act("unlink", name, "")
        await believer.note("lookup", (name,), recall)

    assert not explained(recorder.events)
