"""Several clients change the same few names at once: what each of them saw has to fit one order.

Each history is searched for such an order (`tests/fault/history.py`). The names are in two
directories that different nodes lead; in some histories a node is killed and started again.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

import benchfs
from benchfs.errors import TransportError
from benchfs.inode import home_group
from benchfs.localcluster import LocalNode
from benchfs.namespace import Place
from benchfs.paths import parse
from benchfs.rpc.messages import Link
from tests.fault.history import EXISTS, MISSING, UNKNOWN, Event, explain

CLIENTS = 4
STEPS = 28  # of each client
SETTLE_SECONDS = 20
PATIENT_SECONDS, HASTY_SECONDS = 20.0, 0.4
OPERATIONS = (
    ["create"] * 6
    + ["lookup"] * 6
    + ["unlink"] * 3
    + ["rename"] * 5
    + ["link"] * 3
    + ["noreplace", "exchange", "exchange"]
)
# What a client learns of an operation on names, besides that it is done.
OUTCOMES = {FileExistsError: EXISTS, FileNotFoundError: MISSING}


@dataclass
class Recorder:
    """What happened, as the clients saw it."""

    events: list[Event] = field(default_factory=list)
    whole: asyncio.Event = field(default_factory=asyncio.Event)  # no node is away

    def __post_init__(self) -> None:
        self.whole.set()

    async def record(
        self,
        client: int,
        operation: str,
        names: tuple[str, ...],
        act: Callable[[], Awaitable[int | None]],
        ino: int = 0,
    ) -> int | str:
        """Do it and note it. `act` returns an inode number, or None for "ok"."""
        called = time.monotonic()
        outcome: int | str
        try:
            outcome = await act() or "ok"
        except (FileExistsError, FileNotFoundError) as exc:
            outcome = next(text for kind, text in OUTCOMES.items() if isinstance(exc, kind))
        except TransportError:
            outcome = UNKNOWN
        answered = math.inf if outcome == UNKNOWN else time.monotonic()
        self.events.append(Event(client, operation, names, called, answered, outcome, ino))
        return outcome


class Actor:
    """One client and its part of the history."""

    def __init__(
        self,
        number: int,
        fs: benchfs.AsyncClient,
        recorder: Recorder,
        names: Sequence[str],
        rng: random.Random,
    ) -> None:
        self.number = number
        self.fs = fs
        self.recorder = recorder
        self.names = names
        self.rng = rng

    async def run(self) -> None:
        for _ in range(STEPS):
            operation = self.rng.choice(OPERATIONS)
            first, second = self.rng.sample(self.names, 2)
            outcome = await self.act(operation, first, second)
            if outcome == UNKNOWN:  # the search takes only few of these at a time
                await self.recorder.whole.wait()

    async def act(self, operation: str, first: str, second: str) -> int | str:
        if operation == "create":
            return await self.note(operation, (first,), lambda: self.create(first))
        if operation == "lookup":
            return await self.look_up(first)
        if operation == "unlink":
            return await self.note(operation, (first,), lambda: self.fs.unlink(first))
        if operation == "link":
            found = await self.look_up(first)
            if not isinstance(found, int):
                return found
            return await self.note("attach", (second,), lambda: self.attach(second, found), found)
        return await self.note(
            operation,
            (first, second),
            lambda: self.fs.rename(
                first, second, replace=operation != "noreplace", exchange=operation == "exchange"
            ),
        )

    async def note(
        self,
        operation: str,
        names: tuple[str, ...],
        act: Callable[[], Awaitable[int | None]],
        ino: int = 0,
    ) -> int | str:
        return await self.recorder.record(self.number, operation, names, act, ino)

    async def look_up(self, name: str) -> int | str:
        return await self.note("lookup", (name,), lambda: self.find(name))

    async def find(self, name: str) -> int:
        return (await self.fs.lstat(name)).st_ino

    async def create(self, name: str) -> int:
        file = await self.fs.open(name, "x")
        ino = file._inode.ino
        await file.close()
        return ino

    async def attach(self, name: str, ino: int) -> None:
        """The second half of link: looking up the old name is an operation of its own."""
        connected, path = self.fs._use(), parse(name)
        intent = connected.intent("link", path)

        async def act(place: Place) -> None:
            request = Link(place.parent, place.name, ino)
            await connected.cluster.mutate(intent, place.group, request)

        await connected.names.at(intent, path, act)


# ------------------------------------------------------------ the search


def explained(events: Sequence[Event]) -> bool:
    """Whether the history is linearizable. Reads and failures without an answer tell nothing.

    Which file a create without an answer made is not known, but it can only be one that was seen
    and that nobody else made: all ways to give them out are tried.
    """
    events = [event for event in events if event.answered_at_all or event.operation != "lookup"]
    made = {event.outcome for event in events if event.operation == "create"}
    seen = {event.outcome for event in events if event.operation == "lookup"}
    strange = [ino for ino in seen - made if isinstance(ino, int)]
    lost = [
        number
        for number, event in enumerate(events)
        if event.operation == "create" and not event.answered_at_all
    ]
    assert len(strange) <= len(lost), f"files that nobody made: {strange}"
    for makers in itertools.permutations(lost, len(strange)):
        given = dict(zip(makers, strange, strict=True))
        history = [
            replace(event, ino=given.get(number, -number - 1)) if number in lost else event
            for number, event in enumerate(events)
        ]
        if explain(history) is not None:
            return True
    return False


# ------------------------------------------------------------ the tests


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
                tasks.create_task(actor.run())
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
