"""Files opened by inode number: one open file for each inode, however many handles there are.

All handles of an inode share what is written behind, the size, and a failed write: what one
handle wrote the others read at once, as on a local file system. Handles that append share another
file, and each kind waits for the bytes of the other.

With each inode goes what a cache outside (a kernel's pages) knows of its content: the change
counter, as this client's own changes moved it. It stands still once somebody else changes the
file, so that at the next opening the cache is known to be old.
"""

from __future__ import annotations

import contextlib
import errno
from typing import Protocol

from lru import LRU

from benchfs.capabilities import Capabilities
from benchfs.cluster import Cluster
from benchfs.env import Env
from benchfs.errors import BenchFSError, error
from benchfs.file import AsyncFile
from benchfs.file_base import Mode, parse_mode
from benchfs.holds import Holds
from benchfs.inode import WRITE, FileType, home_group
from benchfs.inode_handle import InodeHandle
from benchfs.rpc.messages import AccessReply, Attributes
from benchfs.rpc.messages import OpenInode as OpenRequest

KNOWN_MOST = 65_536  # closed files of which it is remembered what the cache outside knows
PLAIN, APPENDING = parse_mode("r+b"), parse_mode("a+b")


class Opener(Protocol):
    """Makes open files: a connected client."""

    cluster: Cluster
    holds: Holds
    timeout: float

    def open_file(
        self,
        attributes: Attributes,
        mode: Mode,
        path: str,
        number: int,
        held: Capabilities | None,
        *,
        writing: bool | None = None,
    ) -> AsyncFile:
        """The file that the open `number` found."""
        ...


class OpenInode:
    """An inode that is open, perhaps several times. Made by `OpenInodes`."""

    def __init__(self, file: AsyncFile) -> None:
        self.file = file
        self.appending: AsyncFile | None = None
        self.handles = 0
        self.cached = False  # whether at the last opening a cache outside knew the content
        self.created = False  # whether the last opening made the file

    @property
    def inode(self) -> InodeHandle:
        """The inode, with attributes as last seen."""
        return self.file.inode

    @property
    def ino(self) -> int:
        """Its number."""
        return self.file.inode.ino

    async def read_into(self, view: memoryview, offset: int) -> int:
        """Fill `view` from `offset` on; returns how many bytes there were."""
        if self.appending is not None:
            await self._settle(self.appending)
        return await self.file.preadinto(view, offset)

    def gather(self, data: bytes, offset: int) -> bool:
        """As `write`, if nothing has to be waited for or refused. Tells whether so."""
        return self.appending is None and self.file.gather(data, offset)

    async def write(self, data: bytes, offset: int) -> int:
        """Write at `offset`, all of it."""
        if self.appending is not None:
            await self._settle(self.appending)
        return await self.file.pwrite(data, offset)

    async def append(self, data: bytes) -> int:
        """Write at the end, wherever that is by then. For handles opened to append."""
        assert self.appending is not None
        await self._settle(self.file)
        return await self.appending.write(data)

    async def truncate(self, size: int) -> Attributes:
        """Set the size in bytes."""
        if self.appending is not None:
            await self._settle(self.appending)
        await self.file.truncate(size)
        return self.inode.attributes

    async def flush(self) -> None:
        """Return when other clients that open the file see all that was written."""
        await self.file.flush()
        if self.appending is not None:
            await self._settle(self.appending)

    async def fsync(self) -> None:
        """As flush; and as durable as the cluster's mode promises."""
        await self.flush()
        await self.file.fsync()
        if self.appending is not None:
            await self.appending.fsync()

    async def close(self) -> None:
        """Close both files; raises what failed."""
        try:
            await self.file.close()
        finally:
            if self.appending is not None:
                await self.appending.close()

    def holds_back(self) -> bool:
        """Whether something written is not known to the inode yet."""
        if self.file.holds_back(self.ino):
            return True
        return self.appending is not None and self.appending.holds_back(self.ino)

    def learn(self, attributes: Attributes) -> None:
        """These are attributes of the inode, perhaps new ones."""
        for file in (self.file, self.appending):
            if file is not None and attributes.change >= file.inode.attributes.change:
                file.inode.learn(attributes)

    def is_unused(self) -> bool:
        """Whether no handle is left."""
        return not self.handles

    async def _settle(self, file: AsyncFile) -> None:
        if file.holds_back(self.ino):
            await file.flush()
            self.learn(file.inode.attributes)


