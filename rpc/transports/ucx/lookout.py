"""Whether a worker that has sent something looks for the answer before it sleeps.

Sleeping and being woken costs more than a short answer takes, so looking pays where the peer works
on another CPU, and only costs where the peer waits for this one. Which it is shows by itself: after
looks in vain the next messages are not looked for. Knows nothing of UCX or of loops.
"""

from __future__ import annotations

from collections.abc import Callable

# How long an answer is looked for: several times what a small call takes between two processes.
WINDOW_SECONDS = 100e-6
# Rounds in one turn of the loop, a microsecond each: others want their turn, too.
ROUNDS = 8
# A round that takes this long: somebody else had the CPU, and wants it.
TAKEN_SECONDS = 40e-6
# A look in vain costs what several save, and is forgiven after so many that were not.
VAIN_COSTS = 6
CREDIT_MOST = 4 * VAIN_COSTS
# Messages that are not looked for when there is no credit left; twice as many each time, until
# looking is seen to pay. In the end a window costs each message 0.1 microseconds.
PAUSE_LEAST, PAUSE_MOST = 16, 1024


class Lookout:
    """One worker's. `until` is when its look ends, 0 while it does not look."""

    __slots__ = ("_clock", "_credit", "_next_pause", "_pause", "until")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.until = 0.0
        self._clock = clock
        self._credit = 0
        self._pause = 0  # messages that are not looked for
        self._next_pause = PAUSE_LEAST

    def may_look(self) -> bool:
        """Whether the next message's answer is looked for."""
        return not self._pause

    def sent(self) -> bool:
        """A message was sent; whether to look for its answer."""
        if self._pause:
            self._pause -= 1
            return False
        self.until = self._clock() + WINDOW_SECONDS
        return True

    def found(self) -> None:
        """Something came while looking."""
        self.until = 0.0
        if self._credit < CREDIT_MOST:
            self._credit += 1
        else:
            self._next_pause = PAUSE_LEAST

    def look(self, progress: Callable[[], int]) -> int:
        """Look for one turn of the loop. What `progress` made; when 0 and `until` is set: go on."""
        before = self._clock()
        for _ in range(ROUNDS):
            made = progress()
            if made:
                return made
            now = self._clock()
            if now >= self.until or now - before > TAKEN_SECONDS:
                self._in_vain()
                break
            before = now
        return 0

    def _in_vain(self) -> None:
        self.until = 0.0
        self._credit -= VAIN_COSTS
        if self._credit < 0:
            self._credit = 0
            self._pause = self._next_pause
            self._next_pause = min(2 * self._pause, PAUSE_MOST)
