"""Assign many items to few bins by preference, with room for so many in each bin.

This is the machinery of `benchfs/placement.py`, without its words: items there are groups, bins
are nodes. It promises that a bin takes more than its room only when no assignment at all avoids
that, and the same result from the same wishes. It does not know what is moved between two plans;
that few items move comes from deferred acceptance, where each bin keeps what ranks highest.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Protocol

Rank = tuple[int, float]


class Wishes(Protocol):
    """Who wants what. Items and bins are numbers from 0."""

    def choices(self, item: int) -> Iterator[int]:
        """The bins that the item is allowed in, the one it likes best first."""
        ...

    def allowed(self, item: int, bin_: int) -> bool:
        """Whether the item may go into the bin at all."""
        ...

    def rank(self, item: int, bin_: int) -> Rank:
        """How much the bin wants the item; the greater rank stays."""
        ...


def assign(wishes: Wishes, items: int, room: Sequence[int], least: Sequence[int]) -> list[int]:
    """The bin of each item. Every item must be allowed in at least one bin.

    `room` is how many items each bin takes, `least` how many it should get: a bin below that is
    given items of bins that have more than their own `least`, where items are allowed there.
    """
    chosen = _deferred_acceptance(wishes, items, room)
    load = [0] * len(room)
    for bin_ in chosen:
        if bin_ >= 0:
            load[bin_] += 1
    for item, bin_ in enumerate(chosen):
        if bin_ < 0:
            _squeeze_in(wishes, item, chosen, load, room)
    for bin_, count in enumerate(least):
        if load[bin_] < count:
            _fill_up(wishes, bin_, chosen, load, least)
    return chosen


def _deferred_acceptance(wishes: Wishes, items: int, room: Sequence[int]) -> list[int]:
    """Gale and Shapley: items ask in the order of their wishes, a full bin drops its least.

    The outcome does not depend on who asks first. -1 for items that every bin refused.
    """
    chosen = [-1] * items
    choices = [wishes.choices(item) for item in range(items)]
    kept: list[list[tuple[Rank, int]]] = [[] for _ in room]
    asking = list(range(items))
    while asking:
        item = asking.pop()
        bin_ = chosen[item] = next(choices[item], -1)
        if bin_ < 0:
            continue
        entry = (wishes.rank(item, bin_), item)
        if len(kept[bin_]) < room[bin_]:
            heapq.heappush(kept[bin_], entry)
        elif kept[bin_]:
            asking.append(heapq.heappushpop(kept[bin_], entry)[1])
        else:
            asking.append(item)
    return chosen


def _squeeze_in(
    wishes: Wishes, item: int, chosen: list[int], load: list[int], room: Sequence[int]
) -> None:
    """Make room for an item by the shortest chain of moves; overfill a bin if there is none."""
    held: list[list[int]] = [[] for _ in room]
    for other, owner in enumerate(chosen):
        if owner >= 0:
            held[owner].append(other)
    # For each bin reached, the item that would move there and the bin it would leave.
    moves: dict[int, tuple[int, int] | None] = {
        bin_: None for bin_ in range(len(room)) if wishes.allowed(item, bin_)
    }
    last = min(moves, key=lambda bin_: (load[bin_] - room[bin_], bin_))
    full = deque(moves)
    while full and load[last] >= room[last]:
        source = full.popleft()
        for target in range(len(room)):
            if target in moves:
                continue
            mover = next((it for it in held[source] if wishes.allowed(it, target)), None)
            if mover is not None:
                moves[target] = (mover, source)
                full.append(target)
                if load[target] < room[target]:
                    last = target
                    break
    load[last] += 1
    while (move := moves[last]) is not None:
        chosen[move[0]] = last
        last = move[1]
    chosen[item] = last


def _fill_up(
    wishes: Wishes, bin_: int, chosen: list[int], load: list[int], least: Sequence[int]
) -> None:
    """Give the bin what it lacks, from the bins that have most beyond their least."""
    offers: dict[int, list[int]] = {}
    for item, owner in enumerate(chosen):
        if load[owner] > least[owner] and wishes.allowed(item, bin_):
            offers.setdefault(owner, []).append(item)
    for items in offers.values():
        items.sort(key=lambda item: (wishes.rank(item, bin_), item))
    while load[bin_] < least[bin_] and offers:
        donor = max(offers, key=lambda owner: (load[owner] - least[owner], -owner))
        chosen[offers[donor].pop()] = bin_
        load[donor] -= 1
        load[bin_] += 1
        if not offers[donor] or load[donor] <= least[donor]:
            del offers[donor]
