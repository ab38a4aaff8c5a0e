"""The asynchronous client: a cluster's files with the names and errors of Python's own.

    async with benchfs.AsyncClient("benchfs://127.0.0.1:7000") as fs:
        async with await fs.open("/results/a.bin", "wb") as file:
            await file.write(data)

Paths are str, bytes or PathLike, relative ones start at the root. Every method raises the
OSError subclass that the same call on a local file would, always with operation, path and
node (`benchfs/errors.py`), and waits no longer than the client's timeout.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import AsyncIterator
from pathlib import PurePosixPath
from types import TracebackType

from benchfs.budget import ByteBudget
from benchfs.cache import ChunkCache
from benchfs.cluster import Cluster, Intent, NodeStatus
from benchfs.clustermap import ClusterMap
from benchfs.env import Env, system_env
from benchfs.errors import BenchFSError, NotDirectoryError, error
from benchfs.file import AsyncFile, Mode, parse_mode
from benchfs.inode import FileType, home_group
from benchfs.inode_handle import InodeHandle
from benchfs.instance import find
from benchfs.layout import check_chunk_size
from benchfs.loans import LocalChunks
from benchfs.namespace import Names, Place
from benchfs.paths import ParsedPath, PathLike, display, parse
from benchfs.reading import ChunkReader, SegmentReader
from benchfs.rpc.handshake import CLIENT_ID_BYTES
from benchfs.rpc.messages import (
    Attributes,
    AttributesReply,
    LayoutRecord,
    MakeDirectory,
    Open,
    OpenReply,
    ReadDirectory,
    ReadDirectoryReply,
    RemoveDirectory,
    Rename,
    SetAttributes,
    Truncate,
    Unlink,
)
from benchfs.rpc.transports.base import TransportUnavailableError
from benchfs.rpc.transports.choose import choose
from benchfs.session import Session
from benchfs.settings import load
from benchfs.stats import DirEntry, directory_total, stat_result
from benchfs.writing import WriteBehind

PAGE_ENTRIES = 1000
FILE_MODE = 0o666
DIRECTORY_MODE = 0o777


class AsyncClient:
    """One client of one cluster, used from one event loop.

    `cluster`: a URL `benchfs://host:port[,host:port...]`, an instance's name or directory; the
    default is the one instance running on this host. `secret_file`: of a cluster given by URL.
    `timeout` in seconds bounds every operation. `cache_bytes` bounds the chunk cache, 0 is none;
    `in_flight_bytes` what is read, and what is written, at the same time;
    `attribute_seconds` is how long directories and sizes are believed, 0: always ask.
    `local_reads`: read chunks of nodes on this host from their files directly.

    What is None comes from the environment, the file of settings, or is the default
    (`benchfs/settings.py`); an error there is raised as OSError EINVAL.
    """

    def __init__(
        self,
        cluster: str | None = None,
        *,
        secret_file: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
        cache_bytes: int | None = None,
        in_flight_bytes: int | None = None,
        attribute_seconds: float | None = None,
        local_reads: bool | None = None,
        transport: str | None = None,
        env: Env | None = None,
    ) -> None:
        settings = load(
            {
                "cluster": cluster,
                "secret_file": secret_file,
                "transport": transport,
                "timeout": timeout,
                "cache_bytes": cache_bytes,
                "in_flight_bytes": in_flight_bytes,
                "attribute_seconds": attribute_seconds,
                "local_reads": local_reads,
            }
        )
        self._settings = settings
        self._timeout = settings.timeout
        self._attribute_seconds = settings.attribute_seconds
        self._local_reads = settings.local_reads
        try:
            self._engines = choose(settings.transport)
        except TransportUnavailableError as exc:
            text = exc.strerror or ""
            raise error(errno.EOPNOTSUPP, "connect", settings.cluster, text=text) from exc
        self._env = env or system_env()
        self.cache = ChunkCache(settings.cache_bytes)
        self._read_budget = ByteBudget(settings.in_flight_bytes)
        self._write_budget = ByteBudget(settings.in_flight_bytes)
        self._connected: _Connected | None = None
        self._umask = _umask()

    async def __aenter__(self) -> AsyncClient:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Find the cluster and get its map. Raises ClusterError, UnreachableError."""
        if self._connected is not None:
            return
        endpoints = await find(self._settings.cluster, self._settings.secret_file)
        session = Session(self._env.rng.token_bytes(CLIENT_ID_BYTES))
        cluster = Cluster(endpoints, self._engines, self._env, session)
        try:
            await cluster.open(self._timeout)
        except BaseException:
            await cluster.close()
            raise
        self._connected = _Connected(self, cluster, local_reads=self._local_reads)

    async def close(self) -> None:
        """Close all files, reporting errors of their writes, and all connections."""
        connected, self._connected = self._connected, None
        if connected is not None:
            await connected.close()

    # ------------------------------------------------------------ files

    async def open(
        self,
        path: PathLike,
        mode: str = "rb",
        *,
        chunk_size: int | None = None,
        permissions: int = FILE_MODE,
    ) -> AsyncFile:
        """Open a file; always binary. `chunk_size` in bytes and `permissions` are for a new one.

        As with os.open, bits of the process's umask are taken from `permissions`.
        Raises FileNotFoundError, FileExistsError (mode x), IsADirectoryError, ValueError.
        """
        how = parse_mode(mode)
        connected, parsed = self._use(), parse(path, "open")
        intent = connected.intent("open", parsed)
        size = chunk_size or connected.cluster.chunk_size
        check_chunk_size(size)
        if parsed.directory or not parsed.parts:
            raise error(errno.EISDIR, "open", parsed.display)
        # files start in different groups, so that first chunks are spread over all nodes
        first = self._env.rng.randrange(connected.cluster.map.group_count)

        async def act(place: Place) -> OpenReply:
            if not place.name:
                raise error(errno.EISDIR, "open", parsed.display)
            request = Open(
                place.parent,
                place.name,
                how.create,
                how.exclusive,
                permissions & ~self._umask,
                os.getuid(),
                os.getgid(),
                LayoutRecord(size, first, ()),
            )
            group = home_group(place.parent)
            call = connected.cluster.mutate if how.create else connected.cluster.call
            answer = await call(intent, group, request)
            assert isinstance(answer.message, OpenReply)
            return answer.message

        found = await connected.names.at(intent, parsed, act)
        if found.type == FileType.DIRECTORY:
            raise error(errno.EISDIR, "open", parsed.display)
        attributes = found.attributes or await connected.names.of_inode(intent, found.ino)
        if how.truncate and not found.created:
            answer = await connected.cluster.mutate(
                intent, home_group(found.ino), Truncate(found.ino, 0)
            )
            assert isinstance(answer.message, AttributesReply)
            attributes = answer.message.attributes
        return connected.open_file(attributes, how, parsed.display)

    async def read_bytes(self, path: PathLike) -> bytes:
        """The whole content of a file."""
        async with await self.open(path, "rb") as file:
            return await file.read()

    async def write_bytes(self, path: PathLike, data: bytes) -> int:
        """Make `data` the whole content of a file; returns its length."""
        async with await self.open(path, "wb") as file:
            return await file.write(data)

    async def truncate(self, path: PathLike, size: int) -> None:
        """Set a file's size in bytes, up or down."""
        async with await self.open(path, "r+b") as file:
            await file.truncate(size)

    # ------------------------------------------------------------ attributes

    async def stat(self, path: PathLike) -> os.stat_result:
        """As os.stat; `st_dev` is 0."""
        connected, parsed = self._use(), parse(path, "stat")
        return stat_result(await connected.attributes("stat", parsed))

    lstat = stat  # the same, as long as there are no symbolic links

    async def exists(self, path: PathLike) -> bool:
        """Whether the path leads to something. A node that is down is an error, not False."""
        return await self._kind(path) is not None

    async def isdir(self, path: PathLike) -> bool:
        """Whether it is a directory."""
        return await self._kind(path) == FileType.DIRECTORY

    async def isfile(self, path: PathLike) -> bool:
        """Whether it is a file."""
        return await self._kind(path) == FileType.FILE

    async def chmod(self, path: PathLike, mode: int) -> None:
        """Set the permission bits."""
        await self._set_attributes("chmod", path, mode=mode & 0o7777)

    async def chown(self, path: PathLike, uid: int, gid: int) -> None:
        """Set owner and group; -1 leaves one as it is."""
        await self._set_attributes(
            "chown", path, uid=None if uid == -1 else uid, gid=None if gid == -1 else gid
        )

    async def copystat(self, found: os.stat_result, path: PathLike) -> None:
        """Give `path` the mode, whatever the umask, and the times that `found` has."""
        await self._set_attributes(
            "copystat",
            path,
            mode=stat.S_IMODE(found.st_mode),
            atime_ns=found.st_atime_ns,
            mtime_ns=found.st_mtime_ns,
        )

    async def utime(self, path: PathLike, *, ns: tuple[int, int] | None = None) -> None:
        """Set the times of access and change, in nanoseconds since 1970; None: now."""
        now = self._env.clock.time_ns()
        atime_ns, mtime_ns = ns or (now, now)
        await self._set_attributes("utime", path, atime_ns=atime_ns, mtime_ns=mtime_ns)

    # ------------------------------------------------------------ directories

    async def mkdir(self, path: PathLike, mode: int = DIRECTORY_MODE) -> None:
        """Make a directory, its mode cut by the umask. FileExistsError, FileNotFoundError."""
        connected, parsed = self._use(), parse(path, "mkdir")
        intent = connected.intent("mkdir", parsed)

        async def act(place: Place) -> None:
            if not place.name:
                raise error(errno.EEXIST, "mkdir", parsed.display)
            request = MakeDirectory(
                place.parent, place.name, mode & ~self._umask, os.getuid(), os.getgid()
            )
            answer = await connected.cluster.mutate(intent, home_group(place.parent), request)
            assert isinstance(answer.message, AttributesReply)
            connected.names.learn(place.parent, place.name, answer.message.attributes.ino)

        await connected.names.at(intent, parsed, act)

    async def makedirs(
        self, path: PathLike, mode: int = DIRECTORY_MODE, *, exist_ok: bool = False
    ) -> None:
        """Make a directory and what is missing above it, as os.makedirs.

        `mode` is for the last one; those above it get the usual one.
        """
        parsed = parse(path, "makedirs")
        for depth in range(1, len(parsed.parts) + 1):
            part = b"/" + b"/".join(parsed.parts[:depth])
            try:
                await self.mkdir(part, mode if depth == len(parsed.parts) else DIRECTORY_MODE)
            except FileExistsError:
                if depth == len(parsed.parts) and not exist_ok:
                    raise
        if not await self.isdir(path):
            raise error(errno.EEXIST, "makedirs", parsed.display, text="it is not a directory")

    async def scandir(self, path: PathLike = "/") -> AsyncIterator[DirEntry]:
        """The entries of a directory by name, each once, with attributes where they came along.

        Pages of the directory are fetched as the iteration goes on.
        """
        connected, parsed = self._use(), parse(path, "scandir")
        attributes = await connected.attributes("scandir", parsed)
        if attributes.type != FileType.DIRECTORY:
            raise error(errno.ENOTDIR, "scandir", parsed.display)
        base = PurePosixPath(parsed.display)
        after, more = b"", True
        while more:
            intent = connected.intent("scandir", parsed)
            request = ReadDirectory(attributes.ino, after, PAGE_ENTRIES)
            answer = await connected.cluster.call(intent, home_group(attributes.ino), request)
            page = answer.message
            assert isinstance(page, ReadDirectoryReply)
            for entry in page.entries:
                name = display(entry.name)
                yield DirEntry(name, str(base / name), entry, self)
                after = entry.name
            more = page.more and bool(page.entries)

    async def listdir(self, path: PathLike = "/") -> list[str]:
        """The names in a directory, sorted by their bytes."""
        return [entry.name async for entry in self.scandir(path)]

    async def rmdir(self, path: PathLike) -> None:
        """Remove an empty directory. OSError ENOTEMPTY, NotADirectoryError."""
        connected, parsed = self._use(), parse(path, "rmdir")
        intent = connected.intent("rmdir", parsed)

        async def act(place: Place) -> None:
            if not place.name:
                code = errno.EBUSY if not parsed.parts else errno.EINVAL
                raise error(code, "rmdir", parsed.display)
            request = RemoveDirectory(place.parent, place.name)
            await connected.cluster.mutate(intent, home_group(place.parent), request)
            connected.names.forget(place.parent, place.name)

        await connected.names.at(intent, parsed, act)

    async def rmtree(self, path: PathLike) -> None:
        """Remove a directory with all that is in it."""
        parsed = parse(path, "rmtree")
        entries = [entry async for entry in self.scandir(path)]
        gate = asyncio.Semaphore(32)

        async def remove(entry: DirEntry) -> None:
            async with gate:
                await self.unlink(entry.path)

        try:
            async with asyncio.TaskGroup() as tasks:
                for entry in entries:
                    if not entry.is_dir():
                        tasks.create_task(remove(entry))
        except* BenchFSError as group:
            raise group.exceptions[0] from None
        for entry in entries:
            if entry.is_dir():
                await self.rmtree(entry.path)
        if parsed.parts:
            await self.rmdir(path)

    # ------------------------------------------------------------ names

    async def unlink(self, path: PathLike) -> None:
        """Remove a file. IsADirectoryError for a directory."""
        connected, parsed = self._use(), parse(path, "unlink")
        intent = connected.intent("unlink", parsed)

        async def act(place: Place) -> None:
            if not place.name:
                raise error(errno.EISDIR, "unlink", parsed.display)
            if parsed.directory:
                await self._require_directory(connected, intent, place)
            request = Unlink(place.parent, place.name)
            await connected.cluster.mutate(intent, home_group(place.parent), request)

        await connected.names.at(intent, parsed, act)

    remove = unlink

    async def rename(self, source: PathLike, target: PathLike) -> None:
        """Rename, replacing a file that has the name, atomically.

        Both names must be in one group of the cluster, and a directory stays in its directory;
        what is not possible yet is OSError EXDEV, as between two file systems.
        """
        connected = self._use()
        old, new = parse(source, "rename"), parse(target, "rename")
        intent = connected.intent("rename", old)

        async def act(place: Place) -> None:
            async def act_there(there: Place) -> None:
                if not place.name or not there.name:
                    raise error(errno.EBUSY, "rename", old.display)
                if home_group(place.parent) != home_group(there.parent):
                    raise error(
                        errno.EXDEV,
                        "rename",
                        old.display,
                        text="between directories of two groups: not supported yet",
                    )
                request = Rename(place.parent, place.name, there.parent, there.name)
                await connected.cluster.mutate(intent, home_group(place.parent), request)
                connected.names.forget(place.parent, place.name)
                connected.names.forget(there.parent, there.name)

            await connected.names.at(intent, new, act_there)

        await connected.names.at(intent, old, act)

    replace = rename

    # ------------------------------------------------------------ the cluster

    async def statvfs(self, path: PathLike = "/") -> os.statvfs_result:
        """Sums over all nodes, as os.statvfs. Raises if a node does not answer."""
        parse(path, "statvfs")
        statuses = await self.status()
        replies = []
        for status in statuses:
            if status.reply is None:
                text = status.error or "no answer"
                raise error(errno.EHOSTUNREACH, "statvfs", None, status.node_id, text)
            replies.append(status.reply)
        return directory_total(replies)

    async def status(self) -> list[NodeStatus]:
        """How each node is; one that does not answer is in the list with its error."""
        return await self._use().cluster.status(self._timeout)

    @property
    def cluster_name(self) -> str:
        """The name the cluster was made with."""
        return self._use().cluster.name

    @property
    def cluster_map(self) -> ClusterMap:
        """Nodes and groups, as this client knows them."""
        return self._use().cluster.map

    @property
    def local_hits(self) -> int:
        """Reads that were served from a chunk file directly, since the client connected."""
        hits: int = self._use().local_hits
        return hits

    # ------------------------------------------------------------ inside

    def _use(self) -> _Connected:
        if self._connected is None:
            raise ValueError("the client is not connected: use `async with`, or `connect()`")
        return self._connected

    async def _kind(self, path: PathLike) -> int | None:
        connected, parsed = self._use(), parse(path, "stat")
        try:
            return (await connected.attributes("stat", parsed)).type
        except (FileNotFoundError, NotDirectoryError):
            return None

    async def _require_directory(self, connected: _Connected, intent: Intent, place: Place) -> None:
        found = await connected.names.lookup(intent, place.parent, place.name)
        if found.type != FileType.DIRECTORY:
            raise error(errno.ENOTDIR, intent.operation, intent.path)

    async def _set_attributes(
        self,
        operation: str,
        path: PathLike,
        *,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        atime_ns: int | None = None,
        mtime_ns: int | None = None,
    ) -> None:
        connected, parsed = self._use(), parse(path, operation)
        intent = connected.intent(operation, parsed)
        ino = (await connected.attributes(operation, parsed)).ino
        request = SetAttributes(ino, mode, uid, gid, atime_ns, mtime_ns)
        await connected.cluster.mutate(intent, home_group(ino), request)


