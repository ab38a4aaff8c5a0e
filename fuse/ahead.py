"""Looking up names ahead: who looks up many names of a directory is answered from a listing of it.

A program that walks through a directory without listing it (or whose listing the kernel no longer
believes) causes one look-up a name. After a few of them a page of the directory is fetched with
all attributes. An answer from it is given once, is as old as the page, and is believed for what
then remains; what this mount changes meanwhile is not in it. A name that is not there is asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from lru import LRU

from benchfs.errors import BenchFSError
from benchfs.fuse.believed import Believed
from benchfs.inode import FileType
from benchfs.rpc.messages import Attributes, EntryRecord

logger = logging.getLogger(__name__)
LOOKUPS_BEFORE = 16  # within PAUSE_SECONDS of each other
LOOKUPS_BEFORE_MOST = 4096  # where what was fetched was of no use
PAUSE_SECONDS = 0.1
ENTRIES = 1000  # fetched at a time: a page of a listing
NAMES_MOST = 50_000
DIRECTORIES_MOST = 1000
USEFUL_SHARE = 8  # of what was fetched, one in so many was asked for
LEAST_SECONDS = 0.05  # an answer that holds no longer is none

Listing = Callable[[int, bytes], AsyncIterator[tuple[EntryRecord, Attributes]]]


class _Name(NamedTuple):
    attributes: Attributes
    until: float


class _Walk:
    """How one directory is being looked through."""

    __slots__ = ("before", "fetched", "last", "lookups", "reading", "used")

    def __init__(self) -> None:
        self.lookups = 0  # in a row, answered by the cluster
        self.last = 0.0
        self.before = LOOKUPS_BEFORE
        self.fetched = 0  # at the last reading
        self.used = 0  # of those
        self.reading = False


class Ahead:
    """Names of one mount. `seconds`: how long names and attributes are believed."""

    def __init__(self, listing: Listing, seconds: float, clock: Callable[[], float]) -> None:
        self._listing = listing
        self._seconds = seconds
        self._clock = clock
        self._names: dict[tuple[int, bytes], _Name] = {}
        self._of_inodes: dict[int, tuple[int, bytes]] = {}
        self._walks: LRU[int, _Walk] = LRU(DIRECTORIES_MOST)
        self._changed: set[object] = set()  # inodes and names, since the oldest reading began
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop reading."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def take(self, parent: int, name: bytes) -> Believed | None:
        """The answer to a look-up, if there is one."""
        found = self._names.pop((parent, name), None)
        if found is None:
            return None
        del self._of_inodes[found.attributes.ino]
        left = found.until - self._clock()
        if left < LEAST_SECONDS:
            return None
        walk = self._walks.get(parent)
        if walk is not None:
            walk.used += 1
        return Believed(found.attributes, left)

    def looked_up(self, parent: int, name: bytes) -> None:
        """The cluster was asked, and the name is there."""
        if self._seconds < 2 * LEAST_SECONDS:
            return
        walk = self._walks.get(parent)
        if walk is None:
            walk = self._walks[parent] = _Walk()
        now = self._clock()
        walk.lookups = walk.lookups + 1 if now - walk.last < PAUSE_SECONDS else 1
        walk.last = now
        if walk.lookups < walk.before or walk.reading:
            return
        if walk.fetched > walk.used * USEFUL_SHARE:
            walk.before = min(walk.before * 2, LOOKUPS_BEFORE_MOST)
        else:
            walk.before = LOOKUPS_BEFORE
        walk.lookups = walk.fetched = walk.used = 0
        walk.reading = True
        task = asyncio.get_running_loop().create_task(self._read(walk, parent, name))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def changed(self, ino: int) -> None:
        """This mount changes an inode, or has."""
        key = self._of_inodes.pop(ino, None)
        if key is not None:
            del self._names[key]
        if self._tasks:
            self._changed.add(ino)

    def name_changed(self, parent: int, name: bytes) -> None:
        """This mount made a name stand for something else."""
        key = (parent, name)
        found = self._names.pop(key, None)
        if found is not None:
            del self._of_inodes[found.attributes.ino]
        if self._tasks:
            self._changed.add(key)

    async def _read(self, walk: _Walk, parent: int, after: bytes) -> None:
        until = self._clock() + self._seconds
        found: list[tuple[tuple[int, bytes], Attributes]] = []
        try:
            async for entry, attributes in self._listing(parent, after):
                found.append(((parent, entry.name), attributes))
                if len(found) == ENTRIES:
                    break
        except BenchFSError as exc:  # whoever needs one of the names gets to know
            logger.info("%s", exc)
        finally:
            walk.reading = False
        walk.fetched = len(found)
        self._make_room()
        for key, attributes in found:
            if self._may_keep(key, attributes):
                self._names[key] = _Name(attributes, until)
                self._of_inodes[attributes.ino] = key

    def _may_keep(self, key: tuple[int, bytes], attributes: Attributes) -> bool:
        """Not what changed meanwhile; and nothing that another name can change."""
        if key in self._changed or attributes.ino in self._changed:
            return False
        if attributes.ino in self._of_inodes and self._of_inodes[attributes.ino] != key:
            return False
        return attributes.type != FileType.FILE or attributes.nlink == 1

    def _make_room(self) -> None:
        if len(self._names) + ENTRIES <= NAMES_MOST:
            return
        now = self._clock()
        for key in [key for key, name in self._names.items() if name.until <= now]:
            del self._of_inodes[self._names.pop(key).attributes.ino]
        if len(self._names) + ENTRIES > NAMES_MOST:
            self._names.clear()
            self._of_inodes.clear()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self._changed.clear()
