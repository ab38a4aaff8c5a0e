"""Chunk files on a local disk: a thin shell over the system calls, with no rules of its own.

Chunk (ino, index) is the file `chunks/<2 hex>/<ino, 16 hex>.<index>` of the data directory. Names
are made of integers only and opened below a directory descriptor, never through a link.
`ChunkFiles` is what the store needs; an implementation on io_uring can take the place of
`DiskChunkFiles` without a change elsewhere. Everything that may wait for a disk is a coroutine,
but writes, which go to the page cache, and reads that were told to wait. A failed flush is
fatal and never retried: the kernel has forgotten what it could not write.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import anyio
import anyio.to_thread

from benchfsd import sparse
from benchfsd.database import FatalStorageError

DIRECTORY = "chunks"
MAX_OPEN = 512  # descriptors kept open; a miss costs 3 µs on a memory file system
MAX_THREADS = 8  # reads and flushes that wait for the disk at the same time

_FETCH_BYTES = 1024 * 1024
_NAME = re.compile(r"([0-9a-f]{16})\.(0|[1-9][0-9]{0,9})")
_FILE_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | _FILE_FLAGS

Buffers = Sequence[bytearray | memoryview]


class Space(NamedTuple):
    """The file system below the chunks, in bytes. `free` is what this process may still use."""

    total: int
    free: int


class ChunkFiles(Protocol):
    """Files by (ino, index). OSErrors of the system are passed on where nothing else is said.

    FileNotFoundError tells that there is no such file, also where a method is not about that.
    """

    def create(self, ino: int, index: int) -> None:
        """Make an empty file. FileExistsError if there is one already."""
        ...

    def size(self, ino: int, index: int) -> int | None:
        """The file's bytes; None if there is no file."""
        ...

    def read(self, ino: int, index: int, offset: int, buffers: Buffers, *, wait: bool) -> int:
        """Fill the buffers, in their order, from `offset`. Fewer bytes only at the file's end.

        Without `wait`, raises BlockingIOError rather than wait for a disk; what the buffers
        hold then is not said.
        """
        ...

    async def fetch(self, ino: int, index: int, offset: int, length: int) -> None:
        """Bring bytes into memory, so that `read` need not wait. Errors come up there."""
        ...

    def write(self, ino: int, index: int, offset: int, payload: bytes | memoryview) -> None:
        """Write all of `payload`. After an error a part of it may be written."""
        ...

    def truncate(self, ino: int, index: int, length: int) -> None:
        """Cut the file to `length` bytes."""
        ...

    def punch(self, ino: int, index: int, offset: int, length: int) -> None:
        """Make bytes of the file a hole; its size stays. Also where the file system has none."""
        ...

    def allocate(self, ino: int, index: int, offset: int, length: int) -> None:
        """Have the disk's space for these bytes; the file's size stays."""
        ...

    def data_ranges(self, ino: int, index: int, length: int) -> list[tuple[int, int]]:
        """(start, end) of what is not a hole in the file's first `length` bytes, ascending."""
        ...

    def remove(self, ino: int, index: int) -> None:
        """Remove the file; a missing one is no error."""
        ...

    async def sync(self, ino: int, index: int) -> None:
        """Return when the disk has the file's bytes and name. A missing file is no error.

        Raises FatalStorageError, after `on_fatal`.
        """
        ...

    def sync_now(self, ino: int, index: int) -> None:
        """The same of a file that is there, waiting for the disk."""
        ...

    def open_read_only(self, ino: int, index: int) -> int:
        """A descriptor of the file for somebody else; the caller closes it."""
        ...

    def space(self) -> Space:
        """How full the file system is now."""
        ...

    def listing(self) -> Iterator[list[tuple[int, int]]]:
        """All files there are, as (ino, index), one directory at a time. All of an ino in one."""
        ...

    def close(self) -> None:
        """Close all descriptors. Twice is harmless."""
        ...


