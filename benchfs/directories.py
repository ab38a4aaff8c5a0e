"""A client's methods about directories: make, list, remove, alone and with all that is in them.

The names, arguments and errors are those of Python's `os`, and of `shutil` for `rmtree`.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from functools import partial
from pathlib import PurePosixPath

from benchfs.attributes import AttributeMethods
from benchfs.errors import BenchFSError, error
from benchfs.inode import FileType
from benchfs.listing import Listing
from benchfs.namespace import Place
from benchfs.naming import NameMethods
from benchfs.paths import PathLike, display, parse
from benchfs.rpc.messages import AttributesReply, MakeDirectory, RemoveDirectory
from benchfs.stats import DirEntry

WIDE_FANOUT = 64  # shards of a wide directory
AS_PARENT = 0
DIRECTORY_MODE = 0o777
MKDIR_BITS = 0o1777  # setuid and setgid are not mkdir's to give, as on Linux


class DirectoryMethods(AttributeMethods, NameMethods):
    """What `AsyncClient` can do with directories."""

    _umask: int

    async def mkdir(
        self, path: PathLike, mode: int = DIRECTORY_MODE, *, wide: bool | None = None
    ) -> None:
        """Make a directory, its mode cut by the umask. FileExistsError, FileNotFoundError.

        `wide` spreads its entries over the cluster, for one that many clients fill at once; what
        is made in a wide directory is wide too, unless `wide` is False.
        """
        fanout = AS_PARENT if wide is None else WIDE_FANOUT if wide else 1
        connected, parsed = self._use(), parse(path, "mkdir")
        intent = connected.intent("mkdir", parsed)

        async def act(place: Place) -> None:
            if not place.name:
                raise error(errno.EEXIST, "mkdir", parsed.display)
            request = MakeDirectory(
                place.parent,
                place.name,
                mode & MKDIR_BITS & ~self._umask,
                self.user.uid,
                self.user.gid,
                fanout,
            )
            answer = await connected.cluster.mutate(intent, place.group, request)
            assert isinstance(answer.message, AttributesReply)
            made = answer.message.attributes
            connected.names.learn(place.parent, place.name, made.ino, made.fanout)

        await connected.names.at(intent, parsed, act)

    async def makedirs(
        self,
        path: PathLike,
        mode: int = DIRECTORY_MODE,
        *,
        exist_ok: bool = False,
        wide: bool | None = None,
    ) -> None:
        """Make a directory and what is missing above it, as os.makedirs.

        `mode` and `wide` are for the last one; those above it get the usual mode.
        """
        parsed = parse(path, "makedirs")
        for depth in range(1, len(parsed.parts) + 1):
            part = b"/" + b"/".join(parsed.parts[:depth])
            try:
                if depth < len(parsed.parts):
                    await self.mkdir(part)
                else:
                    await self.mkdir(part, mode, wide=wide)
            except FileExistsError:
                if depth == len(parsed.parts) and not exist_ok:
                    raise
        if not await self.isdir(path):
            raise error(errno.EEXIST, "makedirs", parsed.display, text="it is not a directory")

    async def scandir(
        self, path: PathLike = "/", *, follow_symlinks: bool = True
    ) -> AsyncIterator[DirEntry]:
        """The entries of a directory by name, each once, with attributes where they came along.

        Pages of the directory are fetched as the iteration goes on. What is there the whole time
        is given exactly once; what comes or goes meanwhile may be given or not.
        """
        connected, parsed = self._use(), parse(path, "scandir")
        attributes = await connected.attributes("scandir", parsed, follow=follow_symlinks)
        if attributes.type != FileType.DIRECTORY:
            raise error(errno.ENOTDIR, "scandir", parsed.display)
        base = PurePosixPath(parsed.display)
        intent = partial(connected.intent, "scandir", parsed)
        listing = Listing(connected.cluster, attributes.ino, attributes.fanout, intent)
        async for entry, page in listing.entries():
            name = display(entry.name)
            more = partial(page.attributes, entry)
            yield DirEntry(name, str(base / name), entry, self, more)

    async def listdir(self, path: PathLike = "/") -> list[str]:
        """The names in a directory, sorted by their bytes."""
        return [entry.name async for entry in self.scandir(path)]

    async def rmdir(self, path: PathLike) -> None:
        """Remove an empty directory. OSError ENOTEMPTY, NotADirectoryError."""
        connected, parsed = self._use(), parse(path, "rmdir")
        intent = connected.intent("rmdir", parsed)

        async def act(place: Place) -> None:
            if not place.name:
                code = errno.EBUSY  # the root
                if parsed.parts:
                    code = errno.EINVAL if parsed.dot else errno.ENOTEMPTY
                raise error(code, "rmdir", parsed.display)
            request = RemoveDirectory(place.parent, place.name)
            await connected.cluster.mutate(intent, place.group, request)
            connected.names.forget(place.parent, place.name)

        await connected.names.at(intent, parsed, act)

    async def rmtree(self, path: PathLike) -> None:
        """Remove a directory with all that is in it; links in it are not followed.

        NotADirectoryError for a symbolic link.
        """
        parsed = parse(path, "rmtree")
        entries = [entry async for entry in self.scandir(path, follow_symlinks=False)]
        gate = asyncio.Semaphore(32)

        async def remove(entry: DirEntry) -> None:
            async with gate:
                await self.unlink(entry.path)

        try:
            async with asyncio.TaskGroup() as tasks:
                for entry in entries:
                    if not entry.is_dir():
                        tasks.create_task(remove(entry))
        except* BenchFSError as group:
            raise group.exceptions[0] from None
        for entry in entries:
            if entry.is_dir():
                await self.rmtree(entry.path)
        if parsed.parts:
            await self.rmdir(path)
