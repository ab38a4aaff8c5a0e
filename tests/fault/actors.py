"""Clients that change the same few names, what each of them saw, and whether it fits one order."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import benchfs
from benchfs.errors import TransportError
from benchfs.namespace import Place
from benchfs.paths import parse
from benchfs.rpc.messages import Link
from tests.fault.history import EXISTS, MISSING, UNKNOWN, Event, explain

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
    """What happened, as the clients saw it, by the clock."""

    clock: Callable[[], float] = time.monotonic
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
        called = self.clock()
        outcome: int | str
        try:
            outcome = await act() or "ok"
        except (FileExistsError, FileNotFoundError) as exc:
            outcome = next(text for kind, text in OUTCOMES.items() if isinstance(exc, kind))
        except TransportError:
            outcome = UNKNOWN
        answered = math.inf if outcome == UNKNOWN else self.clock()
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

    async def run(self, steps: int) -> None:
        for _ in range(steps):
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
