"""The advisory locks of one open file, as its client knows them.

A lock is the inode's node's word; what is noted here is for the node's restart (then it is told
again), and for the time when the client's lease is over: then the locks are lost, and everything
done with the file says so until it is unlocked or closed.
"""

from __future__ import annotations

import asyncio
import errno

from benchfs.cluster import Cluster, Intent
from benchfs.errors import BenchFSError, TransportError, error
from benchfs.holds import Holds
from benchfs.inode import home_group
from benchfs.inode_handle import InodeHandle
from benchfs.lockranges import END, LockRange, LockRanges
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import Code, Lock, LockRecord, Unlock

# With these the node has said no; after anything else it may or may not have locked.
_REFUSED = {errno.EACCES, errno.EAGAIN, errno.EDEADLK, errno.ENOLCK, errno.EINVAL}


class FileLocks:
    """`holds` keeps the inode open. Made with the first lock of a file."""

    def __init__(self, cluster: Cluster, inode: InodeHandle, holds: Holds, timeout: float) -> None:
        self._cluster = cluster
        self._inode = inode
        self._holds = holds
        self._timeout = timeout
        self._ranges = {False: LockRanges(), True: LockRanges()}  # True: of the file as a whole
        self._lost = False
        self._undoing: set[asyncio.Task[None]] = set()

    async def lock(self, operation: str, lock: LockRange, *, whole: bool, wait: float) -> None:
        """Lock a range, waiting for up to `wait` seconds. Raises OSError EAGAIN, EDEADLK, ENOLCK.

        If it ends otherwise, by cancellation say, the range is unlocked.
        """
        inode = self._inode
        intent = self._cluster.intent(operation, inode.path, wait + self._timeout)
        while True:
            request = Lock(
                inode.ino,
                inode.number,
                whole,
                lock.exclusive,
                lock.start,
                lock.end,
                self._holds.next_lock(),
                int(wait * 1000),
            )
            try:
                await self._cluster.call(intent, home_group(inode.ino), request)
            except TransportError as exc:
                if _is_overtaken(exc):  # by an unlocking elsewhere in the program
                    continue
                self.undo(lock, whole=whole)
                raise
            except BenchFSError as exc:
                if exc.errno not in _REFUSED:
                    self.undo(lock, whole=whole)
                raise
            except BaseException:
                self.undo(lock, whole=whole)
                raise
            self._ranges[whole].set(lock)
            return

    async def unlock(self, operation: str, start: int, end: int, *, whole: bool) -> None:
        """Unlock a range; what is not locked in it is no error."""
        self._lost = False
        self._ranges[whole].clear(start, end)
        intent = self._cluster.intent(operation, self._inode.path, self._timeout)
        await self._send_unlock(intent, start, end, whole=whole)

    async def close(self) -> None:
        """Unlock everything. A node that cannot be told finds out by the lease."""
        try:
            await asyncio.gather(*self._undoing, return_exceptions=True)
            for whole in (False, True):
                if self._ranges[whole]:
                    await self.unlock("close", 0, END, whole=whole)
        except BenchFSError:
            return

    def require(self, intent: Intent) -> None:
        """Raise OSError ENOLCK if locks of this file are lost, or may be."""
        if any(self._ranges.values()) and not self._holds.is_sure(self._inode.ino):
            self.lose()
        if self._lost:
            text = "its locks are lost: the node did not hear of this client for a lease"
            raise error(errno.ENOLCK, intent.operation, self._inode.path, text=text)

    def records(self) -> list[LockRecord]:
        """All locks, as the node is told after its restart."""
        inode = self._inode
        return [
            LockRecord(inode.ino, inode.number, whole, part.exclusive, part.start, part.end)
            for whole, ranges in self._ranges.items()
            for part in ranges
        ]

    def lose(self) -> None:
        """The node has none of these locks any more."""
        if any(self._ranges.values()):
            self._lost = True
            self._ranges = {False: LockRanges(), True: LockRanges()}

    def undo(self, lock: LockRange, *, whole: bool) -> None:
        """Nobody wants this lock any more: if the node has given it, it is to take it back.

        Waits for nothing.
        """
        self._ranges[whole].clear(lock.start, lock.end)
        task = asyncio.get_running_loop().create_task(self._undo_now(lock, whole=whole))
        self._undoing.add(task)
        task.add_done_callback(self._undoing.discard)

    # ------------------------------------------------------------ inside

    async def _undo_now(self, lock: LockRange, *, whole: bool) -> None:
        intent = self._cluster.intent("unlock", self._inode.path, self._timeout)
        try:
            await self._send_unlock(intent, lock.start, lock.end, whole=whole)
        except BenchFSError:
            return  # closing the file, or the end of the lease, will do

    async def _send_unlock(self, intent: Intent, start: int, end: int, *, whole: bool) -> None:
        inode = self._inode
        number = self._holds.next_lock()
        request = Unlock(inode.ino, inode.number, whole, start, end, number)
        await self._cluster.call(intent, home_group(inode.ino), request)


def _is_overtaken(failure: TransportError) -> bool:
    cause = failure.__cause__
    return isinstance(cause, RemoteError) and cause.code == Code.STALE_SEQUENCE
