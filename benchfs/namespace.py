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
from benchfs.inode import ROOT_INO, FileType, home_group, shard_group, shard_of
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
    group: int  # that keeps this name; the directory's home if there is none
    way: tuple[tuple[int, bytes], ...] = ()  # the entries that led to the directory


class Directory(NamedTuple):
    """Where names in a directory are to be asked for."""

    ino: int
    fanout: int

    def group_of(self, name: bytes, group_count: int) -> int:
        """The group that keeps the entry `name`."""
        if self.fanout <= 1:
            return home_group(self.ino)
        return shard_group(self.ino, shard_of(name, self.fanout), group_count)


ROOT = Directory(ROOT_INO, 1)


class Names:
    """Look-ups of one client."""

    def __init__(self, cluster: Cluster, entry_seconds: float) -> None:
        self._cluster = cluster
        self._entry_seconds = entry_seconds
        self._loop = asyncio.get_running_loop()
        # (parent, name) of a directory -> (what is known of it, good until)
        self._entries: LRU[tuple[int, bytes], tuple[Directory, float]] = LRU(ENTRIES_MOST)

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
        found = await self.lookup(intent, place.parent, place.name, place.group)
        return found.attributes or await self.resolve(intent, place, found.ino)

    async def resolve(self, intent: Intent, place: Place, ino: int) -> Attributes:
        """The attributes of the entry at a place that was found to be `ino`, at home elsewhere.

        Something else may be renamed over it before they are asked for: then those of that.
        """
        while True:
            try:
                return await self.of_inode(intent, ino)
            except NotFoundError:
                found = await self.lookup(intent, place.parent, place.name, place.group)
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

    async def lookup(
        self, intent: Intent, parent: int, name: bytes, group: int | None = None
    ) -> LookupReply:
        """One entry, in a `group` (None: of a directory that is not wide). ENOENT, ENOTDIR."""
        where = home_group(parent) if group is None else group
        answer = await self._cluster.call(intent, where, Lookup(parent, name))
        found = answer.message
        assert isinstance(found, LookupReply)
        if found.type == FileType.DIRECTORY:
            self.learn(parent, name, found.ino, found.fanout)
        return found

    def learn(self, parent: int, name: bytes, ino: int, fanout: int) -> None:
        """Remember a directory."""
        if self._entry_seconds > 0:
            until = self._loop.time() + self._entry_seconds
            self._entries[parent, name] = (Directory(ino, fanout), until)

    def forget(self, parent: int, name: bytes) -> None:
        """This client changed the entry."""
        self._entries.pop((parent, name), None)

    async def _walk(self, intent: Intent, path: ParsedPath, *, remember: bool) -> Place:
        """Directories one by one; `..` goes back the way that was come, and stays at the root."""
        way = [ROOT]
        groups = self._cluster.map.group_count
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
                group = way[-1].group_of(name, groups)
                return Place(way[-1].ino, name, remembered, group, tuple(entries))
            else:
                parent = way[-1]
                directory = self._remembered(parent.ino, name) if remember else None
                if directory is None:
                    group = parent.group_of(name, groups)
                    found = await self.lookup(intent, parent.ino, name, group)
                    if found.type != FileType.DIRECTORY:
                        raise error(errno.ENOTDIR, intent.operation, intent.path)
                    directory = Directory(found.ino, found.fanout)
                else:
                    remembered = True
                entries.append((parent.ino, name))
                way.append(directory)
        ino = way[-1].ino
        return Place(ino, b"", remembered, home_group(ino), tuple(entries))

    def _remembered(self, parent: int, name: bytes) -> Directory | None:
        found = self._entries.get((parent, name))
        if found is None or found[1] < self._loop.time():
            return None
        return found[0]
