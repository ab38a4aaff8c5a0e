"""What an open file knows of its inode: attributes as last seen, and how to see them again."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from benchfs.capabilities import Capabilities
from benchfs.checks import verify_pieces
from benchfs.cluster import Cluster, Intent
from benchfs.errors import NotFoundError, error
from benchfs.inode import home_group
from benchfs.layout import chunk_group, shared_layout
from benchfs.rpc.messages import Attributes, AttributesReply, GetAttributes, LockRecord


class Lease(Protocol):
    """What keeps an open inode from being removed. See `benchfs.holds.Holds`."""

    def is_sure(self, ino: int) -> bool:
        """Whether it surely still does."""
        ...


class Locks(Protocol):
    """The locks of an open file. See `benchfs.locking.FileLocks`."""

    def require(self, intent: Intent) -> None:
        """Raise OSError if some are lost."""
        ...

    def records(self) -> list[LockRecord]:
        """All of them."""
        ...

    def lose(self) -> None:
        """They are lost."""
        ...


class Writes(Protocol):
    """What was written through a handle. See `benchfs.writing.WriteBehind`."""

    @property
    def was_used(self) -> bool:
        """Whether anything was ever written."""
        ...

    @property
    def pending(self) -> bool:
        """Whether some of it is not known to the inode yet."""
        ...

    async def flush(self, intent: Intent) -> None:
        """Make it known."""
        ...

    def overlaps(self, start: int, end: int) -> bool:
        """Whether something not known yet may be in a range of the file."""
        ...

    def gather(self, data: bytes, offset: int) -> bool:
        """Take over bytes if nothing has to be waited for; tells whether so."""
        ...

    def was_cut(self) -> None:
        """The file was cut, with nothing pending here."""
        ...


class Brought(NamedTuple):
    """The content of a file, as it came with its opening."""

    data: memoryview
    change: int  # the inode's counter then
    at: float  # loop time


class InodeHandle:
    """An inode held open; `attributes` are at most as old as `seen_at` (loop time) says.

    What one handle learns, all of the client's handles of the inode know: its `family`.

    `brought` is for its next read, see `take_brought`.
    `number` is this handle's alone within its session. `gone`: the inode was removed, since the
    node did not hear of this client for a lease.
    `own_change` is the change counter as this handle's own changes moved it: it stands still once
    somebody else changed the inode. `spilled`: there may be chunks beyond the size that the inode
    knows, since a change failed half way, or was told to leave the size alone.
    """

    __slots__ = (
        "_cluster",
        "_held",
        "_loop",
        "attributes",
        "brought",
        "family",
        "gone",
        "holds",
        "ino",
        "layout",
        "locks",
        "number",
        "own_change",
        "path",
        "seen_at",
        "spilled",
        "writes",
    )

    def __init__(
        self,
        cluster: Cluster,
        attributes: Attributes,
        path: str,
        held: Capabilities | None = None,
    ) -> None:
        self._held = held  # for as long as anything reads or writes through this handle
        self._cluster = cluster
        self._loop = asyncio.get_running_loop()
        self.ino = attributes.ino
        self.layout = shared_layout(*attributes.layout)
        self.path = path
        self.attributes = attributes
        self.seen_at = self._loop.time()
        self.own_change = attributes.change
        self.gone = False
        self.holds: Lease | None = None
        self.locks: Locks | None = None
        self.number = 0
        self.family: set[InodeHandle] = {self}
        self.writes: Writes | None = None
        self.spilled = False
        self.brought: Brought | None = None

    @contextlib.contextmanager
    def spilling(self) -> Iterator[None]:
        """For a change that makes chunks before the size is known: whole, or it has spilled."""
        before, self.spilled = self.spilled, True
        try:
            yield
        except BaseException:
            self.spilled = True
            raise
        self.spilled = before

    def leave(self) -> None:
        """The handle is closed. What refers to itself would wait for the garbage collector.

        That took an eighth of the client's time for files that are opened and closed.
        """
        self.family = set()
        self.writes = None

    def group_of(self, index: int) -> int:
        """The group of chunk `index`."""
        return chunk_group(self.layout, index, self._cluster.map.group_count)

    def learn(self, attributes: Attributes) -> None:
        """Take note of newer attributes."""
        now = self._loop.time()
        for handle in self.family:
            if handle is self or attributes.change >= handle.attributes.change:
                handle._take(attributes, now)

    def _take(self, attributes: Attributes, seen_at: float) -> None:
        cut = attributes.truncation != self.attributes.truncation
        if attributes.layout != self.attributes.layout:  # its first bytes were written
            self.layout = shared_layout(*attributes.layout)
        self.attributes = attributes
        self.seen_at = seen_at
        if cut and self.writes is not None and not self.writes.pending:
            self.writes.was_cut()

    def bring(self, change: int, checks: bytes, payload: memoryview | None) -> None:
        """The answer to an open, which said `change`, had the content with it, or had not."""
        if checks and payload is not None and verify_pieces(payload, 0, checks) is None:
            self.brought = Brought(payload, change, self._loop.time())

    def take_brought(self, seconds: float) -> memoryview | None:
        """What came with the open: for the next read, if the inode is as it was, and settled.

        So a read right after the open asks nobody, and one that comes later sees what is there.
        `seconds`: how long it is good.
        """
        brought, self.brought = self.brought, None
        if brought is None or brought.change != self.attributes.change:
            return None
        return brought.data if self._loop.time() - brought.at < seconds else None

    @property
    def unsettled(self) -> bool:
        """Whether this client wrote something to the file that the inode does not know yet."""
        for handle in self.family:  # noqa: SIM110 (each read asks: a generator costs it more)
            if handle.writes is not None and handle.writes.pending:
                return True
        return False

    async def settle(self, intent: Intent) -> None:
        """Make all known that this client wrote; errors only of what this handle did.

        Another handle's stick to that one, and are raised there.
        """
        for handle in list(self.family):
            if handle.writes is not None and handle.writes.pending:
                try:
                    await handle.writes.flush(intent)
                except OSError:
                    if handle is self:
                        raise

    async def settle_others(self, intent: Intent, where: tuple[int, int] | None = None) -> None:
        """What other handles wrote comes first: to the range `where`, or, None, at all."""
        if len(self.family) == 1:
            return
        for handle in list(self.family - {self}):
            writes = handle.writes
            if writes is None or not writes.pending:
                continue
            if where is None or writes.overlaps(*where):
                with contextlib.suppress(OSError):  # it sticks to that handle
                    await writes.flush(intent)

    def learn_own(self, attributes: Attributes) -> None:
        """Take note of attributes that a change through this handle led to."""
        if attributes.change == self.own_change + 1:
            self.own_change = attributes.change
        self.learn(attributes)

    async def refresh(self, intent: Intent) -> Attributes:
        """Ask the inode's home group. Raises StaleHandleError if the inode is gone."""
        self.require(intent)
        try:
            answer = await self._cluster.call(intent, home_group(self.ino), GetAttributes(self.ino))
        except NotFoundError as exc:
            self.gone = True
            raise self._stale(intent) from exc
        assert isinstance(answer.message, AttributesReply)
        self.learn(answer.message.attributes)
        return self.attributes

    def require(self, intent: Intent) -> None:
        """Raise StaleHandleError if the inode is known to be gone, ENOLCK if locks are lost."""
        if self.gone:
            raise self._stale(intent)
        if self.locks is not None:
            self.locks.require(intent)

    async def require_kept(self, intent: Intent) -> None:
        """Before a missing chunk is taken for a hole: the inode is there. StaleHandleError."""
        if self.holds is None or not self.holds.is_sure(self.ino):
            await self.refresh(intent)

    def _stale(self, intent: Intent) -> Exception:
        text = "it was removed while this client was not heard of for a lease"
        return error(errno.ESTALE, intent.operation, self.path, text=text)
