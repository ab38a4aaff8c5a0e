"""Is a history of operations on names linearizable? Wing and Gong's search, with Lowe's memory.

An event is one operation of one client, with the time it was called and the time it answered.
The history is linearizable if every event can be given a moment between these two so that the
events, one after another in that order, behave as one directory would. An event without an
answer (its node was gone) may have happened at any moment after its call, or never.

J. Wing, C. Gong, "Testing and verifying concurrent objects", 1993; G. Lowe, "Testing for
linearizability", 2017: states that were reached by the same set of events are tried once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Who has which name: pairs of name and inode number, sorted by name.
State = tuple[tuple[str, int], ...]

EXISTS, MISSING, UNKNOWN = "exists", "missing", "unknown"


@dataclass(frozen=True, slots=True)
class Event:
    """`outcome`: an inode number (create, look-up), "ok", EXISTS, MISSING or UNKNOWN."""

    client: int
    operation: str  # create, lookup, unlink, rename, noreplace, link, exchange, attach
    names: tuple[str, ...]
    called: float
    answered: float  # math.inf: no answer came
    outcome: int | str
    # of a create that got no answer: what it would have made, unknown to the client; of an
    # attach: the inode that it gives the name
    ino: int = 0

    @property
    def answered_at_all(self) -> bool:
        """Whether the client knows how it ended."""
        return self.outcome != UNKNOWN


def after(state: State, event: Event) -> State | None:
    """The state after the event, or None if its outcome cannot be in this state."""
    names = dict(state)
    first = event.names[0]
    here = names.get(first)
    known = event.answered_at_all
    if event.operation == "lookup":
        return state if not known or event.outcome == (here or MISSING) else None
    if event.operation == "create":
        if here is not None:
            return state if not known or event.outcome == EXISTS else None
        if known and not isinstance(event.outcome, int):
            return None
        names[first] = event.outcome if isinstance(event.outcome, int) else event.ino
    elif event.operation == "attach":
        return _attach(state, names, event)
    elif here is None:
        return state if not known or event.outcome == MISSING else None
    elif known and event.outcome == MISSING and event.operation != "exchange":
        return None
    elif event.operation == "unlink":
        del names[first]
    else:
        return _move(state, names, event)
    return tuple(sorted(names.items()))


def _attach(state: State, names: dict[str, int], event: Event) -> State | None:
    """An inode, known by its number, gets a name if that is free.

    It may have lost its own names meanwhile: then it is MISSING, or gets the name all the same,
    if its node has not been told of that yet.
    """
    (name,) = event.names
    taken, gone = name in names, event.ino not in names.values()
    refusals = {EXISTS} if taken else set[int | str]()
    if gone:
        refusals.add(MISSING)
    if event.outcome in refusals or (taken and not event.answered_at_all):
        return state
    if taken or event.outcome not in {"ok", UNKNOWN}:
        return None
    names[name] = event.ino
    return tuple(sorted(names.items()))


def _move(state: State, names: dict[str, int], event: Event) -> State | None:
    first, second = event.names
    here, there = names[first], names.get(second)
    if event.operation == "exchange":
        if there is None:
            return state if event.outcome in {MISSING, UNKNOWN} else None
        if event.outcome == MISSING:
            return None
        names[first], names[second] = there, here
    elif event.operation in {"noreplace", "link"} and there is not None:
        return state if event.outcome in {EXISTS, UNKNOWN} else None
    elif event.outcome == EXISTS:
        return None
    else:
        names[second] = here
        if event.operation != "link" and here != there:
            del names[first]
    return tuple(sorted(names.items()))


def explain(events: Sequence[Event], initial: State = ()) -> list[Event] | None:
    """An order of the events that explains all outcomes; None if there is none."""
    ordered = sorted(events, key=lambda event: event.called)
    must = sum(1 << index for index, event in enumerate(ordered) if event.answered_at_all)
    seen: set[tuple[int, State]] = set()
    stack: list[tuple[int, State, tuple[int, ...]]] = [(0, initial, ())]
    while stack:
        done, state, order = stack.pop()
        if done & must == must:
            return [ordered[index] for index in order]
        # Nothing can come before an event that had been answered when it was called.
        earliest = math.inf
        for index, event in enumerate(ordered):
            if event.called > earliest:
                break
            if done >> index & 1:
                continue
            earliest = min(earliest, event.answered)
            following = after(state, event)
            if following is None or (done | 1 << index, following) in seen:
                continue
            seen.add((done | 1 << index, following))
            stack.append((done | 1 << index, following, (*order, index)))
    return None
