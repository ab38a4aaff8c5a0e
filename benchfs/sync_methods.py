"""The synchronous client's methods about attributes, links, extended attributes and health.

Each does what the method of the same name does in `benchfs/attributes.py`, `benchfs/links.py`,
`benchfs/xattrs.py` or `benchfs/checking.py`, and returns when it is done.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from stat import S_IFREG
from typing import ParamSpec, TypeVar

from benchfs.attributes import Time
from benchfs.client import AsyncClient
from benchfs.fsck import NodeScrub, Options, Report
from benchfs.links import SPECIAL_MODE
from benchfs.paths import PathLike

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class SyncMethods(ABC):
    """A part of `Client`."""

    _client: AsyncClient

    @abstractmethod
    def _run(
        self,
        method: Callable[Parameters, Coroutine[object, object, Result]],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Run a method of the asynchronous client to its end."""

    # ------------------------------------------------------------ attributes

    def stat(self, path: PathLike, *, follow_symlinks: bool = True) -> os.stat_result:
        """As os.stat."""
        return self._run(self._client.stat, path, follow_symlinks=follow_symlinks)

    def lstat(self, path: PathLike) -> os.stat_result:
        """As stat, of a symbolic link itself."""
        return self._run(self._client.lstat, path)

    def exists(self, path: PathLike) -> bool:
        """Whether the path leads to something."""
        return self._run(self._client.exists, path)

    def lexists(self, path: PathLike) -> bool:
        """As exists; True for a symbolic link that leads nowhere."""
        return self._run(self._client.lexists, path)

    def isdir(self, path: PathLike) -> bool:
        """Whether it is a directory, or a link to one."""
        return self._run(self._client.isdir, path)

    def isfile(self, path: PathLike) -> bool:
        """Whether it is a file, or a link to one."""
        return self._run(self._client.isfile, path)

    def islink(self, path: PathLike) -> bool:
        """Whether it is a symbolic link."""
        return self._run(self._client.islink, path)

    def access(self, path: PathLike, mode: int, *, follow_symlinks: bool = True) -> bool:
        """As os.access: whether this client's user may."""
        return self._run(self._client.access, path, mode, follow_symlinks=follow_symlinks)

    def chmod(self, path: PathLike, mode: int, *, follow_symlinks: bool = True) -> None:
        """Set the permission bits."""
        self._run(self._client.chmod, path, mode, follow_symlinks=follow_symlinks)

    def chown(self, path: PathLike, uid: int, gid: int, *, follow_symlinks: bool = True) -> None:
        """Set owner and group; -1 leaves one as it is."""
        self._run(self._client.chown, path, uid, gid, follow_symlinks=follow_symlinks)

    def lchown(self, path: PathLike, uid: int, gid: int) -> None:
        """As chown, of a symbolic link itself."""
        self._run(self._client.lchown, path, uid, gid)

    def copystat(
        self, found: os.stat_result, path: PathLike, *, follow_symlinks: bool = True
    ) -> None:
        """Give `path` the mode, whatever the umask, and the times that `found` has."""
        self._run(self._client.copystat, found, path, follow_symlinks=follow_symlinks)

    def utime(
        self,
        path: PathLike,
        times: tuple[float, float] | None = None,
        *,
        ns: tuple[int | Time, int | Time] | None = None,
        follow_symlinks: bool = True,
    ) -> None:
        """Set the times of access and of modification, as os.utime."""
        self._run(self._client.utime, path, times, ns=ns, follow_symlinks=follow_symlinks)

    # ------------------------------------------------------------ links

    def symlink(
        self, source: PathLike, target: PathLike, target_is_directory: bool = False
    ) -> None:
        """Make `target` a symbolic link that says `source`."""
        self._run(self._client.symlink, source, target, target_is_directory)

    def readlink(self, path: PathLike) -> str:
        """What a symbolic link says."""
        return self._run(self._client.readlink, path)

    def link(self, source: PathLike, target: PathLike, *, follow_symlinks: bool = True) -> None:
        """Give the file `source` the name `target` too."""
        self._run(self._client.link, source, target, follow_symlinks=follow_symlinks)

    def mkfifo(self, path: PathLike, mode: int = SPECIAL_MODE) -> None:
        """Make a FIFO, which cannot be opened."""
        self._run(self._client.mkfifo, path, mode)

    def mknod(self, path: PathLike, mode: int = S_IFREG | 0o600) -> None:
        """Make a FIFO, a socket or an empty file."""
        self._run(self._client.mknod, path, mode)

    # ------------------------------------------------------------ extended attributes

    def getxattr(
        self, path: PathLike, attribute: PathLike, *, follow_symlinks: bool = True
    ) -> bytes:
        """A value."""
        return self._run(self._client.getxattr, path, attribute, follow_symlinks=follow_symlinks)

    def setxattr(
        self,
        path: PathLike,
        attribute: PathLike,
        value: bytes,
        flags: int = 0,
        *,
        follow_symlinks: bool = True,
    ) -> None:
        """Set a value."""
        self._run(
            self._client.setxattr, path, attribute, value, flags, follow_symlinks=follow_symlinks
        )

    def listxattr(self, path: PathLike = "/", *, follow_symlinks: bool = True) -> list[str]:
        """The names, sorted by their bytes."""
        return self._run(self._client.listxattr, path, follow_symlinks=follow_symlinks)

    def removexattr(
        self, path: PathLike, attribute: PathLike, *, follow_symlinks: bool = True
    ) -> None:
        """Remove one."""
        self._run(self._client.removexattr, path, attribute, follow_symlinks=follow_symlinks)

    # ------------------------------------------------------------ the cluster's health

    def fsck(self, options: Options | None = None) -> Report:
        """Check the structure of all files while they are used."""
        return self._run(self._client.fsck, options)

    def scrub(self, rate: int | None = None) -> list[NodeScrub]:
        """Have each node verify all its chunks, `rate` bytes a second."""
        return self._run(self._client.scrub, rate)
