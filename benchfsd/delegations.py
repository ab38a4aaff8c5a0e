"""Directories in which one client alone makes names, for a moment at a time.

Before a program makes a file the kernel asks whether the name is taken. A mount need not ask a
node that, while it knows all names of the directory and nobody else makes any. So a node grants
that with the answer to an OPEN that made a file, for some milliseconds. Nothing is ever recalled:
who wants to make a name there meanwhile comes again, and the directory is not granted for a while.
Kept in memory: a daemon that starts again waits until all grants are over. (Decision 015.)
"""

from __future__ import annotations

from typing import NamedTuple

from benchfs.env import Clock
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import Code

GRANTED_SECONDS = 0.05  # a file is made every millisecond; others wait that long, once
TOLD_MS = 40  # the client's clock may be slower
WANTED_SECONDS = 10.0  # for which a directory that others make names in is not granted
KEPT_MOST = 10_000

NOBODY = b""
"""The session of who has none: other groups, repairs."""


class _Grant(NamedTuple):
    session: bytes
    until: float


class Delegations:
    """Those of one group."""

    __slots__ = ("_clock", "_grants", "_wanted")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._grants: dict[int, _Grant] = {}
        self._wanted: dict[int, float] = {}  # directory -> until when it is not granted

    def grant(self, directory: int, session: bytes) -> int:
        """Let a session be the only one to make names, for so many ms from its request on.

        0: others make names there, too. The caller sees to it that none is about to come.
        """
        now = self._clock.monotonic()
        if self._wanted and self._wanted.get(directory, now) > now:
            return 0
        grant = self._grants.get(directory)
        if grant is not None and grant.session != session and grant.until > now:
            return 0
        if grant is None and len(self._grants) >= KEPT_MOST:
            self._forget_old(now)
        self._grants[directory] = _Grant(session, now + GRANTED_SECONDS)
        return TOLD_MS

    def require(self, directory: int, session: bytes, name: bytes) -> None:
        """Raise NOT_READY while another session is the only one to make names there.

        To be called in the same turn as what makes the name.
        """
        grant = self._grants.get(directory)
        if grant is None or grant.session == session:
            return
        now = self._clock.monotonic()
        if len(self._wanted) >= KEPT_MOST:
            self._wanted = {ino: until for ino, until in self._wanted.items() if until > now}
        self._wanted[directory] = now + WANTED_SECONDS
        if grant.until <= now:
            del self._grants[directory]
            return
        text = f"another client makes names in directory {directory:#x}"
        raise RemoteError(Code.NOT_READY, text, name)

    def _forget_old(self, now: float) -> None:
        self._grants = {ino: grant for ino, grant in self._grants.items() if grant.until > now}
