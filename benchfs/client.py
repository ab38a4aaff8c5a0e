"""The asynchronous client: a cluster's files with the names and errors of Python's own.

    async with benchfs.AsyncClient("benchfs://127.0.0.1:7000") as fs:
        async with await fs.open("/results/a.bin", "wb") as file:
            await file.write(data)

Paths are str, bytes or PathLike, relative ones start at the root. Every method raises the
OSError subclass that the same call on a local file would, always with operation, path and
node (`benchfs/errors.py`), and waits no longer than the client's timeout.
"""

from __future__ import annotations

import errno
import os
from functools import partial
from types import TracebackType

from benchfs.access_times import AccessTimes
from benchfs.appending import AppendBehind
from benchfs.budget import ByteBudget
from benchfs.by_inode import ByInode
from benchfs.cache import ChunkCache
from benchfs.capabilities import Capabilities
from benchfs.checking import CheckMethods
from benchfs.cluster import Cluster, NodeStatus
from benchfs.clustermap import ClusterMap
from benchfs.directories import DirectoryMethods
from benchfs.env import Env, system_env
from benchfs.errors import BenchFSError, NotFoundError, error
from benchfs.file import AsyncFile
from benchfs.file_base import Mode, parse_mode
from benchfs.holds import Holds
from benchfs.inode import READ, WRITE, FileType, home_group
from benchfs.inode_handle import InodeHandle
from benchfs.instance import Endpoints, find
from benchfs.layout import check_chunk_size
from benchfs.links import LinkMethods
from benchfs.loans import LocalChunks
from benchfs.namespace import FoundLinkError, Names, Place
from benchfs.not_opened import NOT_OPENED, refuse
from benchfs.open_inodes import OpenInodes
from benchfs.operations import Connected
from benchfs.paths import PathLike, parse
from benchfs.quotas import QuotaMethods
from benchfs.reading import ChunkReader, SegmentReader
from benchfs.rpc.handshake import CLIENT_ID_BYTES
from benchfs.rpc.messages import (
    AccessReply,
    Attributes,
    LayoutRecord,
    Open,
    OpenInode,
    OpenReply,
)
from benchfs.rpc.transports.base import TransportUnavailableError
from benchfs.rpc.transports.choose import Engines, choose
from benchfs.session import Session
from benchfs.settings import load
from benchfs.stats import directory_total
from benchfs.user import User
from benchfs.writing import WriteBehind
from benchfs.xattrs import XattrMethods

FILE_MODE = 0o666


