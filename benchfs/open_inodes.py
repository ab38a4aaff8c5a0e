"""Files opened by inode number: one open file for each inode, however many handles there are.

All handles of an inode share what is written behind, the size, and a failed write: what one
handle wrote the others read at once, as on a local file system. With each inode goes the change
counter up to which a cache outside (a kernel's pages) knows the content: it moves on with this
client's own changes, and stands still when somebody else changes the file.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable

from lru import LRU

from benchfs.cluster import Capabilities, Cluster
from benchfs.env import Env
from benchfs.errors import BenchFSError, error
from benchfs.file import AsyncFile, Mode, parse_mode
from benchfs.inode import FileType, home_group
from benchfs.inode_handle import InodeHandle
from benchfs.rpc.messages import AccessReply, Attributes, CheckAccess

KNOWN_MOST = 65_536  # closed files of which it is remembered what the cache outside knows
BOTH = parse_mode("r+b")

OpenFile = Callable[[Attributes, Mode, str, Capabilities | None], AsyncFile]


class OpenInode:
    """An inode that is open, perhaps several times."""

    def __init__(self, file: AsyncFile) -> None:
        self.file = file
        self.handles = 0
        self.cached = False  # whether at the last opening a cache outside knew the content

    @property
    def inode(self) -> InodeHandle:
        """The inode, with attributes as last seen."""
        return self.file.inode

    def is_unused(self) -> bool:
        """Whether no handle is left."""
        return not self.handles

    @property
    def ino(self) -> int:
        """Its number."""
        return self.file.inode.ino


class OpenInodes:
    """The files of one client that were opened by number. `open_file` makes an AsyncFile."""

    def __init__(self, cluster: Cluster, open_file: OpenFile, timeout: float, env: Env) -> None:
        self._cluster = cluster
        self._open_file = open_file
        self._timeout = timeout
        self._env = env
        self._open: dict[int, OpenInode] = {}
        self._known: LRU[int, int] = LRU(KNOWN_MOST)  # closed ones: ino -> known change

    def random_group(self) -> int:
        """Where a new file begins, so that first chunks are spread over all nodes."""
        return self._env.rng.randrange(self._cluster.map.group_count)

    async def open(self, ino: int, wanted: int) -> OpenInode:
        """Open for `wanted`: READ, WRITE or both. `release` it. ENOENT, EACCES."""
        intent = self._cluster.intent("open", f"inode {ino:#x}", self._timeout)
        answer = await self._cluster.call(intent, home_group(ino), CheckAccess(ino, wanted))
        reply = answer.message
        assert isinstance(reply, AccessReply)
        if reply.attributes.type != FileType.FILE:
            raise error(errno.EINVAL, intent.operation, intent.path, text="it is no file")
        return self.adopt(reply.attributes, reply.capability)

    def adopt(self, attributes: Attributes, capability: bytes) -> OpenInode:
        """A handle of a file that was just opened on its node. `release` it."""
        ino = attributes.ino
        held = self._cluster.hold_capability(ino, capability)
        opened = self._open.get(ino)
        if opened is None:
            file = self._open_file(attributes, BOTH, f"inode {ino:#x}", held)
            opened = self._open[ino] = OpenInode(file)
            opened.cached = self._known.get(ino) == attributes.change
        else:
            opened.cached = opened.inode.own_change == attributes.change
            opened.inode.own_change = attributes.change
            self.learn(attributes)
        opened.handles += 1
        return opened

    async def release(self, opened: OpenInode) -> None:
        """Give a handle back. The last one writes what is left, and raises what failed."""
        opened.handles -= 1
        if not opened.is_unused():
            return
        try:
            await opened.file.flush()
        finally:  # unless it was opened again meanwhile, or has been closed
            if opened.is_unused() and self._open.get(opened.ino) is opened:
                del self._open[opened.ino]
                self._known[opened.ino] = opened.inode.own_change
                await opened.file.close()

    def find(self, ino: int) -> OpenInode | None:
        """The inode if it is open."""
        return self._open.get(ino)

    async def write_out(self, ino: int) -> bool:
        """Have what was written known to the inode; tells whether there was something.

        A failure of it stays with the file, whose next write, fsync and close raise it.
        """
        opened = self._open.get(ino)
        if opened is None or not opened.file.holds_back(ino):
            return False
        with contextlib.suppress(BenchFSError):
            await opened.file.flush()
        return True

    def learn(self, attributes: Attributes) -> None:
        """These are the attributes of an inode that may be open."""
        opened = self._open.get(attributes.ino)
        if opened is not None and attributes.change >= opened.inode.attributes.change:
            opened.inode.learn(attributes)

    def cut(self, attributes: Attributes) -> None:
        """A closed file's size was set by this client: the cache outside knows."""
        if self._known.get(attributes.ino) == attributes.change - 1:
            self._known[attributes.ino] = attributes.change
