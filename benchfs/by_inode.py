"""Operations by inode number, as a kernel asks for them: (directory, name) and numbers, no paths.

The same requests as those of the methods by path, with the same errors; an error's path is
`inode 0x1/name`. Nothing is remembered but which directories are wide. New inodes get the mode as
it is given, no umask, and the owner that is given, if the client is the superuser. Open files are
in `benchfs/open_inodes.py`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from benchfs.alone import Alone
from benchfs.cluster import Cluster, Intent
from benchfs.env import since_boot
from benchfs.errors import BenchFSError, ClusterError, NotFoundError, TransportError, error
from benchfs.holds import Holds
from benchfs.inode import READ, WRITE, FileType, home_group
from benchfs.listing import Listing
from benchfs.namespace import Directory, Names
from benchfs.open_inodes import OpenInode, OpenInodes
from benchfs.paths import MAX_NAME
from benchfs.rpc.connection import Answer
from benchfs.rpc.messages import (
    Attributes,
    AttributesReply,
    EntryRecord,
    GetXattr,
    LayoutRecord,
    Link,
    ListXattrs,
    ListXattrsReply,
    MakeDirectory,
    MakeSpecial,
    MakeSymlink,
    Open,
    OpenReply,
    RemoveDirectory,
    RemoveXattr,
    Rename,
    RenameHow,
    SetAttributes,
    SetXattr,
    Truncate,
    Unlink,
    UnlinkReply,
    XattrReply,
)
from benchfs.user import User
from benchfs.xattrs import VALUE_BYTES

AS_PARENT = 0  # fanout of a new directory
TRIES = 3  # look-ups of a name that stands for something else each time


class Inodes(Protocol):
    """What of a connected client is needed here."""

    cluster: Cluster
    names: Names
    holds: Holds
    timeout: float


class ByInode:
    """Operations of one connected client."""

    def __init__(self, connected: Inodes, files: OpenInodes) -> None:
        self._connected = connected
        self._cluster = connected.cluster
        self.files = files
        self._fanouts: dict[int, int] = {}  # of wide directories
        self._alone: Alone | None = None

    def use_no_paths(self, clock: Callable[[], float] = since_boot) -> None:
        """From now on this client is used by inode number alone, which saves look-ups.

        What is made by path then could be missed by `is_absent`.
        """
        self._alone = Alone(clock)

    @property
    def timeout(self) -> float:
        """How long an operation may take, in seconds."""
        return self._connected.timeout

    # ------------------------------------------------------------ names

    async def lookup(self, parent: int, name: bytes) -> Attributes:
        """What is under a name. ENOENT, ENOTDIR."""
        found = await self.find(parent, name)
        if found is None:
            raise error(errno.ENOENT, "lookup", _path(parent, name))
        return found

    def is_absent(self, parent: int, name: bytes) -> bool:
        """Whether there surely is nothing under a name, as known without a request."""
        alone = self._alone
        return alone is not None and alone.is_absent(parent, name) and len(name) <= MAX_NAME

    async def find(self, parent: int, name: bytes) -> Attributes | None:
        """What is under a name, None if there is nothing. ENOENT for the directory; ENOTDIR."""
        intent, group = self._at("lookup", parent, name)
        for _ in range(TRIES):
            found = await self._connected.names.find(intent, parent, name, group)
            if found is None:
                return None
            attributes = found.attributes
            if attributes is None:
                try:
                    attributes = await self._connected.names.of_inode(intent, found.ino)
                except NotFoundError:  # something else was renamed over it meanwhile
                    continue
            return await self._noted(intent, attributes)
        return None

    async def make_file(self, parent: int, name: bytes, mode: int, owner: User) -> Attributes:
        """Make an empty file. EEXIST."""
        opened = await self.create(parent, name, mode, owner, exclusive=True)
        await self.files.release(opened)
        return opened.inode.attributes

    async def create(
        self,
        parent: int,
        name: bytes,
        mode: int,
        owner: User,
        *,
        exclusive: bool,
        append: bool = False,
    ) -> OpenInode:
        """Make a file, or take the one that is there if not `exclusive`; open for everything.

        Give it to `files.release` in any case. EEXIST, EISDIR.
        """
        intent, group = self._at("create", parent, name)
        wanted = READ | WRITE
        layout = LayoutRecord(self._cluster.chunk_size, self.files.random_group(), ())
        number = self._connected.holds.begin(intent.path or "")
        try:
            request = Open(
                parent,
                name,
                True,
                exclusive,
                mode,
                owner.uid,
                owner.gid,
                layout,
                wanted,
                number,
                True,
                alone=self._alone is not None and parent not in self._fanouts,
            )
            answer = await self._make_name(intent, group, request, parent, name)
            made = answer.message
            assert isinstance(made, OpenReply)
            if made.type != FileType.FILE:
                code = errno.EISDIR if made.type == FileType.DIRECTORY else errno.EEXIST
                raise error(code, intent.operation, intent.path)
            if made.attributes is None:  # a name of a file at home in another group
                return await self.files.open(made.ino, wanted, append=append)
            return self.files.adopt(
                made.attributes,
                made.capability,
                number,
                wanted=wanted,
                append=append,
                created=made.created,
            )
        finally:
            self._connected.holds.end(number)

    async def make_directory(self, parent: int, name: bytes, mode: int, owner: User) -> Attributes:
        """Make a directory. EEXIST."""
        request = MakeDirectory(parent, name, mode, owner.uid, owner.gid, AS_PARENT)
        return await self._make("mkdir", parent, name, request)

    async def make_symlink(
        self, parent: int, name: bytes, target: bytes, owner: User
    ) -> Attributes:
        """Make a symbolic link that says `target`. EEXIST."""
        request = MakeSymlink(parent, name, target, owner.uid, owner.gid)
        return await self._make("symlink", parent, name, request)

    async def make_special(
        self, parent: int, name: bytes, file_type: FileType, mode: int, owner: User
    ) -> Attributes:
        """Make a FIFO or a socket. EEXIST."""
        request = MakeSpecial(parent, name, file_type, mode, owner.uid, owner.gid)
        return await self._make("mknod", parent, name, request)

    async def link(self, ino: int, parent: int, name: bytes) -> Attributes:
        """Give an inode that is no directory one more name. EEXIST, EPERM, EMLINK."""
        await self.files.write_out(ino)  # or the attributes would lack it
        request = Link(parent, name, ino)
        return await self._make("link", parent, name, request)

    async def unlink(self, parent: int, name: bytes) -> int:
        """Remove a name of what is no directory. ENOENT, EISDIR.

        Returns the time that the directory was changed at, in ns; 0: the node did not tell.
        """
        intent, group = self._at("unlink", parent, name)
        answer = await self._cluster.mutate(intent, group, Unlink(parent, name))
        assert isinstance(answer.message, UnlinkReply)
        self._connected.names.forget(parent, name)
        return answer.message.time_ns

    async def remove_directory(self, parent: int, name: bytes) -> None:
        """Remove an empty directory. ENOENT, ENOTDIR, ENOTEMPTY."""
        intent, group = self._at("rmdir", parent, name)
        await self._cluster.mutate(intent, group, RemoveDirectory(parent, name))
        self._connected.names.forget(parent, name)

    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, how: RenameHow
    ) -> None:
        """Rename atomically. As `AsyncClient.rename`."""
        intent, group = self._at("rename", parent, name)
        _, new_group = self._at("rename", new_parent, new_name)
        request = Rename(parent, name, new_parent, new_name, new_group, how)
        await self._make_name(intent, group, request, new_parent, new_name)
        self._connected.names.forget(parent, name)
        self._connected.names.forget(new_parent, new_name)

    async def entries(
        self, ino: int, after: bytes
    ) -> AsyncIterator[tuple[EntryRecord, Attributes]]:
        """The entries of a directory whose names come after `after`, with attributes.

        What is removed during the listing is left out.
        """
        listing = Listing(
            self._cluster, ino, self._fanouts.get(ino, 1), lambda: self._intent("readdir", ino)
        )
        async for entry, page in listing.entries(after):
            attributes = await page.attributes(entry)
            try:
                if attributes is None:
                    attributes = await self.attributes(entry.ino)
            except NotFoundError:
                continue
            yield entry, await self._noted(self._intent("readdir", ino), attributes)

    def forget(self, ino: int) -> None:
        """The inode will not be asked for again unless it is looked up anew."""
        self._fanouts.pop(ino, None)
        if self._alone is not None:
            self._alone.forget(ino)

    # ------------------------------------------------------------ inodes

    async def attributes(self, ino: int) -> Attributes:
        """Attributes, with what was written through this client. ENOENT."""
        intent = self._intent("stat", ino)
        await self.files.write_out(ino)
        attributes = await self._connected.names.of_inode(intent, ino)
        self.files.learn(attributes)
        return attributes

    async def set_attributes(
        self,
        ino: int,
        *,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        atime_ns: int | None = None,
        mtime_ns: int | None = None,
    ) -> Attributes:
        """Change what is not None. EPERM, EACCES."""
        intent = self._intent("setattr", ino)
        await self.files.write_out(ino)  # or a report of it would set the time once more
        request = SetAttributes(ino, mode, uid, gid, atime_ns, mtime_ns)
        answer = await self._cluster.mutate(intent, home_group(ino), request)
        assert isinstance(answer.message, AttributesReply)
        self.files.changed_here(answer.message.attributes)
        return answer.message.attributes

    async def truncate(self, ino: int, size: int) -> Attributes:
        """Set a file's size in bytes. EACCES, EFBIG, EISDIR."""
        opened = self.files.find(ino)
        if opened is not None:
            return await opened.truncate(size)
        intent = self._intent("truncate", ino)
        answer = await self._cluster.mutate(intent, home_group(ino), Truncate(ino, size))
        assert isinstance(answer.message, AttributesReply)
        self.files.changed_here(answer.message.attributes)
        return answer.message.attributes

    async def read_link(self, ino: int) -> bytes:
        """What a symbolic link says. EINVAL if it is none."""
        return await self._connected.names.target(self._intent("readlink", ino), ino)

    async def get_xattr(self, ino: int, name: bytes) -> bytes:
        """A value. ENODATA, EOPNOTSUPP."""
        intent = self._intent("getxattr", ino)
        answer = await self._cluster.call(intent, home_group(ino), GetXattr(ino, name))
        assert isinstance(answer.message, XattrReply)
        return answer.message.value

    async def set_xattr(self, ino: int, name: bytes, value: bytes) -> None:
        """Set a value. E2BIG, ENOSPC, EPERM, EOPNOTSUPP."""
        intent = self._intent("setxattr", ino)
        if len(value) > VALUE_BYTES:
            raise error(errno.E2BIG, intent.operation, intent.path)
        await self._cluster.mutate(intent, home_group(ino), SetXattr(ino, name, value, 0))

    async def list_xattrs(self, ino: int) -> tuple[bytes, ...]:
        """The names, sorted."""
        intent = self._intent("listxattr", ino)
        answer = await self._cluster.call(intent, home_group(ino), ListXattrs(ino))
        assert isinstance(answer.message, ListXattrsReply)
        return answer.message.names

    async def remove_xattr(self, ino: int, name: bytes) -> None:
        """Remove one. ENODATA."""
        intent = self._intent("removexattr", ino)
        await self._cluster.mutate(intent, home_group(ino), RemoveXattr(ino, name))

    # ------------------------------------------------------------ inside

    def _intent(self, operation: str, ino: int, name: bytes | None = None) -> Intent:
        return self._cluster.intent(operation, _path(ino, name), self._connected.timeout)

    def _at(self, operation: str, parent: int, name: bytes) -> tuple[Intent, int]:
        """For an operation on a name: its intent, and the group to ask. ENAMETOOLONG."""
        intent = self._intent(operation, parent, name)
        if len(name) > MAX_NAME:
            raise error(errno.ENAMETOOLONG, operation, intent.path)
        directory = Directory(parent, self._fanouts.get(parent, 1))
        return intent, directory.group_of(name, self._cluster.map.group_count)

    async def _make_name(
        self, intent: Intent, group: int, request: tuple[object, ...], parent: int, name: bytes
    ) -> Answer:
        """A request that makes a name, or may."""
        alone = self._alone
        if alone is None:
            return await self._cluster.mutate(intent, group, request)
        asked = alone.clock()
        alone.begin(parent, name)
        try:
            answer = await self._cluster.mutate(intent, group, request)
            made = answer.message
            if isinstance(made, OpenReply) and made.directory is not None:
                alone.made(parent, asked, made.directory)
            return answer
        except BaseException as exc:
            if not _is_refusal(exc):
                alone.doubt(parent)
            raise
        finally:
            alone.end(parent)

    async def _make(
        self, operation: str, parent: int, name: bytes, request: tuple[object, ...]
    ) -> Attributes:
        intent, group = self._at(operation, parent, name)
        answer = await self._make_name(intent, group, request, parent, name)
        assert isinstance(answer.message, AttributesReply)
        made = answer.message.attributes
        if made.fanout > 1:
            self._fanouts[made.ino] = made.fanout
        return made

    async def _noted(self, intent: Intent, attributes: Attributes) -> Attributes:
        """The attributes, asked for again if this client holds back writes to the file."""
        ino = attributes.ino
        if attributes.fanout > 1:
            self._fanouts[ino] = attributes.fanout
        if attributes.type == FileType.FILE and await self.files.write_out(ino):
            attributes = await self._connected.names.of_inode(intent, ino)
        self.files.learn(attributes)
        return attributes


def _path(ino: int, name: bytes | None = None) -> str:
    return f"inode {ino:#x}" if name is None else f"inode {ino:#x}/{os.fsdecode(name)}"


def _is_refusal(failure: BaseException) -> bool:
    """Whether a node said that it will not do it. Else it may do it, or have done it."""
    sure = isinstance(failure, BenchFSError)
    return sure and not isinstance(failure, TransportError | ClusterError)
