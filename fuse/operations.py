"""A mount's operations: each request of the kernel as a call of the client library, no more.

The kernel checks permissions (`default_permissions`) for all users of the mount and caches names,
attributes and pages for as long as it is told; what a call means is said in `benchfs/by_inode.py`.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import stat
from collections.abc import Sequence

import pyfuse3
from pyfuse3 import EntryAttributes, FileHandleT, FileInfo, FileNameT, FlagT, InodeT, ModeT

from benchfs.client import AsyncClient
from benchfs.fuse.ahead import Ahead
from benchfs.fuse.believed import Directories
from benchfs.fuse.directories import OpenDirectory
from benchfs.fuse.known import Known
from benchfs.fuse.opening import Handle, How, how
from benchfs.fuse.replies import answered, answered_of_inode, entry_of, space_of
from benchfs.inode import FileType
from benchfs.open_inodes import OpenInode
from benchfs.rpc.messages import Attributes, RenameHow
from benchfs.user import User

MOST_READ_BYTES = 1024 * 1024
_SPECIAL = {stat.S_IFIFO: FileType.FIFO, stat.S_IFSOCK: FileType.SOCKET}
_HOW = {
    0: RenameHow.REPLACE,
    pyfuse3.RENAME_NOREPLACE: RenameHow.KEEP,
    pyfuse3.RENAME_EXCHANGE: RenameHow.EXCHANGE,
}
_USER_XATTRS = b"user."
DOTS = (b".", b"..")
_NOTHING = EntryAttributes()  # inode 0, believed for no time: as ENOENT, without an exception
_NOTHING.entry_timeout = _NOTHING.attr_timeout = 0


class Operations(pyfuse3.Operations):
    """The operations of one mount. `seconds`: how long the kernel believes names and attributes.

    `writeback`: the kernel gathers writes, and reads to fill pages also of what is only written.
    """

    supports_dot_lookup = False

    def __init__(self, client: AsyncClient, seconds: float, *, writeback: bool = False) -> None:
        super().__init__()
        self.enable_writeback_cache = writeback
        self._client = client
        self._inodes = client.by_inode
        self._inodes.use_no_paths()
        self._seconds = seconds
        self._writeback = writeback
        clock = asyncio.get_running_loop().time
        self._known = Known(self._inodes.timeout)
        self._believed = Directories(seconds, clock)
        self._ahead = Ahead(self._inodes.entries, seconds, clock)
        self._handles = map(FileHandleT, itertools.count(1))
        self._files: dict[int, Handle] = {}
        self._directories: dict[int, OpenDirectory] = {}
        self._buffers: list[bytearray] = []

    async def close(self) -> None:
        """Write what is left of files that were not released. Raises the first failure."""
        await self._ahead.close()
        failure: OSError | None = None
        handles, self._files = self._files, {}
        for handle in handles.values():
            try:
                await self._inodes.files.release(handle.opened)
            except OSError as exc:
                failure = failure or exc
        if failure is not None:
            raise failure

    # ------------------------------------------------------------ inodes

    @answered
    async def lookup(
        self, parent_inode: InodeT, name: FileNameT, ctx: pyfuse3.RequestContext
    ) -> EntryAttributes:
        if self._inodes.is_absent(parent_inode, name):
            return _NOTHING
        believed = self._ahead.take(parent_inode, name)
        if believed is None:
            asked = self._believed.ask()
            attributes = await self._inodes.find(parent_inode, name)
            if attributes is None:
                return _NOTHING
            self._ahead.looked_up(parent_inode, name)
            self._believed.learn(attributes, asked)
            return self._entry(attributes)
        self._known.looked_up(believed.attributes)
        return entry_of(*believed)

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        for ino in self._known.forget(inode_list):
            self._inodes.forget(ino)

    @answered_of_inode
    async def getattr(self, inode: InodeT, ctx: pyfuse3.RequestContext) -> EntryAttributes:
        believed = self._believed.find(inode)
        if believed is not None:
            return entry_of(*believed)
        asked = self._believed.ask()
        attributes = await self._inodes.attributes(inode)
        self._believed.learn(attributes, asked)
        opened = self._inodes.files.find(inode)
        if opened is not None:
            await self._known.drop_old_pages(opened, attributes)
        self._known.told(attributes)
        return entry_of(attributes, self._seconds)

    @answered_of_inode
    async def setattr(
        self,
        inode: InodeT,
        attr: EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: FileHandleT | None,
        ctx: pyfuse3.RequestContext,
    ) -> EntryAttributes:
        found: Attributes | None = None
        if fields.update_size:
            found = await self._inodes.truncate(inode, attr.st_size)
        change = {
            "mode": stat.S_IMODE(attr.st_mode) if fields.update_mode else None,
            "uid": attr.st_uid if fields.update_uid else None,
            "gid": attr.st_gid if fields.update_gid else None,
            "atime_ns": attr.st_atime_ns if fields.update_atime else None,
            "mtime_ns": attr.st_mtime_ns if fields.update_mtime else None,
        }
        if found is None or any(value is not None for value in change.values()):
            found = await self._inodes.set_attributes(inode, **change)
        self._changed(inode)
        self._known.told(found)
        return entry_of(found, self._seconds)

    @answered_of_inode
    async def readlink(self, inode: InodeT, ctx: pyfuse3.RequestContext) -> FileNameT:
        return await self._inodes.read_link(inode)

    @answered
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        return space_of(await self._client.statvfs())

    # ------------------------------------------------------------ names

    @answered
    async def mknod(
        self,
        parent_inode: InodeT,
        name: FileNameT,
        mode: ModeT,
        rdev: int,
        ctx: pyfuse3.RequestContext,
    ) -> EntryAttributes:
        bits, kind = stat.S_IMODE(mode), stat.S_IFMT(mode)
        if kind == stat.S_IFREG:
            made = await self._inodes.make_file(parent_inode, name, bits, _owner(ctx))
        elif kind in _SPECIAL:
            made = await self._inodes.make_special(
                parent_inode, name, _SPECIAL[kind], bits, _owner(ctx)
            )
        else:
            raise pyfuse3.FUSEError(errno.EPERM)  # devices
        return self._made(parent_inode, made)

    @answered
    async def mkdir(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, ctx: pyfuse3.RequestContext
    ) -> EntryAttributes:
        bits = stat.S_IMODE(mode)
        made = await self._inodes.make_directory(parent_inode, name, bits, _owner(ctx))
        return self._made(parent_inode, made)

    @answered
    async def symlink(
        self,
        parent_inode: InodeT,
        name: FileNameT,
        target: FileNameT,
        ctx: pyfuse3.RequestContext,
    ) -> EntryAttributes:
        made = await self._inodes.make_symlink(parent_inode, name, target, _owner(ctx))
        return self._made(parent_inode, made)

    @answered
    async def link(
        self,
        inode: InodeT,
        new_parent_inode: InodeT,
        new_name: FileNameT,
        ctx: pyfuse3.RequestContext,
    ) -> EntryAttributes:
        linked = await self._inodes.link(inode, new_parent_inode, new_name)
        self._changed(inode)
        return self._made(new_parent_inode, linked)

    @answered
    async def unlink(
        self, parent_inode: InodeT, name: FileNameT, ctx: pyfuse3.RequestContext
    ) -> None:
        time_ns = await self._inodes.unlink(parent_inode, name)
        self._believed.file_was_removed(parent_inode, time_ns)
        self._ahead.changed(parent_inode)
        self._ahead.name_changed(parent_inode, name)

    @answered
    async def rmdir(
        self, parent_inode: InodeT, name: FileNameT, ctx: pyfuse3.RequestContext
    ) -> None:
        await self._inodes.remove_directory(parent_inode, name)
        self._name_changed(parent_inode, name)

    @answered
    async def rename(  # noqa: PLR0917 (the kernel's request)
        self,
        parent_inode_old: InodeT,
        name_old: FileNameT,
        parent_inode_new: InodeT,
        name_new: FileNameT,
        flags: FlagT,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        if flags not in _HOW:
            raise pyfuse3.FUSEError(errno.EINVAL)
        await self._inodes.rename(
            parent_inode_old, name_old, parent_inode_new, name_new, _HOW[flags]
        )
        self._name_changed(parent_inode_old, name_old)
        self._name_changed(parent_inode_new, name_new)
        self._believed.forget_all()  # what was moved may be a directory

    # ------------------------------------------------------------ files

    @answered
    async def create(
        self,
        parent_inode: InodeT,
        name: FileNameT,
        mode: ModeT,
        flags: FlagT,
        ctx: pyfuse3.RequestContext,
    ) -> tuple[FileInfo, EntryAttributes]:
        way = how(flags, writeback=self._writeback)
        opened = await self._inodes.create(
            parent_inode,
            name,
            stat.S_IMODE(mode),
            _owner(ctx),
            exclusive=bool(flags & os.O_EXCL),
            append=way.appends,
        )
        self._believed.file_was_made(parent_inode, opened.inode.attributes)
        self._ahead.changed(parent_inode)
        info = await self._opened(opened, way)
        return info, self._entry(opened.inode.attributes)

    @answered_of_inode
    async def open(self, inode: InodeT, flags: FlagT, ctx: pyfuse3.RequestContext) -> FileInfo:
        way = how(flags, writeback=self._writeback)
        opened = await self._inodes.files.open(inode, way.wanted, append=way.appends)
        self._known.opened(opened)
        return await self._opened(opened, way)

    @answered
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        # The reply is sent before anything else runs, so the buffer can go back before it.
        buffer = self._buffers.pop() if self._buffers else bytearray(max(size, MOST_READ_BYTES))
        view = memoryview(buffer)[:size]
        count = await self._files[fh].opened.read_into(view, off)
        self._buffers.append(buffer)
        return view[:count]  # type: ignore[return-value]  # any buffer will do

    @answered
    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        handle = self._files[fh]
        self._ahead.changed(handle.opened.ino)
        if handle.appends:
            return await handle.opened.append(buf)
        if handle.opened.gather(buf, off):
            return len(buf)
        return await handle.opened.write(buf, off)

    @answered
    async def flush(self, fh: FileHandleT) -> None:
        handle = self._files[fh]
        if handle.writes:
            await handle.opened.flush()
            self._ahead.changed(handle.opened.ino)

    @answered
    async def release(self, fh: FileHandleT) -> None:
        await self._inodes.files.release(self._files.pop(fh).opened)

    @answered
    async def fsync(self, fh: FileHandleT, datasync: bool) -> None:
        await self._files[fh].opened.fsync()

    # ------------------------------------------------------------ directories

    @answered
    async def opendir(self, inode: InodeT, ctx: pyfuse3.RequestContext) -> FileHandleT:
        handle = next(self._handles)
        self._directories[handle] = OpenDirectory(self._inodes, inode)
        return handle

    @answered
    async def readdir(self, fh: FileHandleT, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        directory, cookie = self._directories[fh], start_id
        while cookie < len(DOTS):
            entry = entry_of(await directory.above(cookie), self._seconds)
            if not pyfuse3.readdir_reply(token, DOTS[cookie], entry, cookie + 1):
                return
            cookie += 1  # these do not count as look-ups
        while (found := await directory.next(cookie - len(DOTS))) is not None:
            name, attributes = found
            entry = entry_of(attributes, self._seconds)
            if not pyfuse3.readdir_reply(token, name, entry, cookie + 1):
                return
            self._known.looked_up(attributes)
            cookie = len(DOTS) + directory.taken()

    @answered
    async def releasedir(self, fh: FileHandleT) -> None:
        del self._directories[fh]

    @answered
    async def fsyncdir(self, fh: FileHandleT, datasync: bool) -> None:
        """Names are as durable as the mode promises when their change is answered."""

    # ------------------------------------------------------------ extended attributes

    @answered_of_inode
    async def getxattr(
        self, inode: InodeT, name: pyfuse3.XAttrNameT, ctx: pyfuse3.RequestContext
    ) -> bytes:
        if not name.startswith(_USER_XATTRS):  # asked for before each write: no call for it
            raise pyfuse3.FUSEError(errno.ENODATA)
        return await self._inodes.get_xattr(inode, name)

    @answered_of_inode
    async def setxattr(
        self,
        inode: InodeT,
        name: pyfuse3.XAttrNameT,
        value: bytes,
        ctx: pyfuse3.RequestContext,
    ) -> None:
        await self._inodes.set_xattr(inode, name, value)
        self._changed(inode)

    @answered_of_inode
    async def listxattr(
        self, inode: InodeT, ctx: pyfuse3.RequestContext
    ) -> Sequence[pyfuse3.XAttrNameT]:
        return await self._inodes.list_xattrs(inode)

    @answered_of_inode
    async def removexattr(
        self, inode: InodeT, name: pyfuse3.XAttrNameT, ctx: pyfuse3.RequestContext
    ) -> None:
        await self._inodes.remove_xattr(inode, name)
        self._changed(inode)

    # ------------------------------------------------------------ inside

    def _entry(self, attributes: Attributes) -> EntryAttributes:
        """A reply that makes the kernel know the inode, until it forgets it."""
        self._known.looked_up(attributes)
        return entry_of(attributes, self._seconds)

    def _made(self, directory: int, attributes: Attributes) -> EntryAttributes:
        """A reply to what made a name."""
        self._changed(directory)
        return self._entry(attributes)

    def _changed(self, ino: int) -> None:
        """This mount changed an inode."""
        self._believed.forget(ino)
        self._ahead.changed(ino)

    def _name_changed(self, directory: int, name: bytes) -> None:
        """This mount had a name removed, or stand for something else."""
        self._changed(directory)
        self._ahead.name_changed(directory, name)

    async def _opened(self, opened: OpenInode, way: How) -> FileInfo:
        cached = opened.cached
        if way.truncates and not opened.created:  # what is new is empty
            try:
                await opened.truncate(0)
                self._ahead.changed(opened.ino)
            except BaseException:
                await self._inodes.files.release(opened)
                raise
        handle = next(self._handles)
        self._files[handle] = Handle(opened, way)
        direct = way.goes_past_pages(opened.inode.attributes.mode)
        return FileInfo(fh=handle, keep_cache=cached, direct_io=direct)


def _owner(ctx: pyfuse3.RequestContext) -> User:
    return User(ctx.uid, ctx.gid)
