"""The checker of histories itself: it accepts what can be, and refuses what cannot."""

import math

import pytest

from tests.fault.history import EXISTS, MISSING, UNKNOWN, Event, explain


def event(
    operation: str, names: str, when: tuple[float, float], outcome: int | str, ino: int = 0
) -> Event:
    return Event(0, operation, tuple(names.split()), *when, outcome, ino)


POSSIBLE = {
    "one after another": [
        event("create", "a", (0, 1), 7),
        event("lookup", "a", (2, 3), 7),
        event("unlink", "a", (4, 5), "ok"),
        event("lookup", "a", (6, 7), MISSING),
    ],
    "a look-up during a create sees either": [
        event("create", "a", (0, 10), 7),
        event("lookup", "a", (1, 2), MISSING),
        event("lookup", "a", (3, 4), 7),
    ],
    "of two creates one wins": [
        event("create", "a", (0, 10), EXISTS),
        event("create", "a", (0, 10), 7),
    ],
    "a rename without an answer happened late": [
        event("create", "a", (0, 1), 7),
        event("rename", "a b", (2, math.inf), UNKNOWN),
        event("lookup", "a", (50, 51), 7),
        event("lookup", "b", (52, 53), 7),
    ],
    "a create without an answer never happened": [
        event("create", "a", (0, math.inf), UNKNOWN, 9),
        event("create", "a", (2, 3), 7),
    ],
    "two exchanges": [
        event("create", "a", (0, 1), 1),
        event("create", "b", (0, 1), 2),
        event("exchange", "a b", (2, 5), "ok"),
        event("lookup", "a", (6, 7), 2),
        event("exchange", "a b", (8, 9), "ok"),
        event("lookup", "a", (10, 11), 1),
    ],
    "a link keeps both names": [
        event("create", "a", (0, 1), 1),
        event("link", "a b", (2, 3), "ok"),
        event("link", "a b", (4, 5), EXISTS),
        event("lookup", "a", (6, 7), 1),
        event("lookup", "b", (6, 7), 1),
    ],
}

IMPOSSIBLE = {
    "a file under neither name": [
        event("create", "a", (0, 1), 7),
        event("rename", "a b", (2, 9), "ok"),
        event("lookup", "a", (3, 4), MISSING),
        event("lookup", "b", (5, 6), MISSING),
    ],
    "two names at once": [
        event("create", "a", (0, 1), 7),
        event("rename", "a b", (2, 9), "ok"),
        event("lookup", "b", (3, 4), 7),
        event("lookup", "a", (5, 6), 7),
    ],
    "two creates that both win": [
        event("create", "a", (0, 10), 8),
        event("create", "a", (0, 10), 7),
    ],
    "a stale look-up": [
        event("create", "a", (0, 1), 7),
        event("unlink", "a", (2, 3), "ok"),
        event("lookup", "a", (4, 5), 7),
    ],
    "a removal undone": [
        event("create", "a", (0, 1), 7),
        event("unlink", "a", (2, 3), "ok"),
        event("unlink", "a", (4, 5), "ok"),
    ],
    "a noreplace that replaced": [
        event("create", "a", (0, 1), 1),
        event("create", "b", (0, 1), 2),
        event("noreplace", "a b", (2, 3), "ok"),
    ],
}


@pytest.mark.parametrize("name", POSSIBLE)
def test_what_can_be_is_explained(name: str) -> None:
    events = POSSIBLE[name]

    order = explain(events)

    assert order is not None
    assert {one for one in events if one.answered_at_all} <= set(order)


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_be_is_refused(name: str) -> None:
    assert explain(IMPOSSIBLE[name]) is None
