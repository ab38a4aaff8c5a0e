"""Operations of open files beside reading and writing: holes, copies made by the nodes."""

from __future__ import annotations

import errno
import os

from benchfs.cluster import Intent
from benchfs.copying import MOST_BYTES, RangeCopy
from benchfs.errors import error
from benchfs.file_base import check_range
from benchfs.file_locks import FileLockMethods
from benchfs.layout import MAX_FILE_SIZE
from benchfs.sparse import SparseFile


class FileExtras(FileLockMethods):
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
        check_range(self._intent("fallocate"), offset, length)
        end = offset + length
        if not length or (punch_hole and zero_range):
            raise error(errno.EINVAL, "fallocate", self.name)
        intent = self._writing("fallocate")
        if end > MAX_FILE_SIZE:
            raise error(errno.EFBIG, "fallocate", self.name)
        await self._inode.settle(intent)
        await self._writes.flush(intent)
        sparse = self._sparse()
        with self._inode.spilling():
            if punch_hole or zero_range:
                await sparse.punch(intent, offset, end)
            if not punch_hole:
                await sparse.allocate(intent, offset, end)
            grown = 0 if keep_size or punch_hole else end
            await self._changed(intent, grown)
        if keep_size and not punch_hole:
            self._inode.spilled = True

    async def copy_range(
        self,
        target: FileExtras,
        count: int,
        offset_src: int | None = None,
        offset_dst: int | None = None,
    ) -> int:
        """Copy up to `count` bytes into another file of the same client; returns how many it did.

        The nodes copy among themselves, at most 64 MiB a call; 0 means the end of this file. As
        os.copy_file_range: an offset that is None is the file's position, which moves on. Holes
        stay holes. OSError with EBADF (the target opened with `a`, too), EINVAL (within one file,
        where the ranges overlap), EFBIG, EXDEV, ENOSPC.
        """
        intent = self._reading("copy_file_range")
        there = target._writing("copy_file_range")
        if target._cluster is not self._cluster:
            raise error(errno.EXDEV, "copy_file_range", self.name)
        if target._mode.append:
            raise error(errno.EBADF, "copy_file_range", target.name, text="opened to append")
        source_start = self._position if offset_src is None else offset_src
        target_start = target._position if offset_dst is None else offset_dst
        check_range(intent, source_start, count)
        check_range(there, target_start, count)
        for file, whose in ((self, intent), (target, there)):
            await file._inode.settle(whose)
        size = (await self._inode.refresh(intent)).size
        count = max(0, min(count, size - source_start, MOST_BYTES))
        if target_start + count > MAX_FILE_SIZE:
            raise error(errno.EFBIG, "copy_file_range", target.name)
        same = self._inode.ino == target._inode.ino
        if same and abs(source_start - target_start) < count:
            raise error(errno.EINVAL, "copy_file_range", self.name, text="the ranges overlap")
        if count:
            copy = RangeCopy(self._sparse(), self._inode, target._sparse(), target._inode)
            await copy.run(there, source_start, target_start, count)
            await target._changed(there, target_start + count)
        if offset_src is None:
            self._position += count
        if offset_dst is None:
            target._position += count
        return count

    async def _seek_sparse(self, intent: Intent, offset: int, whence: int) -> int:
        """SEEK_DATA and SEEK_HOLE."""
        await self._inode.settle(intent)
        size = (await self._inode.refresh(intent)).size
        return await self._sparse().seek(intent, offset, size, whence)

    def _sparse(self) -> SparseFile:
        return SparseFile(self._cluster, self._inode, self._writes.touched)

    async def _changed(self, intent: Intent, end: int) -> None:
        """Bytes were changed, up to `end`, by others for this handle: have that known."""
        await self._writes.report_change(intent, end)
        self._segments.forget(self._inode.ino)
        self._cache.drop_file(self._inode.ino)


SPARSE = (os.SEEK_DATA, os.SEEK_HOLE)