class AsyncClient(DirectoryMethods, LinkMethods, XattrMethods, QuotaMethods, CheckMethods):
    """One client of one cluster, used from one event loop.

    `cluster`: a URL `benchfs://host:port[,host:port...]`, an instance's name or directory; the
    default is the one instance running on this host. `secret_file`: of a cluster given by URL.
    `timeout` in seconds bounds every operation. `cache_bytes` bounds the chunk cache, 0 is none;
    `in_flight_bytes` what is read, and what is written, at the same time;
    `attribute_seconds` is how long directories and sizes are believed, 0: always ask.
    `local_reads`: read chunks of nodes on this host from their files directly. `user`: whom the
    client acts for, None: the user of this process; root may state another. `engines` and
    `endpoints`, of a simulation, take the place of what `transport` and `cluster` would find.

    What else is None comes from the environment, the file of settings, or is the default
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
        user: User | None = None,
        engines: Engines | None = None,
        endpoints: Endpoints | None = None,
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
        self.user = user or User.current()
        self._settings = settings
        self._timeout = settings.timeout
        self._attribute_seconds = settings.attribute_seconds
        self._local_reads = settings.local_reads
        try:
            self._engines = engines or choose(settings.transport)
        except TransportUnavailableError as exc:
            text = exc.strerror or ""
            raise error(errno.EOPNOTSUPP, "connect", settings.cluster, text=text) from exc
        self._env = env or system_env()
        self._endpoints = endpoints
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
        endpoints = self._endpoints
        if endpoints is None:
            endpoints = await find(self._settings.cluster, self._settings.secret_file)
        session = Session(self._env.rng.token_bytes(CLIENT_ID_BYTES))
        cluster = Cluster(endpoints, self._engines, self._env, session, self.user)
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
        follow_symlinks: bool = True,
    ) -> AsyncFile:
        """Open a file; always binary. `chunk_size` in bytes and `permissions` are for a new one.

        As with os.open, bits of the process's umask are taken from `permissions`.
        Raises FileNotFoundError, FileExistsError (mode x), IsADirectoryError, PermissionError,
        ValueError; OSError with ELOOP for a symbolic link that is not to be followed, ENXIO for a
        socket and EOPNOTSUPP for a FIFO.
        """
        how = parse_mode(mode)
        connected, parsed = self._use(), parse(path, "open")
        intent = connected.intent("open", parsed)
        size = chunk_size or connected.cluster.chunk_size
        check_chunk_size(size)
        # files start in different groups, so that first chunks are spread over all nodes
        first = self._env.rng.randrange(connected.cluster.map.group_count)
        wanted = (READ if how.read else 0) | (WRITE if how.write else 0)
        number = connected.holds.begin(parsed.display)

        async def act(place: Place) -> tuple[OpenReply, memoryview | None]:
            if place.directory and how.create:
                if place.name:
                    await connected.names.require_search(intent, place.parent)
                code = errno.EEXIST if how.exclusive and not place.name else errno.EISDIR
                raise error(code, "open", parsed.display)
            if place.directory:
                ino = (await connected.names.attributes(intent, place)).ino
                await refuse(connected.cluster, intent, ino, FileType.DIRECTORY, wanted)
            request = Open(
                place.parent,
                place.name,
                how.create,
                how.exclusive,
                permissions & ~self._umask,
                self.user.uid,
                self.user.gid,
                LayoutRecord(size, first, ()),
                wanted,
                number,
                how.write,
                how.brings,
            )
            call = connected.cluster.mutate if how.create else connected.cluster.call
            gone = 0
            while True:
                answer = await call(intent, place.group, request)
                opened = answer.message
                assert isinstance(opened, OpenReply)
                if opened.type == FileType.SYMLINK and follow_symlinks:
                    raise FoundLinkError(opened.ino)
                if opened.attributes is not None or opened.type in NOT_OPENED:
                    return opened, answer.payload
                try:
                    return await elsewhere(opened)
                except NotFoundError:  # something else was renamed over it meanwhile, or it is lost
                    if opened.ino == gone:
                        raise
                    gone = opened.ino

        async def elsewhere(opened: OpenReply) -> tuple[OpenReply, memoryview | None]:
            request = OpenInode(opened.ino, number, how.write, wanted, how.brings)
            answer = await connected.cluster.call(intent, home_group(opened.ino), request)
            assert isinstance(answer.message, AccessReply)
            attributes, capability, checks = answer.message
            found = opened._replace(attributes=attributes, capability=capability, checks=checks)
            return found, answer.payload

        try:
            found, content = await connected.names.at(intent, parsed, act, creates=how.create)
            if found.type in NOT_OPENED:
                kind = FileType(found.type)
                await refuse(connected.cluster, intent, found.ino, kind, wanted)
            attributes = found.attributes
            assert attributes is not None
            held = connected.cluster.hold_capability(found.ino, found.capability)
            file = connected.open_file(attributes, how, parsed.display, number, held)
            file.inode.bring(attributes.change, found.checks, content)
        finally:
            connected.holds.end(number)
        try:
            if how.truncate and not found.created:
                await file.truncate(0)
            if how.append and file.inode.unsettled:  # the end is that of what this client wrote
                await file.seek(0, os.SEEK_END)
        except BaseException:
            await file.close()
            raise
        return file

    async def read_bytes(self, path: PathLike) -> bytes:
        """The whole content of a file."""
        async with await self.open(path, "rb") as file:
            return await file.read()

    async def write_bytes(self, path: PathLike, data: bytes) -> int:
        """Make `data` the whole content of a file; returns its length."""
        async with await self.open(path, "wb") as file:
            return await file.write(data)

    async def truncate(self, path: PathLike, size: int) -> None:
        """Set a file's size in bytes, up or down. OSError with EINVAL for a FIFO or a socket."""
        try:
            file = await self.open(path, "r+b")
        except BenchFSError as exc:
            if exc.errno in {errno.EACCES, *NOT_OPENED.values()}:
                found = await self._attributes("truncate", path, follow=True)
                if found.type in {FileType.FIFO, FileType.SOCKET}:
                    raise error(errno.EINVAL, "truncate", path, text=str(exc)) from exc
            raise
        async with file:
            await file.truncate(size)

    async def copy_file_range(
        self,
        src: AsyncFile,
        dst: AsyncFile,
        count: int,
        offset_src: int | None = None,
        offset_dst: int | None = None,
    ) -> int:
        """As os.copy_file_range: the nodes copy. See `AsyncFile.copy_range`."""
        return await src.copy_range(dst, count, offset_src, offset_dst)

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
    def requests(self) -> int:
        """Requests sent to nodes since the client connected, those in the background too."""
        return self._use().cluster.requests

    @property
    def local_hits(self) -> int:
        """Reads that were served from a chunk file directly, since the client connected."""
        hits: int = self._use().local_hits
        return hits

    @property
    def attribute_seconds(self) -> float:
        """How long directories and sizes are believed."""
        return self._attribute_seconds

    @property
    def by_inode(self) -> ByInode:
        """Operations by inode number instead of path, for a mount."""
        return self._use().by_inode

    # ------------------------------------------------------------ inside

    def _use(self) -> _Connected:
        if self._connected is None:
            raise ValueError("the client is not connected: use `async with`, or `connect()`")
        return self._connected

    async def _make_file(self, path: PathLike, permissions: int) -> None:
        file = await self.open(path, "x", permissions=permissions, follow_symlinks=False)
        await file.close()


