"""A client's methods about extended attributes, as in Python's `os`.

Only names that start with `user.` are kept: 255 bytes a name, 64 KiB a value, and 64 KiB for all
names and values of an inode.
"""

from __future__ import annotations

import errno
import os

from benchfs.cluster import Intent
from benchfs.errors import error
from benchfs.inode import home_group
from benchfs.operations import Connected, Methods
from benchfs.paths import PathLike
from benchfs.rpc.messages import (
    GetXattr,
    ListXattrs,
    ListXattrsReply,
    RemoveXattr,
    SetXattr,
    XattrReply,
)

NAME_BYTES = 255
VALUE_BYTES = 65_536


class XattrMethods(Methods):
    """What `AsyncClient` can do with extended attributes."""

    async def getxattr(
        self, path: PathLike, attribute: PathLike, *, follow_symlinks: bool = True
    ) -> bytes:
        """A value. OSError with ENODATA if there is none, EOPNOTSUPP for a name not of user.*."""
        name = _name("getxattr", path, attribute)

        async def act(connected: Connected, intent: Intent, ino: int) -> bytes:
            answer = await connected.cluster.call(intent, home_group(ino), GetXattr(ino, name))
            assert isinstance(answer.message, XattrReply)
            return answer.message.value

        return await self._on_inode("getxattr", path, act, follow=follow_symlinks)

    async def setxattr(
        self,
        path: PathLike,
        attribute: PathLike,
        value: bytes,
        flags: int = 0,
        *,
        follow_symlinks: bool = True,
    ) -> None:
        """Set a value; `flags`: 0, os.XATTR_CREATE (FileExistsError), os.XATTR_REPLACE (ENODATA).

        OSError with E2BIG for more than 64 KiB, ENOSPC for more than that in all attributes.
        """
        name = _name("setxattr", path, attribute)

        async def act(connected: Connected, intent: Intent, ino: int) -> None:
            if len(value) > VALUE_BYTES:
                text = f"value of {len(value)} bytes, limit {VALUE_BYTES}"
                raise error(errno.E2BIG, intent.operation, intent.path, text=text)
            if not 0 <= flags <= os.XATTR_CREATE | os.XATTR_REPLACE:
                raise error(errno.EINVAL, intent.operation, intent.path, text=f"flags {flags}")
            request = SetXattr(ino, name, bytes(value), flags)
            await connected.cluster.mutate(intent, home_group(ino), request)

        await self._on_inode("setxattr", path, act, follow=follow_symlinks)

    async def listxattr(self, path: PathLike = "/", *, follow_symlinks: bool = True) -> list[str]:
        """The names, sorted by their bytes."""

        async def act(connected: Connected, intent: Intent, ino: int) -> list[str]:
            answer = await connected.cluster.call(intent, home_group(ino), ListXattrs(ino))
            assert isinstance(answer.message, ListXattrsReply)
            return [os.fsdecode(name) for name in answer.message.names]

        return await self._on_inode("listxattr", path, act, follow=follow_symlinks)

    async def removexattr(
        self, path: PathLike, attribute: PathLike, *, follow_symlinks: bool = True
    ) -> None:
        """Remove one. OSError with ENODATA if there is none."""
        name = _name("removexattr", path, attribute)

        async def act(connected: Connected, intent: Intent, ino: int) -> None:
            request = RemoveXattr(ino, name)
            await connected.cluster.mutate(intent, home_group(ino), request)

        await self._on_inode("removexattr", path, act, follow=follow_symlinks)


def _name(operation: str, path: PathLike, attribute: PathLike) -> bytes:
    """The attribute's name, looked at before the path is, as Linux does. ERANGE."""
    name = os.fsencode(attribute)
    if len(name) > NAME_BYTES:
        text = f"name of {len(name)} bytes, limit {NAME_BYTES}"
        raise error(errno.ERANGE, operation, path, text=text)
    return name
