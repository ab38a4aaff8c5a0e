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
from benchfs.errors import BenchFSError, NotFoundError, error
from benchfs.inode import EXECUTE, ROOT_INO, FileType, home_group, shard_group, shard_of
from benchfs.paths import MAX_NAME, ParsedPath, parse
from benchfs.rpc.messages import (
    Attributes,
    AttributesReply,
    CheckAccess,
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

_ASTRAY = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})


class Place(NamedTuple):
    """Where a path's last name is."""

    parent: int
    name: bytes  # empty: the path is the directory `parent` itself
    directory: bool  # the path ended in "/": what is here has to be a directory
    group: int  # that keeps this name; the directory's home if there is none
    way: tuple[tuple[int, bytes], ...]  # the entries that led to the directory


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


class FoundLinkError(Exception):
    """Raised inside `Names.at` by an action that found a symbolic link and wants to follow it."""

    def __init__(self, ino: int) -> None:
        super().__init__(ino)
        self.ino = ino


class _Remembered(NamedTuple):
    ino: int
    type: int
    fanout: int
    until: float  # loop time


class _Walk:
    """How far a path has been walked. `rest` is reversed: its last item is the next name."""

    __slots__ = (
        "creates",
        "directory",
        "entries",
        "links",
        "remember",
        "remembered",
        "rest",
        "way",
    )

    def __init__(self, path: ParsedPath, *, creates: bool, remember: bool) -> None:
        self.way = [ROOT]
        self.entries: list[tuple[int, bytes]] = []  # that led to them, but for the root
        self.rest = _steps(path)
        self.directory = path.directory
        self.links = 0
        self.creates = creates
        self.remember = remember
        self.remembered = False  # whether memory led any step of the way

    def enter(self, name: bytes, directory: Directory) -> None:
        """Go on in a directory, which is below the last one."""
        self.entries.append((self.way[-1].ino, name))
        self.way.append(directory)

    def leave(self) -> None:
        """Go back to where the last directory was found; from the root, to the root."""
        if self.entries:
            self.entries.pop()
            self.way.pop()


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
        *,
        creates: bool = False,
    ) -> Result:
        """Walk to the path's last name and `act` there; once more if memory led astray.

        Symbolic links on the way are followed, 40 at the most (ELOOP). What the last name stands
        for is the action's to find out: it raises FoundLinkError to be called again where a link
        leads. `creates`: a file may be made, so that a slash at the end is EISDIR first of all.
        """
        walk = _Walk(path, creates=creates, remember=True)
        try:
            return await self._act(intent, walk, act)
        except BenchFSError as exc:
            if not walk.remembered or exc.errno not in _ASTRAY:
                raise
        return await self._act(intent, _Walk(path, creates=creates, remember=False), act)

    async def attributes(self, intent: Intent, place: Place, *, follow: bool = True) -> Attributes:
        """The attributes of what is at a place, for actions of `at`. ENOENT, ENOTDIR.

        A symbolic link is followed if `follow`, or if the path says that it is a directory.
        """
        if not place.name:
            return await self.of_inode(intent, place.parent)
        gone = 0
        while True:
            found = await self.lookup(intent, place.parent, place.name, place.group)
            if found.type == FileType.SYMLINK and (follow or place.directory):
                raise FoundLinkError(found.ino)
            if place.directory and found.type != FileType.DIRECTORY:
                raise error(errno.ENOTDIR, intent.operation, intent.path)
            if found.attributes is not None:
                return found.attributes
            try:
                return await self.of_inode(intent, found.ino)
            except NotFoundError:  # something else was renamed over it meanwhile, or it is lost
                if found.ino == gone:
                    raise
                gone = found.ino

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
        found = await self.find(intent, parent, name, where)
        if found is None:
            node = self._cluster.map.primary(where)
            raise error(errno.ENOENT, intent.operation, intent.path, node)
        return found

    async def find(
        self, intent: Intent, parent: int, name: bytes, group: int
    ) -> LookupReply | None:
        """One entry, None if there is none of this name. ENOENT for the directory; ENOTDIR."""
        answer = await self._cluster.call(intent, group, Lookup(parent, name))
        found = answer.message
        assert isinstance(found, LookupReply)
        if found.type in {FileType.DIRECTORY, FileType.SYMLINK}:
            self.learn(parent, name, found.ino, found.fanout, found.type)
        return found if found.ino else None

    async def target(self, intent: Intent, ino: int) -> bytes:
        """What a symbolic link says. ENOENT; EINVAL if it is none."""
        found = self._targets.get(ino)
        if found is None:
            answer = await self._cluster.call(intent, home_group(ino), ReadLink(ino))
            assert isinstance(answer.message, ReadLinkReply)
            found = self._targets[ino] = answer.message.target
        return found

    def learn(
        self, parent: int, name: bytes, ino: int, fanout: int, file_type: int = FileType.DIRECTORY
    ) -> None:
        """Remember a directory or a symbolic link."""
        if self._entry_seconds > 0:
            until = self._loop.time() + self._entry_seconds
            self._entries[parent, name] = _Remembered(ino, file_type, fanout, until)

    def forget(self, parent: int, name: bytes) -> None:
        """This client changed the entry."""
        self._entries.pop((parent, name), None)

    async def require_search(self, intent: Intent, ino: int) -> None:
        """Who may not look up names in a directory is told nothing of them. EACCES."""
        await self._cluster.call(intent, home_group(ino), CheckAccess(ino, EXECUTE))

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
        groups = self._cluster.map.group_count
        while walk.rest:
            name, parent = walk.rest.pop(), walk.way[-1]
            if name == b".":
                continue
            if name == b"..":
                walk.leave()
                continue
            if len(name) > MAX_NAME:
                await self.require_search(intent, parent.ino)
                if walk.creates and walk.directory and not walk.rest:
                    raise error(errno.EISDIR, intent.operation, intent.path)
                text = f"name of {len(name)} bytes, limit {MAX_NAME}"
                raise error(errno.ENAMETOOLONG, intent.operation, intent.path, text=text)
            group = parent.group_of(name, groups)
            if not walk.rest:
                return Place(parent.ino, name, walk.directory, group, tuple(walk.entries))
            ino, file_type, fanout = await self._step(intent, walk, name, group)
            if file_type == FileType.DIRECTORY:
                walk.enter(name, Directory(ino, fanout))
            elif file_type == FileType.SYMLINK:
                await self._follow(intent, walk, ino)
            else:
                raise error(errno.ENOTDIR, intent.operation, intent.path)
        ino = walk.way[-1].ino
        return Place(ino, b"", True, home_group(ino), tuple(walk.entries))

    async def _step(
        self, intent: Intent, walk: _Walk, name: bytes, group: int
    ) -> tuple[int, int, int]:
        """(inode, type, fanout) of a name in the directory last come to."""
        parent = walk.way[-1].ino
        known = self._entries.get((parent, name)) if walk.remember else None
        if known is not None and known.until >= self._loop.time():
            walk.remembered = True
            return known.ino, known.type, known.fanout
        found = await self.lookup(intent, parent, name, group)
        return found.ino, found.type, found.fanout

    async def _follow(self, intent: Intent, walk: _Walk, ino: int) -> None:
        """Go on where a symbolic link in the directory last come to says."""
        walk.links += 1
        if walk.links > LINKS_MOST:
            text = f"more than {LINKS_MOST} symbolic links"
            raise error(errno.ELOOP, intent.operation, intent.path, text=text)
        try:
            target = await self.target(intent, ino)
        except NotFoundError:
            walk.remembered = True  # it was replaced since it was found: that may be anew
            raise
        path = parse(target, intent.operation)
        if target.startswith(b"/"):
            walk.way[:] = [ROOT]
            walk.entries.clear()
        if not walk.rest:
            walk.directory |= path.directory
        walk.rest.extend(_steps(path))


def _steps(path: ParsedPath) -> list[bytes]:
    """The names to walk along, the first one last; a final "." makes what is before it a step."""
    return [*((b".",) if path.dot else ()), *reversed(path.parts)]
