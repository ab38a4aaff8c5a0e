"""Names, as a client walks them: paths to inodes, one look-up a name, directories remembered.

Which directory a name leads to is believed for `entry_seconds`; that there is no such name is
never believed. When an operation below a remembered directory finds nothing, the path is
walked once more without memory, so a directory that was replaced is found.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from lru import LRU

from benchfs.cluster import Cluster, Intent
from benchfs.errors import BenchFSError, NotFoundError, error
from benchfs.inode import ROOT_INO, FileType, home_group
from benchfs.paths import ParsedPath
from benchfs.rpc.messages import (
    Attributes,
    AttributesReply,
    GetAttributes,
    Lookup,
    LookupReply,
)

ENTRIES_MOST = 65_536
Result = TypeVar("Result")


class Place(NamedTuple):
    """Where a path's last name is: its directory, and whether memory led there."""

    parent: int
    name: bytes  # empty: the path is the directory `parent` itself
    remembered: bool
    group: int  # that keeps this name
    way: tuple[tuple[int, bytes], ...] = ()  # the entries that led to the directory


class Names:
    """Look-ups of one client."""

    def __init__(self, cluster: Cluster, entry_seconds: float) -> None:
        self._cluster = cluster
        self._entry_seconds = entry_seconds
        self._loop = asyncio.get_running_loop()
        # (parent, name) of a directory -> (its inode, good until)
        self._entries: LRU[tuple[int, bytes], tuple[int, float]] = LRU(ENTRIES_MOST)

    async def at(
        self,
        intent: Intent,
        path: ParsedPath,
        act: Callable[[Place], Awaitable[Result]],
    ) -> Result:
        """Walk to the path's last name and `act` there; once more if memory led astray."""
        place = await self._walk(intent, path, remember=True)
        try:
            return await act(place)
        except BenchFSError as exc:
            if not place.remembered or exc.errno not in {errno.ENOENT, errno.ENOTDIR}:
                raise
        return await act(await self._walk(intent, path, remember=False))

    async def attributes(self, intent: Intent, place: Place) -> Attributes:
        """The attributes of what is at a place. ENOENT."""
        if not place.name:
            return await self.of_inode(intent, place.parent)
        found = await self.lookup(intent, place.parent, place.name)
        return found.attributes or await self.resolve(intent, place, found.ino)

    async def resolve(self, intent: Intent, place: Place, ino: int) -> Attributes:
        """The attributes of the entry at a place that was found to be `ino`, at home elsewhere.

        Something else may be renamed over it before they are asked for: then those of that.
        """
        while True:
            try:
                return await self.of_inode(intent, ino)
            except NotFoundError:
                found = await self.lookup(intent, place.parent, place.name)
                if found.ino == ino:
                    raise
                if found.attributes is not None:
                    return found.attributes
                ino = found.ino

    async def of_inode(self, intent: Intent, ino: int) -> Attributes:
        """The attributes of an inode by number. ENOENT."""
        answer = await self._cluster.call(intent, home_group(ino), GetAttributes(ino))
        assert isinstance(answer.message, AttributesReply)
        return answer.message.attributes

    async def lookup(self, intent: Intent, parent: int, name: bytes) -> LookupReply:
        """One entry. ENOENT, ENOTDIR."""
        answer = await self._cluster.call(intent, home_group(parent), Lookup(parent, name))
        found = answer.message
        assert isinstance(found, LookupReply)
        if found.type == FileType.DIRECTORY:
            self.learn(parent, name, found.ino)
        return found

    def learn(self, parent: int, name: bytes, ino: int) -> None:
        """Remember a directory."""
        if self._entry_seconds > 0:
            self._entries[parent, name] = (ino, self._loop.time() + self._entry_seconds)

    def forget(self, parent: int, name: bytes) -> None:
        """This client changed the entry."""
        self._entries.pop((parent, name), None)

    async def _walk(self, intent: Intent, path: ParsedPath, *, remember: bool) -> Place:
        """Directories one by one; `..` goes back the way that was come, and stays at the root."""
        way = [ROOT_INO]
        entries: list[tuple[int, bytes]] = []
        remembered = False
        parts = path.parts
        last = len(parts) - 1
        for number, name in enumerate(parts):
            if name == b"..":
                if len(way) > 1:
                    way.pop()
                    entries.pop()
            elif number == last:
                group = home_group(way[-1])
                return Place(way[-1], name, remembered, group, tuple(entries))
            else:
                ino = self._remembered(way[-1], name) if remember else None
                if ino is None:
                    found = await self.lookup(intent, way[-1], name)
                    if found.type != FileType.DIRECTORY:
                        raise error(errno.ENOTDIR, intent.operation, intent.path)
                    ino = found.ino
                else:
                    remembered = True
                entries.append((way[-1], name))
                way.append(ino)
        return Place(way[-1], b"", remembered, home_group(way[-1]), tuple(entries))

    def _remembered(self, parent: int, name: bytes) -> int | None:
        found = self._entries.get((parent, name))
        if found is None or found[1] < self._loop.time():
            return None
        return found[0]
