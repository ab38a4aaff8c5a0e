"""The synchronous client: the same methods as `AsyncClient`, for programs without a loop.

All work happens on one event loop in a thread of its own (uvloop); a method hands over and
waits. Usable from several threads. After a fork the child makes a client of its own.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from benchfs.client import FILE_MODE, AsyncClient
from benchfs.cluster import NodeStatus
from benchfs.directories import DIRECTORY_MODE
from benchfs.file import AsyncFile
from benchfs.paths import PathLike
from benchfs.stats import DirEntry as AsyncDirEntry
from benchfs.sync_methods import SyncMethods

SCAN_ENTRIES = 1000  # fetched from the loop's thread at a time
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class DirEntry:
    """One entry of a directory, as os.DirEntry."""

    __slots__ = ("_client", "_entry", "name", "path")

    def __init__(self, entry: AsyncDirEntry, client: Client) -> None:
        self.name = entry.name
        self.path = entry.path
        self._entry = entry
        self._client = client

    def inode(self) -> int:
        """The inode number."""
        return self._entry.inode()

    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return self._entry.is_dir()

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self._entry.is_file()

    def is_symlink(self) -> bool:
        """Whether it is a symbolic link."""
        return self._entry.is_symlink()

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Attributes of what the entry names."""
        return self._client._run(self._entry.stat, follow_symlinks=follow_symlinks)


