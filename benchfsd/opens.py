"""Who has which inodes open, and the leases of their sessions. In memory, one object a node.

A session is heard of when it opens something or renews. One that was not heard of for a lease is
over, and holds nothing any more. After a restart the table is empty: for one lease, the *grace*,
everything counts as held, and sessions tell what they hold (`claim`). Pure over a clock.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator

from benchfs.env import Clock
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import HoldRecord

HOLDS_MOST = 1_000_000  # of all sessions together: some 300 bytes each
SPILLED_MOST = 1_000_000  # inodes; beyond that, every one may have spilled


class _Session:
    __slots__ = ("heard", "holds")

    def __init__(self, heard: float) -> None:
        self.heard = heard  # monotonic seconds
        self.holds: dict[int, HoldRecord] = {}


class Opens:
    """The open inodes of one node. `grace`: an earlier process may have known of some."""

    def __init__(self, clock: Clock, lease_seconds: float, *, grace: bool) -> None:
        self.lease_seconds = lease_seconds
        self._clock = clock
        self._sessions: dict[bytes, _Session] = {}
        self._holders: dict[int, dict[bytes, bool]] = {}  # inode -> session -> writes
        self._count = 0
        self._spilled: set[int] = set()
        self._looked = clock.monotonic()
        self._grace_until = self._looked + (lease_seconds if grace else 0.0)

    @property
    def in_grace(self) -> bool:
        """Whether sessions of an earlier process may still come back."""
        return self._clock.monotonic() < self._grace_until

    def __len__(self) -> int:
        return self._count

    # ------------------------------------------------------------ holding

    def require_room(self) -> None:
        """Raise ENFILE if no more inodes can be held."""
        if self._count >= HOLDS_MOST:
            raise RemoteError(errno.ENFILE, f"{HOLDS_MOST} files are open at this node")

    def hold(self, session: bytes, hold: HoldRecord) -> None:
        """The session has the inode open. Twice is the same as once."""
        known = self._session(session)
        known.heard = self._clock.monotonic()
        before = known.holds.get(hold.ino)
        if before is None:
            self._count += 1
        else:
            hold = HoldRecord(
                hold.ino, max(hold.number, before.number), hold.writes or before.writes
            )
        known.holds[hold.ino] = hold
        self._holders.setdefault(hold.ino, {})[session] = hold.writes

    def release(self, session: bytes, holds: Iterable[HoldRecord]) -> list[int]:
        """The session closed these; returns the inodes that nobody holds any more."""
        known = self._sessions.get(session)
        if known is None:
            return []
        freed = []
        for hold in holds:
            held = known.holds.get(hold.ino)
            if held is not None and held.number <= hold.number and self._drop(session, hold.ino):
                freed.append(hold.ino)
        return freed

    def is_held(self, ino: int) -> bool:
        """Whether somebody may have the inode open."""
        return ino in self._holders or self.in_grace

    def holds(self, session: bytes, ino: int) -> bool:
        """Whether this session has the inode open."""
        return session in self._holders.get(ino, ())

    def is_only_writer(self, session: bytes, ino: int, number: int) -> bool:
        """Whether no other session has the inode open for writing, as far as is known.

        Nor this one, through another open than `number`, its last.
        """
        holders = self._holders.get(ino)
        if holders is None or session not in holders:
            return False
        hold = self._sessions[session].holds[ino]
        others = any(writes and other != session for other, writes in holders.items())
        return hold.writes and hold.number == number and not others

    def writers(self, ino: int) -> Iterator[bytes]:
        """The sessions that hold the inode for writing, as far as is known."""
        holders = self._holders.get(ino)
        return iter(()) if holders is None else (s for s, writes in holders.items() if writes)

    # ------------------------------------------------------------ chunks beyond the size

    def note_spilled(self, ino: int) -> None:
        """A writer left without having reported the size of all that it wrote."""
        if len(self._spilled) <= SPILLED_MOST:
            self._spilled.add(ino)

    def has_spilled(self, ino: int) -> bool:
        """Whether that was noted, and may be true."""
        return ino in self._spilled or len(self._spilled) > SPILLED_MOST

    def forget_spilled(self, ino: int) -> None:
        """The inode is gone, with all its chunks."""
        if len(self._spilled) <= SPILLED_MOST:
            self._spilled.discard(ino)

    # ------------------------------------------------------------ leases

    def renew(self, session: bytes, settled: int, count: int) -> bool:
        """The session lives. False: it must claim, since it holds other than `count` inodes.

        Those opened under numbers beyond `settled` are left out of the comparison.
        """
        known = self._sessions.get(session)
        if known is None:
            return count == 0
        known.heard = self._clock.monotonic()
        return sum(hold.number <= settled for hold in known.holds.values()) == count

    def claim(self, session: bytes, settled: int, holds: Iterable[HoldRecord]) -> list[int]:
        """The session holds these and, up to `settled`, no others; returns what that freed."""
        known = self._session(session)
        known.heard = self._clock.monotonic()
        claimed = {hold.ino: hold for hold in holds}
        old = [h.ino for h in known.holds.values() if h.number <= settled and h.ino not in claimed]
        for hold in claimed.values():
            self.hold(session, hold)
        return [ino for ino in old if self._lose(session, ino)]

    def expire(self) -> tuple[list[bytes], list[int]]:
        """Sessions that are over, and the inodes that nobody holds any more.

        If this process stood still meanwhile, nobody could renew: that time does not count.
        """
        now = self._clock.monotonic()
        stood_still = now - self._looked > self.lease_seconds / 2
        if stood_still:
            for known in self._sessions.values():
                known.heard += now - self._looked
        self._looked = now
        over = [s for s, known in self._sessions.items() if now - known.heard > self.lease_seconds]
        freed = []
        for session in over:
            freed += [
                ino for ino in list(self._sessions[session].holds) if self._lose(session, ino)
            ]
            del self._sessions[session]
        return over, freed

    # ------------------------------------------------------------ inside

    def _session(self, session: bytes) -> _Session:
        known = self._sessions.get(session)
        if known is None:
            known = self._sessions[session] = _Session(self._clock.monotonic())
        return known

    def _lose(self, session: bytes, ino: int) -> bool:
        """As `_drop`, of a hold that was not released: what was written is not known."""
        if self._sessions[session].holds[ino].writes:
            self.note_spilled(ino)
        return self._drop(session, ino)

    def _drop(self, session: bytes, ino: int) -> bool:
        """Forget one hold; tells whether it was the inode's last."""
        del self._sessions[session].holds[ino]
        self._count -= 1
        holders = self._holders[ino]
        del holders[session]
        if not holders:
            del self._holders[ino]
        return not holders
