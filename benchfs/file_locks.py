"""Advisory locks on open files: byte ranges (as POSIX has them) and the file as a whole (flock)."""

from __future__ import annotations

import errno
import fcntl

from benchfs.errors import error
from benchfs.file_base import OpenFile, check_range
from benchfs.holds import Holds
from benchfs.locking import FileLocks
from benchfs.lockranges import END, LockRange

_WHOLE = fcntl.LOCK_SH | fcntl.LOCK_EX | fcntl.LOCK_UN


class FileLockMethods(OpenFile):
    """The locks that an open file has belong to it alone, and end when it is closed."""

    async def lock(
        self,
        offset: int = 0,
        length: int = 0,
        *,
        exclusive: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Lock `length` bytes at `offset` against other open files; 0: to the end of the file.

        Waits up to `timeout` seconds, None: the client's; 0 does not wait. What this file had
        locked of the range before is replaced. BlockingIOError (EAGAIN) in vain; OSError with
        EDEADLK if clients would wait in a circle, EBADF (exclusive needs a file open for writing,
        shared for reading), EINVAL, ENOLCK. If cancelled, the range is unlocked.
        """
        intent = self._intent("lock")
        check_range(intent, offset, length)
        if not (self._mode.write if exclusive else self._mode.read):
            raise error(errno.EBADF, "lock", self.name, text=f"opened with mode {self.mode}")
        end = offset + length if length else END
        self._inode.require(intent)
        wait = self._timeout if timeout is None else timeout
        lock = LockRange(offset, end, exclusive)
        await self._lock("lock", lock, whole=False, wait=wait)

    async def unlock(self, offset: int = 0, length: int = 0) -> None:
        """Unlock a range, as in `lock`; what is not locked in it is no error.

        What was written is sent before, so that who locks next reads it; raises errors of writes.
        """
        check_range(self._intent("unlock"), offset, length)
        end = offset + length if length else END
        await self._unlock("unlock", offset, end, whole=False)

    async def flock(self, operation: int, *, timeout: float | None = None) -> None:
        """As fcntl.flock: LOCK_SH, LOCK_EX or LOCK_UN of `fcntl`, with LOCK_NB not to wait.

        Has nothing to do with `lock`. Errors as there; any mode will do.
        """
        intent = self._intent("flock")
        what = operation & _WHOLE
        if what not in {fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_UN} or (
            operation & ~(_WHOLE | fcntl.LOCK_NB)
        ):
            raise error(errno.EINVAL, "flock", self.name, text=f"operation {operation}")
        if what == fcntl.LOCK_UN:
            await self._unlock("flock", 0, END, whole=True)
            return
        self._inode.require(intent)
        wait = self._timeout if timeout is None else timeout
        if operation & fcntl.LOCK_NB:
            wait = 0.0
        lock = LockRange(0, END, what == fcntl.LOCK_EX)
        await self._lock("flock", lock, whole=True, wait=wait)

    async def _lock(self, operation: str, lock: LockRange, *, whole: bool, wait: float) -> None:
        """Lock, and see what those have written who had the lock before."""
        locks = self._file_locks()
        await locks.lock(operation, lock, whole=whole, wait=wait)
        try:
            attributes = await self._inode.refresh(self._intent(operation))
        except BaseException:
            locks.undo(lock, whole=whole)
            raise
        self._cache.admit(self._inode.ino, attributes.change)
        self._segments.forget(self._inode.ino)

    async def _unlock(self, operation: str, start: int, end: int, *, whole: bool) -> None:
        if self._locks is None:
            return
        try:
            if self._writes.pending:
                await self._writes.flush(self._intent(operation))
        finally:
            await self._locks.unlock(operation, start, end, whole=whole)

    def _file_locks(self) -> FileLocks:
        if self._locks is None:
            holds = self._inode.holds
            assert isinstance(holds, Holds)
            self._locks = FileLocks(self._cluster, self._inode, holds, self._timeout)
            self._inode.locks = self._locks
        return self._locks
