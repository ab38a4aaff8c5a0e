"""Advisory locks of one node's inodes: who has which, and who waits. In memory, pure.

There are two kinds beside each other, as on Linux: byte ranges, and the lock of a whole file
(flock). A lock belongs to one open file of a session, ends with it, and with the session's lease.
Who cannot have a lock may wait; those who came first are asked first when something is unlocked.

A wait that closes a circle of sessions waiting for one another, within this node, is refused with
EDEADLK. A circle over several nodes is not seen: there the waits end in time.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import NamedTuple

from benchfs.lockranges import LockRange, LockRanges
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import Code, LockRecord

RANGES_MOST = 1024  # of one open file


class Owner(NamedTuple):
    """An open file of a session."""

    session: bytes
    handle: int


class Waiter(NamedTuple):
    """Somebody who waits. `offer` gives them the lock, and tells whether they still want it."""

    owner: Owner
    lock: LockRange
    offer: Callable[[], bool]


class _Space:
    """The locks of one kind in one file."""

    __slots__ = ("held", "waiting")

    def __init__(self) -> None:
        self.held: dict[Owner, LockRanges] = {}
        self.waiting: list[Waiter] = []

    def blockers(self, owner: Owner, lock: LockRange) -> list[Owner]:
        return [o for o, ranges in self.held.items() if o != owner and ranges.conflicts(lock)]

    def take(self, owner: Owner, lock: LockRange) -> None:
        ranges = self.held.get(owner)
        if ranges is None:
            ranges = self.held[owner] = LockRanges()
        if len(ranges) >= RANGES_MOST:
            raise RemoteError(errno.ENOLCK, f"{RANGES_MOST} ranges are locked by this file")
        ranges.set(lock)

    def drop(self, owner: Owner, start: int, end: int) -> None:
        ranges = self.held.get(owner)
        if ranges is not None:
            ranges.clear(start, end)
            if not ranges:
                del self.held[owner]


class LockTable:
    """The locks of one node."""

    def __init__(self) -> None:
        self._spaces: dict[tuple[int, bool], _Space] = {}  # (inode, whole file)
        # The number of an owner's last unlocking: what it asked for before comes too late.
        self._unlocked: dict[tuple[int, Owner], int] = {}

    def lock(
        self, ino: int, owner: Owner, *, whole: bool, lock: LockRange, number: int
    ) -> list[Owner]:
        """Take a lock, or return who is in the way. Taken already counts as taken.

        Raises RemoteError: STALE_SEQUENCE if the owner has unlocked something since it asked,
        ENOLCK.
        """
        if number < self._unlocked.get((ino, owner), 0):
            raise RemoteError(Code.STALE_SEQUENCE, "something was unlocked since: lock again")
        space = self._spaces.get((ino, whole))
        if space is None:
            space = self._spaces[ino, whole] = _Space()
        blockers = space.blockers(owner, lock)
        if not blockers:
            space.take(owner, lock)
            self._wake(ino, whole)  # a lock that became a shared one lets others in
        return blockers

    def wait(self, ino: int, waiter: Waiter, *, whole: bool) -> None:
        """Wait for a lock that was not to be had. Raises RemoteError EDEADLK."""
        space = self._spaces[ino, whole]
        session = waiter.owner.session
        if session in self._waited_for(space.blockers(waiter.owner, waiter.lock), session):
            raise RemoteError(errno.EDEADLK, "its holder waits for a lock of this client")
        space.waiting.append(waiter)

    def stop_waiting(self, ino: int, waiter: Waiter, *, whole: bool) -> None:
        """Give up; not having waited is no error."""
        space = self._spaces.get((ino, whole))
        if space is not None:
            space.waiting = [other for other in space.waiting if other is not waiter]
            self._tidy(ino, whole)

    def unlock(
        self, ino: int, owner: Owner, *, whole: bool, start: int, end: int, number: int
    ) -> None:
        """Unlock a range of an owner, and let in who waited for it."""
        key = ino, owner
        self._unlocked[key] = max(number, self._unlocked.get(key, 0))
        space = self._spaces.get((ino, whole))
        if space is not None:
            space.drop(owner, start, end)
            self._wake(ino, whole)

    def drop(self, session: bytes, inos: Iterable[int] | None = None) -> None:
        """A session has closed these inodes (None: it is over): its locks there go."""
        wanted = None if inos is None else set(inos)
        if not self._spaces and not self._unlocked:
            return
        for ino, whole in list(self._spaces):
            if wanted is not None and ino not in wanted:
                continue
            space = self._spaces[ino, whole]
            for owner in [owner for owner in space.held if owner.session == session]:
                del space.held[owner]
            space.waiting = [w for w in space.waiting if w.owner.session != session]
            self._wake(ino, whole)
        for key in [key for key in self._unlocked if key[1].session == session]:
            if wanted is None or key[0] in wanted:
                del self._unlocked[key]

    def claim(self, session: bytes, records: Iterable[LockRecord], *, trust: bool) -> set[int]:
        """The session says that it has these locks; returns the inodes where it has lost some.

        What is not known here is believed only if `trust` (this process is new, and has given
        nobody else a lock), and nobody else has claimed it.
        """
        lost = set()
        for record in records:
            owner = Owner(session, record.handle)
            lock = LockRange(record.start, record.end, record.exclusive)
            space = self._spaces.get((record.ino, record.whole))
            held = space.held.get(owner) if space is not None else None
            if held is not None and held.covers(lock):
                continue
            if not trust or (space is not None and space.blockers(owner, lock)):
                lost.add(record.ino)
                continue
            if space is None:
                space = self._spaces[record.ino, record.whole] = _Space()
            space.take(owner, lock)
        return lost

    # ------------------------------------------------------------ inside

    def _wake(self, ino: int, whole: bool) -> None:
        space = self._spaces[ino, whole]
        for waiter in list(space.waiting):
            if not space.blockers(waiter.owner, waiter.lock):
                space.waiting.remove(waiter)
                if waiter.offer():
                    space.take(waiter.owner, waiter.lock)
        self._tidy(ino, whole)

    def _tidy(self, ino: int, whole: bool) -> None:
        space = self._spaces[ino, whole]
        if not space.held and not space.waiting:
            del self._spaces[ino, whole]

    def _waited_for(self, blockers: Iterable[Owner], session: bytes) -> set[bytes]:
        """The sessions that `blockers` wait for, through any number of others."""
        seen: set[bytes] = set()
        pending = [owner.session for owner in blockers if owner.session != session]
        reached: set[bytes] = set()
        while pending:
            current = pending.pop()
            if current in seen:
                continue
            seen.add(current)
            for space in self._spaces.values():
                for waiter in space.waiting:
                    if waiter.owner.session == current:
                        behind = space.blockers(waiter.owner, waiter.lock)
                        reached.update(owner.session for owner in behind)
                        pending += [owner.session for owner in behind]
        return reached
