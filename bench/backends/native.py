"""The `benchfs` backend: a cluster, by the asynchronous client."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from pathlib import Path

from benchfs.bench.backends.base import Attributes, Counters, Entry, NodeFigures
from benchfs.client import AsyncClient
from benchfs.clustermap import NodeEntry
from benchfs.file import AsyncFile

CREDENTIALS = struct.Struct("3i")  # pid, uid, gid of a unix socket's peer


class NativeFile:
    """An open file of a cluster; reads that follow each other are read ahead."""

    def __init__(self, file: AsyncFile) -> None:
        self._file = file
        self._position = 0
        self.fsync = file.fsync
        self.close = file.close

    async def write_at(self, data: memoryview, offset: int) -> None:
        """Write all of `data`, behind."""
        await self._file.pwrite(data, offset)

    async def read_at(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer`."""
        if offset != self._position:
            await self._file.seek(offset)
        count = await self._file.readinto(buffer)
        self._position = offset + count
        return count


class NativeBackend:
    """One client of the cluster. `local_reads`: read chunks of this host from their files."""

    def __init__(self, cluster: str | None, *, local_reads: bool) -> None:
        self._fs = AsyncClient(cluster, local_reads=local_reads)
        self.connect = self._fs.connect
        self.close = self._fs.close
        self.unlink = self._fs.unlink
        self.rmdir = self._fs.rmdir
        self.rename = self._fs.rename

    async def open(self, path: str, mode: str) -> NativeFile:
        """Open a file."""
        return NativeFile(await self._fs.open(path, mode))

    async def stat(self, path: str) -> Attributes:
        """Attributes, always asked for."""
        found = await self._fs.stat(path)
        return Attributes(found.st_size, found.st_mtime_ns)

    async def mkdir(self, path: str) -> None:
        """Make one directory."""
        await self._fs.mkdir(path)

    async def makedirs(self, path: str) -> None:
        """Make a directory and what is missing above it."""
        await self._fs.makedirs(path, exist_ok=True)

    async def entries(self, path: str) -> list[Entry]:
        """What is in a directory."""
        return [Entry(entry.path, entry.is_dir()) async for entry in self._fs.scandir(path)]

    async def rmtree(self, path: str) -> None:
        """Remove a directory with all that is in it."""
        with contextlib.suppress(FileNotFoundError):
            await self._fs.rmtree(path)

    async def sync(self) -> None:
        """A client cannot ask this of a cluster: OSError ENOTSUP."""
        raise OSError(errno.ENOTSUP, "a cluster has no sync of everything: use fsync")

    async def free_bytes(self, path: str) -> int:
        """What the nodes' disks can take."""
        found = await self._fs.statvfs("/")
        return found.f_bavail * found.f_frsize

    def counters(self) -> Counters:
        """The chunk cache, and reads of lent chunks."""
        cache = self._fs.cache
        return Counters(cache.hits, cache.misses, self._fs.local_hits)

    async def nodes(self) -> list[NodeFigures]:
        """Every node that answers, with its processor time where it is on this host."""
        entries = {node.node_id: node for node in self._fs.cluster_map.nodes}
        return [
            NodeFigures(
                status.node_id,
                status.reply.chunk_bytes,
                status.reply.chunks,
                status.reply.inodes,
                status.reply.rss_bytes,
                _cpu_seconds(entries[status.node_id]),
            )
            for status in await self._fs.status()
            if status.reply is not None
        ]


def _cpu_seconds(node: NodeEntry) -> float | None:
    """Processor time of the daemon, found by its unix socket; None if that is not here."""
    for address in node.addresses:
        path = address.removeprefix("unix://")
        if path == address or not Path(path).exists():
            continue
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1.0)
                probe.connect(path)
                found = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
            fields = Path(f"/proc/{CREDENTIALS.unpack(found)[0]}/stat").read_text().rpartition(")")
        except OSError:
            continue
        user, system = fields[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return None