class _Connected(Connected):
    """What a client has while it is connected."""

    def __init__(self, client: AsyncClient, cluster: Cluster, *, local_reads: bool) -> None:
        super().__init__(cluster, Names(cluster, client._attribute_seconds), client._timeout)
        self._client = client
        self._local = LocalChunks(cluster) if local_reads else None
        self._chunks = ChunkReader(cluster, client._read_budget, self._local)
        self._segments = SegmentReader(self._chunks, client.cache)
        self._files: dict[InodeHandle, AsyncFile] = {}
        self._access_times = AccessTimes(cluster, client._env)
        self.holds = Holds(cluster)
        self.by_inode = ByInode(self, OpenInodes(self, client._env))

    @property
    def local_hits(self) -> int:
        return 0 if self._local is None else self._local.hits

    async def write_out(self, ino: int) -> bool:
        if not self.holds.handles(ino):
            return False
        writing = [file for file in self._files.values() if file.holds_back(ino)]
        for file in writing:
            await file.flush()
        return bool(writing)

    def open_file(
        self,
        attributes: Attributes,
        mode: Mode,
        path: str,
        number: int,
        held: Capabilities | None,
        *,
        writing: bool | None = None,
    ) -> AsyncFile:
        """The file that the open `number` found. See `Holds`.

        `writing`: whether it is held for writing, by default as `mode` says.
        """
        client = self._client
        inode = InodeHandle(self.cluster, attributes, path, held)
        client.cache.admit(inode.ino, attributes.change)
        kind = AppendBehind if mode.append else WriteBehind
        writes = kind(
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
            partial(self._closed, inode),
        )
        self._files[inode] = file
        self.holds.add(inode, number, writes=mode.write if writing is None else writing)
        return file

    def _closed(self, inode: InodeHandle) -> None:
        file = self._files.pop(inode)
        self.holds.drop(inode)
        if file.was_read:
            self._access_times.note(inode.attributes)

    async def close(self) -> None:
        failure: BenchFSError | None = None
        try:
            for file in list(self._files.values()):
                try:
                    await file.close()
                except BenchFSError as exc:
                    failure = failure or exc
            await self._access_times.close()
            await self.holds.close()
            await self._segments.close()
        finally:  # also when the caller does not wait for it
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