class _Connected:
    """What a client has while it is connected."""

    def __init__(self, client: AsyncClient, cluster: Cluster, *, local_reads: bool) -> None:
        self.cluster = cluster
        self.names = Names(cluster, client._attribute_seconds)
        self._client = client
        self._local = LocalChunks(cluster) if local_reads else None
        self._chunks = ChunkReader(cluster, client._read_budget, self._local)
        self._segments = SegmentReader(self._chunks, client.cache)
        self._files: set[AsyncFile] = set()

    @property
    def local_hits(self) -> int:
        return 0 if self._local is None else self._local.hits

    def intent(self, operation: str, path: ParsedPath) -> Intent:
        return self.cluster.intent(operation, path.display, self._client._timeout)

    async def attributes(self, operation: str, path: ParsedPath) -> Attributes:
        intent = self.intent(operation, path)

        async def act(place: Place) -> Attributes:
            return await self.names.attributes(intent, place)

        found = await self.names.at(intent, path, act)
        if path.directory and found.type != FileType.DIRECTORY:
            raise error(errno.ENOTDIR, operation, path.display)
        return found

    def open_file(self, attributes: Attributes, mode: Mode, path: str) -> AsyncFile:
        client = self._client
        inode = InodeHandle(self.cluster, attributes, path)
        client.cache.admit(inode.ino, attributes.change)
        writes = WriteBehind(
            self.cluster,
            client._write_budget,
            client.cache,
            self._segments,
            inode,
            client._env,
            client._timeout,
        )
        file = AsyncFile(
            self.cluster,
            inode,
            mode,
            self._chunks,
            self._segments,
            client.cache,
            writes,
            client._timeout,
            client._attribute_seconds,
            self._files.discard,
        )
        self._files.add(file)
        return file

    async def close(self) -> None:
        failure: BenchFSError | None = None
        for file in list(self._files):
            try:
                await file.close()
            except BenchFSError as exc:
                failure = failure or exc
        await self._segments.close()
        if self._local is not None:
            self._local.close()
        await self.cluster.close()
        if failure is not None:
            raise failure


def _umask() -> int:
    """The process's umask; reading it is setting it, so it is set back at once."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
