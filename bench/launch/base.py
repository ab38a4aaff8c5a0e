"""Ranks: the processes that run one benchmark together, and the one thing they do together.

Every rank runs the same program. `exchange` is barrier, gather and broadcast in one: each rank
gives a value and, when all have come, gets everybody's. Whoever waits keeps its event loop
running, so that clients answer their nodes meanwhile, and hears of a rank that is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Protocol, TypeVar

Value = TypeVar("Value")
Job = TypeVar("Job")
Result = TypeVar("Result")

# A rank waits for the slowest at the end of a phase, and a phase of IO500 may take hours.
EXCHANGE_SECONDS = 12 * 3600.0


class RankLostError(OSError):
    """A rank ended, or did not come, while others waited for it."""


class StoppedError(OSError):
    """The run cannot go on; every rank knows, and for the same reason."""


class Ranks(Protocol):
    """What a program knows of the others: `rank` counts from 0 to `size` - 1."""

    rank: int
    size: int

    async def exchange(self, value: Value) -> list[Value]:
        """Give a value; everybody's, by rank, when all have come. Raises RankLostError."""
        ...


Program = Callable[[Ranks, Job], Coroutine[object, object, Result]]