class DiskChunkFiles:
    """ChunkFiles below `data_directory`, which must exist.

    `durable`: `sync` also makes the names of new files safe. `on_fatal` is called in the
    event loop's thread, before the FatalStorageError reaches whoever waits.
    """

    def __init__(
        self,
        data_directory: str | os.PathLike[str],
        *,
        durable: bool,
        on_fatal: Callable[[FatalStorageError], object],
        max_open: int = MAX_OPEN,
    ) -> None:
        base = os.open(data_directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _make_directory(DIRECTORY, base)
            if durable:
                os.fsync(base)
            self._root = os.open(DIRECTORY, _DIRECTORY_FLAGS, dir_fd=base)
        finally:
            os.close(base)
        self._durable = durable
        self._on_fatal = on_fatal
        self._max_open = max_open
        self._open: OrderedDict[tuple[int, int], int] = OrderedDict()
        self._no_wait = os.RWF_NOWAIT  # 0 where the file system does not know it: tmpfs
        self._unsynced: dict[str, int] = {}  # directory: new names in it so far
        self._failure: FatalStorageError | None = None
        self._threads = anyio.CapacityLimiter(MAX_THREADS)

    # ---------------------------------------------------------------- bytes

    def create(self, ino: int, index: int) -> None:
        name = file_name(ino, index)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _FILE_FLAGS
        directory = name.partition("/")[0]
        try:
            descriptor = os.open(name, flags, 0o600, dir_fd=self._root)
        except FileNotFoundError:
            _make_directory(directory, self._root)
            self._note_new_name(".")
            descriptor = os.open(name, flags, 0o600, dir_fd=self._root)
        self._note_new_name(directory)
        self._keep((ino, index), descriptor)

    def size(self, ino: int, index: int) -> int | None:
        try:
            return os.fstat(self._descriptor(ino, index)).st_size
        except FileNotFoundError:
            return None

    def read(self, ino: int, index: int, offset: int, buffers: Buffers, *, wait: bool) -> int:
        descriptor = self._descriptor(ino, index)
        if wait or not self._no_wait:
            return _read_all(descriptor, offset, buffers)
        try:
            count = os.preadv(descriptor, buffers, offset, self._no_wait)
        except OSError as problem:
            if problem.errno not in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}:
                raise  # BlockingIOError, too
            self._no_wait = 0
            return _read_all(descriptor, offset, buffers)
        # The kernel stops at the first page that is not in memory, as it does at the end.
        wanted = sum(map(len, buffers))
        if count < wanted and offset + count < os.fstat(descriptor).st_size:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return count

    async def fetch(self, ino: int, index: int, offset: int, length: int) -> None:
        try:
            # A duplicate: the cache may close its descriptor while the thread reads.
            descriptor = os.dup(self._descriptor(ino, index))
        except FileNotFoundError:
            return
        await anyio.to_thread.run_sync(_fetch, descriptor, offset, length, limiter=self._threads)

    def write(self, ino: int, index: int, offset: int, payload: bytes | memoryview) -> None:
        descriptor = self._descriptor(ino, index)
        done = os.pwrite(descriptor, payload, offset)
        size = len(payload)
        while done < size:  # a full disk: the next call says so
            done += os.pwrite(descriptor, memoryview(payload)[done:], offset + done)

    def truncate(self, ino: int, index: int, length: int) -> None:
        os.ftruncate(self._descriptor(ino, index), length)

    def punch(self, ino: int, index: int, offset: int, length: int) -> None:
        sparse.punch(self._descriptor(ino, index), offset, length)

    def allocate(self, ino: int, index: int, offset: int, length: int) -> None:
        sparse.allocate(self._descriptor(ino, index), offset, length)

    def data_ranges(self, ino: int, index: int, length: int) -> list[tuple[int, int]]:
        return sparse.data_ranges(self._descriptor(ino, index), length)

    def remove(self, ino: int, index: int) -> None:
        descriptor = self._open.pop((ino, index), None)
        if descriptor is not None:
            os.close(descriptor)
        try:
            os.unlink(file_name(ino, index), dir_fd=self._root)
        except FileNotFoundError:
            pass

    # ---------------------------------------------------------------- the disk

    async def sync(self, ino: int, index: int) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            descriptor = os.dup(self._descriptor(ino, index))
        except FileNotFoundError:
            return
        await self._flush_in_thread(descriptor, os.fdatasync)
        for directory, names in list(self._unsynced.items()):
            try:
                descriptor = os.open(directory, _DIRECTORY_FLAGS, dir_fd=self._root)
            except FileNotFoundError:
                continue
            await self._flush_in_thread(descriptor, os.fsync)
            if self._unsynced.get(directory) == names:
                del self._unsynced[directory]

    def sync_now(self, ino: int, index: int) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            os.fdatasync(self._descriptor(ino, index))
            for directory in list(self._unsynced):
                descriptor = os.open(directory, _DIRECTORY_FLAGS, dir_fd=self._root)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                del self._unsynced[directory]
        except OSError as problem:
            failure = self._failure = FatalStorageError(f"a flush of chunks failed: {problem}")
            self._on_fatal(failure)
            raise failure from problem

    async def _flush_in_thread(self, descriptor: int, flush: Callable[[int], None]) -> None:
        loop = asyncio.get_running_loop()
        await anyio.to_thread.run_sync(self._flush, descriptor, flush, loop, limiter=self._threads)

    def _flush(
        self,
        descriptor: int,
        flush: Callable[[int], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """In a thread. Whether or not somebody still waits, a failure is never lost."""
        try:
            flush(descriptor)
        except OSError as problem:
            failure = FatalStorageError(f"{flush.__name__} of chunks failed: {problem}")
            self._failure = failure
            loop.call_soon_threadsafe(self._on_fatal, failure)
            raise failure from problem
        finally:
            os.close(descriptor)

    # ---------------------------------------------------------------- names

    def open_read_only(self, ino: int, index: int) -> int:
        return self._open_file(ino, index, os.O_RDONLY)

    def space(self) -> Space:
        figures = os.fstatvfs(self._root)
        return Space(figures.f_blocks * figures.f_frsize, figures.f_bavail * figures.f_frsize)

    def listing(self) -> Iterator[list[tuple[int, int]]]:
        for directory in sorted(os.listdir(self._root)):
            try:
                descriptor = os.open(directory, _DIRECTORY_FLAGS, dir_fd=self._root)
            except OSError:
                continue  # not ours
            try:
                names = os.listdir(descriptor)
            finally:
                os.close(descriptor)
            found = [match for match in map(_NAME.fullmatch, names) if match is not None]
            keys = [(int(match[1], 16), int(match[2])) for match in found]
            yield [key for key in keys if file_name(*key).partition("/")[0] == directory]

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def _descriptor(self, ino: int, index: int) -> int:
        key = (ino, index)
        descriptor = self._open.get(key)
        if descriptor is None:
            descriptor = self._open_file(ino, index, os.O_RDWR)
            self._keep(key, descriptor)
        else:
            self._open.move_to_end(key)
        return descriptor

    def _open_file(self, ino: int, index: int, access: int) -> int:
        """A descriptor of the file. What stands in its place, a link or so, is no file."""
        name = file_name(ino, index)
        try:
            descriptor = os.open(name, access | os.O_NONBLOCK | _FILE_FLAGS, dir_fd=self._root)
        except OSError as problem:
            if problem.errno in {errno.ELOOP, errno.EISDIR, errno.ENXIO}:
                raise FileNotFoundError(errno.ENOENT, "not a regular file", name) from problem
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileNotFoundError(errno.ENOENT, "not a regular file", name)
        return descriptor

    def _keep(self, key: tuple[int, int], descriptor: int) -> None:
        self._open[key] = descriptor
        if len(self._open) > self._max_open:
            os.close(self._open.popitem(last=False)[1])

    def _note_new_name(self, directory: str) -> None:
        if self._durable:
            self._unsynced[directory] = self._unsynced.get(directory, 0) + 1


def file_name(ino: int, index: int) -> str:
    """The name of a chunk's file, relative to the directory of all chunks."""
    return f"{ino & 0xFF:02x}/{ino:016x}.{index}"


def _make_directory(name: str, parent: int) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        pass


def _read_all(descriptor: int, offset: int, buffers: Buffers) -> int:
    count = os.preadv(descriptor, buffers, offset)
    wanted = sum(map(len, buffers))
    while count < wanted:  # the end, or a read that a signal cut short
        more = os.preadv(descriptor, _rest(buffers, count), offset + count)
        if more == 0:
            break
        count += more
    return count


def _rest(buffers: Buffers, done: int) -> list[memoryview]:
    """What is left of `buffers` after the first `done` bytes."""
    rest = []
    for buffer in buffers:
        if done < len(buffer):
            rest.append(memoryview(buffer)[done:])
            done = 0
        else:
            done -= len(buffer)
    return rest


def _fetch(descriptor: int, offset: int, length: int) -> None:
    """In a thread: read into a buffer that nobody looks at."""
    try:
        scratch = memoryview(bytearray(min(length, _FETCH_BYTES)))
        while length > 0:
            count = os.preadv(descriptor, [scratch[:length]], offset)
            if count == 0:
                return
            offset += count
            length -= count
    except OSError:
        return
    finally:
        os.close(descriptor)
