"""What the kernel is told: attributes, space and error numbers, out of BenchFS's own.

Every error of BenchFS is an OSError with an errno, which the program at the mount gets. What is
about the cluster and not about the file is EIO there, since errnos such as ENOTCONN mean that the
mount itself is dead; ETIMEDOUT stays. The log has the whole text, with node and operation.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
from collections.abc import Callable, Coroutine
from typing import TypeVar, TypeVarTuple

import pyfuse3

from benchfs.errors import (
    BenchFSError,
    ClusterError,
    DeadlineError,
    NotFoundError,
    TransportError,
)
from benchfs.rpc.messages import Attributes
from benchfs.stats import FRAGMENT_BYTES, SECTOR_BYTES, mode_of

logger = logging.getLogger(__name__)
Arguments = TypeVarTuple("Arguments")
Reply = TypeVar("Reply")


def errno_of(problem: BenchFSError) -> int:
    """What a program at the mount gets."""
    if isinstance(problem, DeadlineError):
        return errno.ETIMEDOUT
    if isinstance(problem, TransportError | ClusterError) or not problem.errno:
        return errno.EIO
    return problem.errno


def answered(
    operation: Callable[[*Arguments], Coroutine[None, None, Reply]],
) -> Callable[[*Arguments], Coroutine[None, None, Reply]]:
    """An operation that raises nothing but FUSEError: anything else would leave it unanswered."""
    return _answered(operation, errno.ENOENT)


def answered_of_inode(
    operation: Callable[[*Arguments], Coroutine[None, None, Reply]],
) -> Callable[[*Arguments], Coroutine[None, None, Reply]]:
    """As `answered`, for what is asked of an inode by number: if it is gone, ESTALE.

    Another client removed it, or replaced it, under a name that the kernel still believes. At
    ESTALE the kernel looks the name up anew and asks once more, before a program sees an error.
    """
    return _answered(operation, errno.ESTALE)


def _answered(
    operation: Callable[[*Arguments], Coroutine[None, None, Reply]], gone: int
) -> Callable[[*Arguments], Coroutine[None, None, Reply]]:
    @functools.wraps(operation)
    async def handle(*args: *Arguments) -> Reply:  # pyfuse3 names none of them
        try:
            return await operation(*args)
        except NotFoundError as exc:
            raise pyfuse3.FUSEError(gone) from exc
        except BenchFSError as exc:
            code = errno_of(exc)
            if code in {errno.EIO, errno.ETIMEDOUT, errno.ENOSPC}:
                logger.warning("%s", exc)
            raise pyfuse3.FUSEError(code) from exc
        except pyfuse3.FUSEError:
            raise
        except Exception as exc:  # a mistake of ours: the program at the mount must not hang
            logger.exception("%s failed", operation.__name__)
            raise pyfuse3.FUSEError(errno.EIO) from exc

    return handle


def entry_of(attributes: Attributes, seconds: float) -> pyfuse3.EntryAttributes:
    """Attributes and name, to be believed for so long."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = attributes.ino
    entry.entry_timeout = entry.attr_timeout = seconds
    entry.st_mode = mode_of(attributes)
    entry.st_nlink = attributes.nlink
    entry.st_uid = attributes.uid
    entry.st_gid = attributes.gid
    entry.st_size = attributes.size
    entry.st_blksize = attributes.layout.chunk_size or FRAGMENT_BYTES
    entry.st_blocks = -(-attributes.size // SECTOR_BYTES)
    entry.st_atime_ns = attributes.atime_ns
    entry.st_mtime_ns = attributes.mtime_ns
    entry.st_ctime_ns = attributes.ctime_ns
    return entry


def space_of(found: os.statvfs_result) -> pyfuse3.StatvfsData:
    """The space of the cluster."""
    data = pyfuse3.StatvfsData()
    for field in (
        "f_bsize",
        "f_frsize",
        "f_blocks",
        "f_bfree",
        "f_bavail",
        "f_files",
        "f_ffree",
        "f_favail",
        "f_namemax",
    ):
        setattr(data, field, getattr(found, field))
    return data