class File(io.RawIOBase):
    """An open file: Python's raw file interface, with `pread`, `pwrite` and `fsync` besides."""

    def __init__(self, file: AsyncFile, client: Client) -> None:
        super().__init__()
        self._file = file
        self._client = client
        self.name = file.name
        self.mode = file.mode

    def readable(self) -> bool:
        return self._file.readable()

    def writable(self) -> bool:
        return self._file.writable()

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        return self._client._run(self._file.read, size)

    def readall(self) -> bytes:
        return self.read(-1)

    def readinto(self, buffer: Any, /) -> int:
        return self._client._run(self._file.readinto, memoryview(buffer))

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._client._run(self._file.readline, -1 if size is None else size)

    def pread(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes at `offset`; the position stays."""
        return self._client._run(self._file.pread, size, offset)

    def preadinto(self, buffer: Any, offset: int) -> int:
        """Fill `buffer` from `offset`; the position stays."""
        return self._client._run(self._file.preadinto, memoryview(buffer), offset)

    def write(self, data: Any, /) -> int:
        return self._client._run(self._file.write, data)

    def pwrite(self, data: bytes | bytearray | memoryview, offset: int) -> int:
        """Write at `offset`; the position stays."""
        return self._client._run(self._file.pwrite, data, offset)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._client._run(self._file.seek, offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def truncate(self, size: int | None = None, /) -> int:
        return self._client._run(self._file.truncate, size)

    def stat(self) -> os.stat_result:
        """As os.fstat."""
        return self._client._run(self._file.stat)

    def flush(self) -> None:
        if not self._file.closed and self._file.writable():
            self._client._run(self._file.flush)

    def fallocate(
        self,
        offset: int,
        length: int,
        *,
        keep_size: bool = False,
        punch_hole: bool = False,
        zero_range: bool = False,
    ) -> None:
        """Have space for bytes, or make them a hole. See `AsyncFile.fallocate`."""

        async def allocate() -> None:
            await self._file.fallocate(
                offset, length, keep_size=keep_size, punch_hole=punch_hole, zero_range=zero_range
            )

        self._client._run(allocate)

    def copy_range(
        self,
        target: File,
        count: int,
        offset_src: int | None = None,
        offset_dst: int | None = None,
    ) -> int:
        """Have the nodes copy into another file of this client. See `AsyncFile.copy_range`."""
        return self._client._run(self._file.copy_range, target._file, count, offset_src, offset_dst)

    def lock(
        self,
        offset: int = 0,
        length: int = 0,
        *,
        exclusive: bool = True,
        timeout: float | None = None,
    ) -> None:
        """Lock bytes against other open files. See `AsyncFile.lock`."""

        async def lock() -> None:
            await self._file.lock(offset, length, exclusive=exclusive, timeout=timeout)

        self._client._run(lock)

    def unlock(self, offset: int = 0, length: int = 0) -> None:
        """Unlock bytes."""
        self._client._run(self._file.unlock, offset, length)

    def flock(self, operation: int, *, timeout: float | None = None) -> None:
        """Lock or unlock the file as a whole, as fcntl.flock. See `AsyncFile.flock`."""

        async def flock() -> None:
            await self._file.flock(operation, timeout=timeout)

        self._client._run(flock)

    def fsync(self) -> None:
        """As flush; and as durable as the cluster's mode promises."""
        self._client._run(self._file.fsync)

    def close(self) -> None:
        if not self.closed:
            try:
                self._client._run(self._file.close)
            finally:
                self._file.closed = True
                super().close()


class Client(SyncMethods):
    """One client of one cluster; the arguments are those of `AsyncClient`."""

    def __init__(
        self,
        cluster: str | None = None,
        *,
        timeout: float | None = None,
        **options: Any,
    ) -> None:
        self._client = AsyncClient(cluster, timeout=timeout, **options)
        self._resources = ExitStack()
        self._portal: BlockingPortal | None = None

    def __enter__(self) -> Client:
        self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def connect(self) -> None:
        """Find the cluster and get its map."""
        if self._portal is None:
            self._portal = self._resources.enter_context(
                start_blocking_portal("asyncio", backend_options={"use_uvloop": True})
            )
            try:
                self._portal.call(self._client.connect)
            except BaseException:
                self._portal = None
                self._resources.close()
                raise

    def close(self) -> None:
        """Close all files, reporting errors of their writes, and all connections."""
        if self._portal is not None:
            try:
                self._portal.call(self._client.close)
            finally:
                self._portal = None
                self._resources.close()

    def open(
        self,
        path: PathLike,
        mode: str = "rb",
        *,
        chunk_size: int | None = None,
        permissions: int = FILE_MODE,
        follow_symlinks: bool = True,
    ) -> File:
        """Open a file; always binary."""
        file = self._run(
            self._client.open,
            path,
            mode,
            chunk_size=chunk_size,
            permissions=permissions,
            follow_symlinks=follow_symlinks,
        )
        return File(file, self)

    def read_bytes(self, path: PathLike) -> bytes:
        """The whole content of a file."""
        return self._run(self._client.read_bytes, path)

    def write_bytes(self, path: PathLike, data: bytes) -> int:
        """Make `data` the whole content of a file."""
        return self._run(self._client.write_bytes, path, data)

    def copy_file_range(
        self,
        src: File,
        dst: File,
        count: int,
        offset_src: int | None = None,
        offset_dst: int | None = None,
    ) -> int:
        """As os.copy_file_range: the nodes copy."""
        return src.copy_range(dst, count, offset_src, offset_dst)

    def truncate(self, path: PathLike, size: int) -> None:
        """Set a file's size in bytes."""
        self._run(self._client.truncate, path, size)

    def mkdir(
        self, path: PathLike, mode: int = DIRECTORY_MODE, *, wide: bool | None = None
    ) -> None:
        """Make a directory; a `wide` one spreads its entries over the cluster."""

        async def make() -> None:
            await self._client.mkdir(path, mode, wide=wide)

        self._run(make)

    def makedirs(
        self,
        path: PathLike,
        mode: int = DIRECTORY_MODE,
        *,
        exist_ok: bool = False,
        wide: bool | None = None,
    ) -> None:
        """Make a directory and what is missing above it."""

        async def make() -> None:
            await self._client.makedirs(path, mode, exist_ok=exist_ok, wide=wide)

        self._run(make)

    def scandir(self, path: PathLike = "/", *, follow_symlinks: bool = True) -> Iterator[DirEntry]:
        """The entries of a directory by name, fetched as the iteration goes on."""
        entries = self._client.scandir(path, follow_symlinks=follow_symlinks)

        async def some() -> list[AsyncDirEntry]:
            found: list[AsyncDirEntry] = []
            async for entry in entries:
                found.append(entry)
                if len(found) == SCAN_ENTRIES:
                    break
            return found

        first = self._run(some)  # here, so that errors come from the call
        return self._scan(first, some)

    def _scan(
        self,
        entries: list[AsyncDirEntry],
        more: Callable[[], Coroutine[object, object, list[AsyncDirEntry]]],
    ) -> Iterator[DirEntry]:
        while entries:
            for entry in entries:
                yield DirEntry(entry, self)
            entries = self._run(more) if len(entries) == SCAN_ENTRIES else []

    def listdir(self, path: PathLike = "/") -> list[str]:
        """The names in a directory."""
        return self._run(self._client.listdir, path)

    def rmdir(self, path: PathLike) -> None:
        """Remove an empty directory."""
        self._run(self._client.rmdir, path)

    def rmtree(self, path: PathLike) -> None:
        """Remove a directory with all that is in it."""
        self._run(self._client.rmtree, path)

    def unlink(self, path: PathLike) -> None:
        """Remove a file."""
        self._run(self._client.unlink, path)

    remove = unlink

    def rename(
        self, source: PathLike, target: PathLike, *, replace: bool = True, exchange: bool = False
    ) -> None:
        """Rename, replacing a file or an empty directory that has the name."""

        async def rename() -> None:
            await self._client.rename(source, target, replace=replace, exchange=exchange)

        self._run(rename)

    replace = rename

    def statvfs(self, path: PathLike = "/") -> os.statvfs_result:
        """Sums over all nodes."""
        return self._run(self._client.statvfs, path)

    def status(self) -> list[NodeStatus]:
        """How each node is."""
        return self._run(self._client.status)

    @property
    def cluster_name(self) -> str:
        """The name the cluster was made with."""
        return self._client.cluster_name

    def _run(
        self,
        method: Callable[Parameters, Coroutine[object, object, Result]],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        if self._portal is None:
            raise ValueError("the client is not connected: use `with`, or `connect()`")
        return self._portal.call(partial(method, *args, **kwargs))
