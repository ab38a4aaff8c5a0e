"""The sizes of a group's files: what writers report and reserve, and truncation.

A size holds in a truncation epoch, which a truncation ends; within one it only grows. Each
function is one synchronous transaction, as those of `benchfsd/inodes.py`.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod

from benchfs.env import Env
from benchfs.inode import FileType
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    Attributes,
    AttributesReply,
    LayoutRecord,
    ReportSize,
    ReserveEnd,
    ReserveEndReply,
    Truncate,
)
from benchfsd.allowances import Allowances
from benchfsd.intents import Intents
from benchfsd.rights import SUPERUSER, User, unprivileged
from benchfsd.rows import Call, Intent, IntentKind

MAX_CHUNKS = 2**32  # the index of a chunk has 32 bits


class FileSizes(ABC):
    """What a group's inodes can do with sizes."""

    __slots__ = ()

    _env: Env
    _intents: Intents
    allowances: Allowances

    @abstractmethod
    def get(self, ino: int) -> Attributes:
        """The inode. ENOENT if it is not in this group."""

    @abstractmethod
    def put(self, inode: Attributes) -> None:
        """Store the inode as it is now."""

    def report_size(
        self,
        message: ReportSize,
        user: User | None = SUPERUSER,
        layout: LayoutRecord | None = None,
    ) -> AttributesReply:
        """Merge a writer's end of acknowledged bytes, by maximum, and its mtime likewise.

        It tells that bytes changed, so it always counts as a change: clocks of writers differ,
        and mtime alone would hide some. Writing by anybody but the superuser takes setuid and
        setgid from the file. A report from before the last truncation changes nothing, as its
        bytes were cut. Repeats do no harm. ENOENT; EISDIR; EINVAL for a symlink; EFBIG;
        NOT_READY for a truncation that is not finished, ESTALE for one that never began here;
        ShortError. `layout`: where the chunks are from now on; there must have been none.
        """
        inode = self._file(message.ino)
        if message.truncation < inode.truncation:
            return AttributesReply(inode)
        if message.truncation > inode.truncation:
            self._intents.require_none(IntentKind.TRUNCATE, inode.ino)
            raise RemoteError(
                errno.ESTALE,
                f"inode {inode.ino:#x} is in truncation epoch {inode.truncation}, "
                f"not {message.truncation}",
            )
        _check_size(message.end, inode.layout)
        self._grow(inode, message.end - inode.size)
        inode = inode._replace(
            mode=_mode_after_writing(inode, user),
            size=max(inode.size, message.end),
            mtime_ns=max(inode.mtime_ns, message.mtime_ns),
            ctime_ns=max(inode.ctime_ns, self._env.clock.time_ns()),
            change=inode.change + 1,
            layout=layout or inode.layout,
        )
        self.put(inode)
        return AttributesReply(inode)

    def reserve_end(self, message: ReserveEnd, user: User | None = SUPERUSER) -> ReserveEndReply:
        """Give the caller `length` bytes at the file's end, which nobody else is given.

        The size grows at once: until they are written, and for ever if they never are, the bytes
        are a hole. Setuid and setgid go as by `report_size`. ENOENT; EISDIR; EINVAL; EFBIG;
        NOT_READY while a truncation is unfinished; ShortError.
        """
        inode = self._file(message.ino)
        _check_size(inode.size + message.length, inode.layout)
        self._intents.require_none(IntentKind.TRUNCATE, inode.ino)
        self._grow(inode, message.length)
        now_ns = self._env.clock.time_ns()
        grown = inode._replace(
            mode=_mode_after_writing(inode, user),
            size=inode.size + message.length,
            mtime_ns=max(inode.mtime_ns, now_ns),
            ctime_ns=max(inode.ctime_ns, now_ns),
            change=inode.change + 1,
        )
        self.put(grown)
        return ReserveEndReply(inode.size, grown)

    def begin_truncate(
        self, message: Truncate, call: Call | None = None, user: User | None = SUPERUSER
    ) -> tuple[Intent, Attributes]:
        """First step: the intent, which has the new truncation epoch, and the inode before.

        The chunks are to be cut under that epoch, then `commit_truncate`. `call` is whom the
        recovery is to answer. ENOENT; EISDIR; EINVAL; EFBIG; NOT_READY while another truncation
        of the file is unfinished; ShortError for a new size that is greater.
        """
        inode = self._file(message.ino)
        _check_size(message.size, inode.layout)
        self._intents.require_none(IntentKind.TRUNCATE, inode.ino)
        growth = max(0, message.size - inode.size)
        self._grow(inode, growth)
        intent = Intent(
            kind=IntentKind.TRUNCATE,
            ino=inode.ino,
            call=call,
            truncation=inode.truncation + 1,
            size=message.size,
            layout=inode.layout,
            quota=inode.quota,
            charged=growth if inode.quota else 0,
        )
        self._intents.add(intent)
        mode = _mode_after_writing(inode, user)
        if mode != inode.mode:
            inode = inode._replace(mode=mode)
            self.put(inode)
        return intent, inode

    def commit_truncate(self, intent: Intent) -> AttributesReply:
        """Last step, when all chunks are cut: the new size holds. Done already counts as done.

        ENOENT if the file was removed meanwhile; the intent is finished then too.
        """
        pending = self._intents.finish(intent)  # also if the file is gone: nothing is left to do
        if pending:
            self.allowances.charge(intent.quota, -intent.charged, 0)
        inode = self.get(intent.ino)
        if pending:
            self.allowances.charge(inode.quota, intent.size - inode.size, 0)
            now_ns = self._env.clock.time_ns()
            inode = inode._replace(
                size=intent.size,
                truncation=intent.truncation,
                mtime_ns=now_ns,
                ctime_ns=now_ns,
                change=inode.change + 1,
            )
            self.put(inode)
        return AttributesReply(inode)

    def _grow(self, inode: Attributes, size: int) -> None:
        """Count that a file gets longer. ShortError."""
        if inode.quota and size > 0:
            self.allowances.require(inode.quota, size, 0)
            self.allowances.charge(inode.quota, size, 0)

    def _file(self, ino: int) -> Attributes:
        inode = self.get(ino)
        if inode.type == FileType.DIRECTORY:
            raise RemoteError(errno.EISDIR, f"inode {ino:#x} is a directory: it has no size")
        if inode.type != FileType.FILE:
            raise RemoteError(errno.EINVAL, f"inode {ino:#x} is not a file: its size is fixed")
        return inode


def _mode_after_writing(inode: Attributes, user: User | None) -> int:
    return inode.mode if user is SUPERUSER else unprivileged(inode.mode)


def _check_size(size: int, layout: LayoutRecord) -> None:
    most = layout.chunk_size * MAX_CHUNKS
    if size > most:
        raise RemoteError(
            errno.EFBIG,
            f"{size} bytes: with chunks of {layout.chunk_size} bytes a file can have {most}",
        )
