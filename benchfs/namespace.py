"""Names, as a client walks them: paths to inodes, one look-up a name, directories remembered.

Which directory or symbolic link a name leads to is believed for `entry_seconds`; that there is no
such name is never believed. When an operation below a remembered directory finds nothing, the path
is walked once more without memory, so a directory that was replaced is found. What a symbolic link
says never changes, and is remembered by its inode.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from lru import LRU

from benchfs.cluster import Cluster, Intent
from benchfs.errors import BenchFSError, error
from benchfs.inode import ROOT_INO, FileType, home_group
from benchfs.paths import MAX_NAME, ParsedPath, parse
from benchfs.rpc.messages import (
    Attributes,
    AttributesReply,
    GetAttributes,
    Lookup,
    LookupReply,
    ReadLink,
    ReadLinkReply,
)

ENTRIES_MOST = 65_536
TARGETS_MOST = 4096
LINKS_MOST = 40  # followed in one path, as on Linux
Result = TypeVar("Result")

_ASTRAY = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class Place(NamedTuple):
    """Where a path's last name is."""

    parent: int
    name: bytes  # empty: the path is the directory `parent` itself
    directory: bool  # the path ended in "/": what is here has to be a directory


class FoundLinkError(Exception):
    """Raised inside `Names.at` by an action that found a symbolic link and wants to follow it."""

    def __init__(self, ino: int) -> None:
        super().__init__(ino)
        self.ino = ino


class _Remembered(NamedTuple):
    ino: int
    type: int
    until: float  # loop time


class _Walk:
    """How far a path has been walked. `rest` is reversed: its last item is the next name."""

    __slots__ = ("directory", "links", "remember", "remembered", "rest", "way")

    def __init__(self, path: ParsedPath, *, remember: bool) -> None:
        self.way = [ROOT_INO]
        self.rest = _steps(path)
        self.directory = path.directory
        self.links = 0
        self.remember = remember
        self.remembered = False  # whether memory led any step of the way


class Names:
    """Look-ups of one client."""

    def __init__(self, cluster: Cluster, entry_seconds: float) -> None:
        self._cluster = cluster
        self._entry_seconds = entry_seconds
        self._loop = asyncio.get_running_loop()
        # (parent, name) of a directory or symbolic link
        self._entries: LRU[tuple[int, bytes], _Remembered] = LRU(ENTRIES_MOST)
        self._targets: LRU[int, bytes] = LRU(TARGETS_MOST)

    async def at(
        self,
        intent: Intent,
        path: ParsedPath,
        act: Callable[[Place], Awaitable[Result]],
    ) -> Result:
        """Walk to the path's last name and `act` there; once more if memory led astray.

        Symbolic links on the way are followed, 40 at the most (ELOOP). What the last name stands
        for is the action's to find out: it raises FoundLinkError to be called again where a link
        leads.
        """
        walk = _Walk(path, remember=True)
        try:
            return await self._act(intent, walk, act)
        except BenchFSError as exc:
            if not walk.remembered or exc.errno not in _ASTRAY:
                raise
        return await self._act(intent, _Walk(path, remember=False), act)

    async def attributes(self, intent: Intent, place: Place, *, follow: bool = True) -> Attributes:
        """The attributes of what is at a place, for actions of `at`. ENOENT, ENOTDIR.

        A symbolic link is followed if `follow`, or if the path says that it is a directory.
        """
        if not place.name:
            return await self.of_inode(intent, place.parent)
        found = await self.lookup(intent, place.parent, place.name)
        if found.type == FileType.SYMLINK and (follow or place.directory):
            raise FoundLinkError(found.ino)
        if place.directory and found.type != FileType.DIRECTORY:
            raise error(errno.ENOTDIR, intent.operation, intent.path)
        return found.attributes or await self.of_inode(intent, found.ino)

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
        if found.type in {FileType.DIRECTORY, FileType.SYMLINK}:
            self.learn(parent, name, found.ino, found.type)
        return found

    async def target(self, intent: Intent, ino: int) -> bytes:
        """What a symbolic link says. ENOENT; EINVAL if it is none."""
        found = self._targets.get(ino)
        if found is None:
            answer = await self._cluster.call(intent, home_group(ino), ReadLink(ino))
            assert isinstance(answer.message, ReadLinkReply)
            found = self._targets[ino] = answer.message.target
        return found

    def learn(
        self, parent: int, name: bytes, ino: int, file_type: int = FileType.DIRECTORY
    ) -> None:
        """Remember a directory or a symbolic link."""
        if self._entry_seconds > 0:
            until = self._loop.time() + self._entry_seconds
            self._entries[parent, name] = _Remembered(ino, file_type, until)

    def forget(self, parent: int, name: bytes) -> None:
        """This client changed the entry."""
        self._entries.pop((parent, name), None)

    # ------------------------------------------------------------ walking

    async def _act(
        self, intent: Intent, walk: _Walk, act: Callable[[Place], Awaitable[Result]]
    ) -> Result:
        while True:
            place = await self._to_last_name(intent, walk)
            try:
                return await act(place)
            except FoundLinkError as link:
                await self._follow(intent, walk, link.ino)

    async def _to_last_name(self, intent: Intent, walk: _Walk) -> Place:
        """Directories one by one; `..` goes back the way that was come, and stays at the root."""
        way, rest = walk.way, walk.rest
        while rest:
            name = rest.pop()
            if name == b".":
                continue
            if name == b"..":
                if len(way) > 1:
                    way.pop()
                continue
            if len(name) > MAX_NAME:
                text = f"name of {len(name)} bytes, limit {MAX_NAME}"
                raise error(errno.ENAMETOOLONG, intent.operation, intent.path, text=text)
            if not rest:
                return Place(way[-1], name, walk.directory)
            ino, file_type = await self._step(intent, walk, name)
            if file_type == FileType.DIRECTORY:
                way.append(ino)
            elif file_type == FileType.SYMLINK:
                await self._follow(intent, walk, ino)
            else:
                raise error(errno.ENOTDIR, intent.operation, intent.path)
        return Place(way[-1], b"", directory=True)

    async def _step(self, intent: Intent, walk: _Walk, name: bytes) -> tuple[int, int]:
        parent = walk.way[-1]
        known = self._entries.get((parent, name)) if walk.remember else None
        if known is not None and known.until >= self._loop.time():
            walk.remembered = True
            return known.ino, known.type
        found = await self.lookup(intent, parent, name)
        return found.ino, found.type

    async def _follow(self, intent: Intent, walk: _Walk, ino: int) -> None:
        """Go on where a symbolic link in the directory last come to says."""
        walk.links += 1
        if walk.links > LINKS_MOST:
            text = f"more than {LINKS_MOST} symbolic links"
            raise error(errno.ELOOP, intent.operation, intent.path, text=text)
        target = await self.target(intent, ino)
        path = parse(target, intent.operation)
        if target.startswith(b"/"):
            walk.way[:] = [ROOT_INO]
        if not walk.rest:
            walk.directory |= path.directory
        walk.rest.extend(_steps(path))


def _steps(path: ParsedPath) -> list[bytes]:
    """The names to walk along, the first one last; a final "." makes what is before it a step."""
    return [*((b".",) if path.dot else ()), *reversed(path.parts)]
