"""A client's methods about links: symbolic and hard ones, and the special files FIFO and socket.

The names, arguments and errors are those of Python's `os`. A FIFO and a socket are names only:
what would be sent through them never leaves a host, and they cannot be opened here.
"""

from __future__ import annotations

import errno
import os
import stat
from abc import abstractmethod

from benchfs.cluster import Intent
from benchfs.errors import error
from benchfs.inode import FileType
from benchfs.namespace import Place
from benchfs.operations import Connected, Methods
from benchfs.paths import MAX_PATH, PathLike, parse
from benchfs.rpc.messages import Link, MakeSpecial, MakeSymlink

SPECIAL_MODE = 0o666
_SPECIAL_TYPES = {stat.S_IFIFO: FileType.FIFO, stat.S_IFSOCK: FileType.SOCKET}


class LinkMethods(Methods):
    """What `AsyncClient` can do with links."""

    _umask: int

    async def symlink(
        self, source: PathLike, target: PathLike, target_is_directory: bool = False
    ) -> None:
        """Make `target` a symbolic link that says `source`, as os.symlink.

        `source` may be anything, also a path where nothing is; a relative one starts at the link's
        directory. `target_is_directory` changes nothing, as on Linux.
        """
        del target_is_directory
        connected, parsed = self._use(), parse(target, "symlink")
        intent = connected.intent("symlink", parsed)
        says = os.fsencode(source)
        if len(says) >= MAX_PATH:
            text = f"target of {len(says)} bytes, limit {MAX_PATH - 1}"
            raise error(errno.ENAMETOOLONG, "symlink", parsed.display, text=text)

        async def act(place: Place) -> None:
            await _require_new_name(connected, intent, place)
            request = MakeSymlink(place.parent, place.name, says, self.user.uid, self.user.gid)
            await connected.cluster.mutate(intent, place.group, request)

        await connected.names.at(intent, parsed, act)

    async def readlink(self, path: PathLike) -> str:
        """What a symbolic link says. OSError with EINVAL if it is none."""

        async def act(connected: Connected, intent: Intent, ino: int) -> str:
            return os.fsdecode(await connected.names.target(intent, ino))

        return await self._on_inode("readlink", path, act, follow=False)

    async def link(
        self, source: PathLike, target: PathLike, *, follow_symlinks: bool = True
    ) -> None:
        """Give the file `source` the name `target` too.

        PermissionError for a directory, FileExistsError, OSError with EMLINK.
        """
        connected, parsed = self._use(), parse(target, "link")

        async def act(_connected: Connected, intent: Intent, ino: int) -> None:
            async def act_there(place: Place) -> None:
                await _require_new_name(connected, intent, place)
                request = Link(place.parent, place.name, ino)
                await connected.cluster.mutate(intent, place.group, request)

            await connected.names.at(intent, parsed, act_there)

        await self._on_inode("link", source, act, follow=follow_symlinks)

    async def mkfifo(self, path: PathLike, mode: int = SPECIAL_MODE) -> None:
        """Make a FIFO. It cannot be opened: OSError with EOPNOTSUPP."""
        await self._make_special("mkfifo", path, FileType.FIFO, mode)

    async def mknod(self, path: PathLike, mode: int = stat.S_IFREG | 0o600) -> None:
        """Make a FIFO (stat.S_IFIFO in `mode`), a socket (S_IFSOCK), or an empty file (S_IFREG).

        PermissionError for a device. A socket cannot be opened: OSError with ENXIO.
        """
        kind = stat.S_IFMT(mode)
        if kind in {0, stat.S_IFREG}:
            await self._require_no_slash("mknod", path)
            await self._make_file(path, stat.S_IMODE(mode))
        elif kind in _SPECIAL_TYPES:
            await self._make_special("mknod", path, _SPECIAL_TYPES[kind], mode)
        else:
            code = errno.EPERM if kind in {stat.S_IFCHR, stat.S_IFBLK} else errno.EINVAL
            raise error(code, "mknod", path, text="a FIFO, a socket or a file can be made")

    @abstractmethod
    async def _make_file(self, path: PathLike, permissions: int) -> None:
        """Make an empty file. FileExistsError."""

    async def _require_no_slash(self, operation: str, path: PathLike) -> None:
        """Refuse a path that can only name a directory: EEXIST, or ENOENT if there is nothing."""
        connected, parsed = self._use(), parse(path, operation)
        intent = connected.intent(operation, parsed)

        async def act(place: Place) -> None:
            await _require_new_name(connected, intent, place)

        if parsed.directory:
            await connected.names.at(intent, parsed, act)

    async def _make_special(
        self, operation: str, path: PathLike, file_type: FileType, mode: int
    ) -> None:
        connected, parsed = self._use(), parse(path, operation)
        intent = connected.intent(operation, parsed)

        async def act(place: Place) -> None:
            await _require_new_name(connected, intent, place)
            request = MakeSpecial(
                place.parent,
                place.name,
                file_type,
                stat.S_IMODE(mode) & ~self._umask,
                self.user.uid,
                self.user.gid,
            )
            await connected.cluster.mutate(intent, place.group, request)

        await connected.names.at(intent, parsed, act)


async def _require_new_name(connected: Connected, intent: Intent, place: Place) -> None:
    """Nothing but a directory can be made under a name that ends in a slash. EEXIST, ENOENT."""
    if place.directory and place.name:
        await connected.names.lookup(intent, place.parent, place.name, place.group)
    if place.directory or not place.name:
        raise error(errno.EEXIST, intent.operation, intent.path)
