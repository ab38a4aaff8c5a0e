"""Sessions that are over: the stored answers of clients that will not ask again are removed.

A client repeats a request for as long as its operation may take, seconds to minutes. Its
answers are kept while it is connected, and for KEEP_SECONDS after it was last seen here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from benchfs.env import Clock
from benchfsd.slots import Slots

KEEP_SECONDS = 600.0


class SessionKeeper:
    """Decides which sessions of a node are over. `groups` are those the node leads."""

    def __init__(self, slots: Slots, groups: Callable[[], Iterable[int]], clock: Clock) -> None:
        self._slots = slots
        self._groups = groups
        self._clock = clock
        self._seen: dict[bytes, float] = {}  # monotonic seconds

    def look(self, connected: Collection[bytes]) -> int:
        """Note who is connected, forget who is over; returns how many rows were removed."""
        now = self._clock.monotonic()
        self._seen.update(dict.fromkeys(connected, now))
        removed = 0
        for group in self._groups():
            for session in list(self._slots.sessions(group)):
                # one that is met for the first time, after a start, counts from now
                if now - self._seen.setdefault(session, now) > KEEP_SECONDS:
                    removed += self._slots.forget(session, [group])
        for session in [s for s, seen in self._seen.items() if now - seen > KEEP_SECONDS]:
            del self._seen[session]
        return removed
