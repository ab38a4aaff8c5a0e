"""A client's methods about attributes: stat and its kin, access, chmod, chown, utime.

The names, arguments and errors are those of Python's `os` and `os.path`. What may be changed by
whom is decided by the inode's node; see docs/SEMANTICS.md.
"""

from __future__ import annotations

import errno
import os
from enum import Enum

from benchfs.cluster import Intent
from benchfs.errors import BenchFSError, PermissionDeniedError, error
from benchfs.inode import FileType, home_group
from benchfs.operations import Connected, Methods
from benchfs.paths import PathLike, parse
from benchfs.rpc.messages import Attributes, CheckAccess, SetAttributes
from benchfs.stats import stat_result

PERMISSION_BITS = 0o7777
NS_A_SECOND = 1_000_000_000
NOTHING_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
UNCHANGED = -1  # of chown's uid and gid


class Time(Enum):
    """In place of a time in `utime`'s `ns`."""

    NOW = "now"
    OMIT = "omit"


UTIME_NOW = Time.NOW
UTIME_OMIT = Time.OMIT


class AttributeMethods(Methods):
    """What `AsyncClient` can tell and change of an inode."""

    async def stat(self, path: PathLike, *, follow_symlinks: bool = True) -> os.stat_result:
        """As os.stat; `st_dev` is 0, and `st_blocks` follows from the size."""
        return stat_result(await self._attributes("stat", path, follow=follow_symlinks))

    async def lstat(self, path: PathLike) -> os.stat_result:
        """As stat, of a symbolic link itself."""
        return stat_result(await self._attributes("lstat", path, follow=False))

    async def exists(self, path: PathLike) -> bool:
        """Whether the path leads to something. A node that is down is an error, not False."""
        return await self._kind(path) is not None

    async def lexists(self, path: PathLike) -> bool:
        """As exists; True for a symbolic link that leads nowhere."""
        return await self._kind(path, follow=False) is not None

    async def isdir(self, path: PathLike) -> bool:
        """Whether it is a directory, or a link to one."""
        return await self._kind(path) == FileType.DIRECTORY

    async def isfile(self, path: PathLike) -> bool:
        """Whether it is a file, or a link to one."""
        return await self._kind(path) == FileType.FILE

    async def islink(self, path: PathLike) -> bool:
        """Whether it is a symbolic link."""
        return await self._kind(path, follow=False) == FileType.SYMLINK

    async def access(self, path: PathLike, mode: int, *, follow_symlinks: bool = True) -> bool:
        """As os.access: whether this client's user may; `mode` is of os.F_OK, R_OK, W_OK, X_OK."""
        if not 0 <= mode <= os.R_OK | os.W_OK | os.X_OK:
            raise error(errno.EINVAL, "access", os.fspath(path), text=f"mode {mode}")

        async def ask(connected: Connected, intent: Intent, ino: int) -> None:
            if mode:
                await connected.cluster.call(intent, home_group(ino), CheckAccess(ino, mode))

        try:
            await self._on_inode("access", path, ask, follow=follow_symlinks)
        except PermissionDeniedError:
            return False
        except BenchFSError as exc:
            if exc.errno in NOTHING_THERE:
                return False
            raise
        return True

    async def chmod(self, path: PathLike, mode: int, *, follow_symlinks: bool = True) -> None:
        """Set the permission bits. PermissionError for who is not the owner."""
        await self._set("chmod", path, follow=follow_symlinks, mode=mode & PERMISSION_BITS)

    async def chown(
        self, path: PathLike, uid: int, gid: int, *, follow_symlinks: bool = True
    ) -> None:
        """Set owner and group; -1 leaves one as it is. Takes setuid and setgid from a file."""
        await self._set(
            "chown",
            path,
            follow=follow_symlinks,
            uid=None if uid == UNCHANGED else uid,
            gid=None if gid == UNCHANGED else gid,
        )

    async def lchown(self, path: PathLike, uid: int, gid: int) -> None:
        """As chown, of a symbolic link itself."""
        await self.chown(path, uid, gid, follow_symlinks=False)

    async def utime(
        self,
        path: PathLike,
        times: tuple[float, float] | None = None,
        *,
        ns: tuple[int | Time, int | Time] | None = None,
        follow_symlinks: bool = True,
    ) -> None:
        """Set the times of access and of modification, as os.utime.

        `times` in seconds, `ns` in nanoseconds since 1970, not both; neither: now, by the node's
        clock. In `ns`, UTIME_NOW and UTIME_OMIT may stand for a time.
        """
        if times is not None and ns is not None:
            raise ValueError("utime: either times or ns, not both")
        atime: int | Time
        mtime: int | Time
        if ns is not None:
            atime, mtime = ns
        elif times is not None:
            atime, mtime = (round(seconds * NS_A_SECOND) for seconds in times)
        else:
            atime = mtime = UTIME_NOW
        await self._set(
            "utime",
            path,
            follow=follow_symlinks,
            atime_ns=None if isinstance(atime, Time) else atime,
            mtime_ns=None if isinstance(mtime, Time) else mtime,
            atime_now=atime is UTIME_NOW,
            mtime_now=mtime is UTIME_NOW,
        )

    async def copystat(
        self, found: os.stat_result, path: PathLike, *, follow_symlinks: bool = True
    ) -> None:
        """Give `path` the mode, whatever the umask, and the times that `found` has."""
        await self._set(
            "copystat",
            path,
            follow=follow_symlinks,
            mode=found.st_mode & PERMISSION_BITS,
            atime_ns=found.st_atime_ns,
            mtime_ns=found.st_mtime_ns,
        )

    # ------------------------------------------------------------ inside

    async def _attributes(self, operation: str, path: PathLike, *, follow: bool) -> Attributes:
        return await self._use().attributes(operation, parse(path, operation), follow=follow)

    async def _kind(self, path: PathLike, *, follow: bool = True) -> int | None:
        try:
            return (await self._attributes("stat", path, follow=follow)).type
        except BenchFSError as exc:
            if exc.errno in NOTHING_THERE:
                return None
            raise

    async def _set(
        self,
        operation: str,
        path: PathLike,
        *,
        follow: bool,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        atime_ns: int | None = None,
        mtime_ns: int | None = None,
        atime_now: bool = False,
        mtime_now: bool = False,
    ) -> None:
        async def act(connected: Connected, intent: Intent, ino: int) -> None:
            request = SetAttributes(ino, mode, uid, gid, atime_ns, mtime_ns, atime_now, mtime_now)
            await connected.cluster.mutate(intent, home_group(ino), request)

        await self._on_inode(operation, path, act, follow=follow)
