"""Operations of open files beside reading and writing: holes."""

from __future__ import annotations

import errno
import os

from benchfs.cluster import Intent
from benchfs.errors import error
from benchfs.file_base import OpenFile, check_range
from benchfs.layout import MAX_FILE_SIZE
from benchfs.sparse import SparseFile


class FileExtras(OpenFile):
    """What `AsyncFile` can do besides."""

    async def fallocate(
        self,
        offset: int,
        length: int,
        *,
        keep_size: bool = False,
        punch_hole: bool = False,
        zero_range: bool = False,
    ) -> None:
        """Have space for `length` bytes at `offset`, so that writing there finds room.

        The file grows to their end unless `keep_size`. `punch_hole`: give the space back, the
        bytes read as zeros, the size stays. `zero_range`: make them zeros that have space.
        OSError with EINVAL, EBADF, EFBIG, ENOSPC (some of it may be allocated then), EOPNOTSUPP.
        """
        intent = self._writing("fallocate")
        check_range(intent, offset, length)
        end = offset + length
        if not length or (punch_hole and zero_range):
            raise error(errno.EINVAL, "fallocate", self.name)
        if end > MAX_FILE_SIZE:
            raise error(errno.EFBIG, "fallocate", self.name)
        await self._writes.flush(intent)
        sparse = SparseFile(self._cluster, self._inode)
        if punch_hole or zero_range:
            await sparse.punch(intent, offset, end)
        if not punch_hole:
            await sparse.allocate(intent, offset, end)
        grown = 0 if keep_size or punch_hole else end
        await self._writes.report_change(intent, grown)
        self._segments.forget(self._inode.ino)
        self._cache.drop_file(self._inode.ino)

    async def _seek_sparse(self, intent: Intent, offset: int, whence: int) -> int:
        """SEEK_DATA and SEEK_HOLE."""
        if self._writes.pending:
            await self._writes.flush(intent)
        size = (await self._inode.refresh(intent)).size
        return await SparseFile(self._cluster, self._inode).seek(intent, offset, size, whence)


SPARSE = (os.SEEK_DATA, os.SEEK_HOLE)
