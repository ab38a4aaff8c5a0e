"""Disk space of the database's own, reserved ahead of what it uses.

A commit that the disk has no room for is fatal, and what is written beside the database, by
other nodes on the same disk too, may take the last block at any moment. So blocks past the
file's end are allocated before they are needed. Where that fails nothing new is made (ENOSPC),
and what removes and truncates is committed into the blocks that are left.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from benchfsd.sparse import allocate

STEP_BYTES = 1024**2  # so much more is allocated at a time
_FULL = {errno.ENOSPC, errno.EDQUOT}
_IMPOSSIBLE = {errno.EOPNOTSUPP, errno.ENOSYS}  # this file system cannot: nothing is reserved


class Headroom:
    """Keeps `size` bytes allocated past the used bytes of the file `path`."""

    def __init__(self, path: Path, size: int) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        self._size = size
        self._allocated = 0
        self.is_kept = True

    def keep(self, used: int) -> None:
        """Allocate what is missing now that `used` bytes of the file are in use. Raises OSError."""
        wanted = used + self._size
        if wanted <= self._allocated:
            return
        end = wanted + STEP_BYTES
        try:
            allocate(self._descriptor, used, end - used)
        except OSError as problem:
            if problem.errno in _FULL:
                self.is_kept = False
                return
            if problem.errno not in _IMPOSSIBLE:
                raise
            end = 1 << 62
        self._allocated = end
        self.is_kept = True

    def close(self) -> None:
        """Close the file; what is allocated stays with it."""
        os.close(self._descriptor)