class OpenInodes:
    """The files of one client that were opened by number."""

    def __init__(self, opener: Opener, env: Env) -> None:
        self._opener = opener
        self._cluster = opener.cluster
        self._env = env
        self._open: dict[int, OpenInode] = {}
        self._known: LRU[int, int] = LRU(KNOWN_MOST)  # closed ones: ino -> change known outside

    def random_group(self) -> int:
        """Where a new file begins, so that first chunks are spread over all nodes."""
        return self._env.rng.randrange(self._cluster.map.group_count)

    async def open(self, ino: int, wanted: int, *, append: bool = False) -> OpenInode:
        """Open for `wanted`: READ, WRITE or both. `release` it. ENOENT, EACCES."""
        path = f"inode {ino:#x}"
        holds = self._opener.holds
        number = holds.begin(path)
        try:
            intent = self._cluster.intent("open", path, self._opener.timeout)
            request = OpenRequest(ino, number, bool(wanted & WRITE), wanted)
            answer = await self._cluster.call(intent, home_group(ino), request)
            reply = answer.message
            assert isinstance(reply, AccessReply)
            if reply.attributes.type != FileType.FILE:
                raise error(errno.EINVAL, intent.operation, path, text="it is no file")
            return self.adopt(
                reply.attributes, reply.capability, number, wanted=wanted, append=append
            )
        finally:
            holds.end(number)

    def adopt(
        self,
        attributes: Attributes,
        capability: bytes,
        number: int,
        *,
        wanted: int,
        append: bool,
        created: bool = False,
    ) -> OpenInode:
        """A handle of what the open `number` found, before the open's end. `release` it."""
        opener, ino = self._opener, attributes.ino
        path, writes = f"inode {ino:#x}", bool(wanted & WRITE)
        held = self._cluster.hold_capability(ino, capability)
        opened = self._open.get(ino)
        if opened is None:
            file = opener.open_file(attributes, PLAIN, path, number, held, writing=writes)
            opened = self._open[ino] = OpenInode(file)
            opened.cached = self._known.get(ino) == attributes.change
        else:
            opener.holds.add(opened.inode, number, writes=writes)
            opened.cached = opened.inode.own_change == attributes.change
            opened.inode.own_change = attributes.change
            opened.learn(attributes)
        if append and opened.appending is None:
            opened.appending = opener.open_file(attributes, APPENDING, path, number, held)
        opened.handles += 1
        opened.created = created
        return opened

    async def release(self, opened: OpenInode) -> None:
        """Give a handle back. The last one writes what is left, and raises what failed."""
        opened.handles -= 1
        if not opened.is_unused():
            return
        try:
            await opened.flush()
        finally:  # unless it was opened again meanwhile, or has been closed
            if opened.is_unused() and self._open.get(opened.ino) is opened:
                del self._open[opened.ino]
                self._known[opened.ino] = opened.inode.own_change
                await opened.close()

    def find(self, ino: int) -> OpenInode | None:
        """The inode if it is open."""
        return self._open.get(ino)

    async def write_out(self, ino: int) -> bool:
        """Have what was written known to the inode; tells whether there was something.

        A failure of it stays with the file, whose next write, fsync and close raise it.
        """
        opened = self._open.get(ino)
        if opened is None or not opened.holds_back():
            return False
        with contextlib.suppress(BenchFSError):
            await opened.flush()
        return True

    def learn(self, attributes: Attributes) -> None:
        """These are attributes of an inode that may be open."""
        opened = self._open.get(attributes.ino)
        if opened is not None:
            opened.learn(attributes)

    def changed_here(self, attributes: Attributes) -> None:
        """This client changed a file other than by writing: the cache outside knows."""
        opened = self._open.get(attributes.ino)
        if opened is not None:
            opened.inode.learn_own(attributes)
        elif self._known.get(attributes.ino) == attributes.change - 1:
            self._known[attributes.ino] = attributes.change
