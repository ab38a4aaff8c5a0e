"""Looking for the next request for a moment before sleeping, as long as nobody else wants the CPU.

A program that makes files has one request under way at a time, and each is answered by a process
that sleeps and one that the answer wakes. To sleep and to be woken costs both CPUs more than most
answers do, in a virtual machine above all. After a request that soon followed another the event
loop therefore looks again and again for what comes next, and gives way to others between the looks.
If that takes long, the CPU has other work: then nothing is done for a while but to wait as always.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

# docs/decisions/014 has the figures.
WINDOW_SECONDS = 300e-6  # a call to a node takes about as long
SOON_SECONDS = 1e-3  # between requests that belong together
LONG_SECONDS = 500e-6  # for giving way: a program that computes takes its slice of some ms
REST_SECONDS = 0.1  # after that; twice as long after the next in a row, and so on
REST_SECONDS_MOST = 3.2


class Awake:
    """Keeps one event loop from sleeping. `clock` is monotonic; `give_way` lets others run."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = time.perf_counter,
        give_way: Callable[[], None] = os.sched_yield,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._give_way = give_way
        self._last = -SOON_SECONDS  # request
        self._looking = False
        self._rest = REST_SECONDS
        self._resting_until = 0.0

    def request(self) -> None:
        """A request was taken, or answered."""
        now = self._clock()
        soon = now - self._last < SOON_SECONDS
        self._last = now
        if soon and not self._looking and now >= self._resting_until:
            self._looking = True
            self._loop.call_soon(self._look)

    def close(self) -> None:
        """No more looking."""
        self._resting_until = float("inf")

    def _look(self) -> None:
        """Once in each turn of the loop, which does not sleep while this is to be called."""
        before = self._clock()
        if before - self._last >= WINDOW_SECONDS:
            self._looking = False
            return
        self._give_way()
        now = self._clock()
        if now - before < LONG_SECONDS:
            self._loop.call_soon(self._look)
            return
        self._looking = False
        again = now - self._resting_until < self._rest
        self._rest = min(2 * self._rest, REST_SECONDS_MOST) if again else REST_SECONDS
        self._resting_until = now + self._rest
