"""What a path may lead to that is not opened, and how that is refused, in Linux's order."""

from __future__ import annotations

import errno
from typing import NoReturn

from benchfs.cluster import Cluster, Intent
from benchfs.errors import error
from benchfs.inode import WRITE, FileType, home_group
from benchfs.rpc.messages import CheckAccess

NOT_OPENED = {
    FileType.DIRECTORY: errno.EISDIR,
    FileType.SYMLINK: errno.ELOOP,  # only if it is not followed
    FileType.FIFO: errno.EOPNOTSUPP,
    FileType.SOCKET: errno.ENXIO,
}


async def refuse(
    cluster: Cluster, intent: Intent, ino: int, file_type: FileType, wanted: int
) -> NoReturn:
    """Raise why it is not opened; before that EACCES for who may not read or write it.

    That a directory cannot be written, and that a symbolic link is one, is told to everybody.
    """
    to_all = file_type is FileType.SYMLINK or (file_type is FileType.DIRECTORY and wanted & WRITE)
    if not to_all:
        await cluster.call(intent, home_group(ino), CheckAccess(ino, wanted))
    raise error(NOT_OPENED[file_type], intent.operation, intent.path)
