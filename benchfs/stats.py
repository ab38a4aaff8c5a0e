"""Attributes as Python's own types: os.stat_result, os.statvfs_result, directory entries."""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from benchfs.inode import FileType
from benchfs.paths import MAX_NAME
from benchfs.rpc.messages import Attributes, EntryRecord, StatusReply

_TYPE_BITS: dict[int, int] = {
    FileType.FILE: stat.S_IFREG,
    FileType.DIRECTORY: stat.S_IFDIR,
    FileType.SYMLINK: stat.S_IFLNK,
    FileType.FIFO: stat.S_IFIFO,
    FileType.SOCKET: stat.S_IFSOCK,
}
NANOSECONDS = 1_000_000_000
SECTOR_BYTES = 512
FRAGMENT_BYTES = 4096


def mode_of(attributes: Attributes) -> int:
    """`st_mode`: type and permission bits."""
    return _TYPE_BITS[attributes.type] | attributes.mode


def stat_result(attributes: Attributes) -> os.stat_result:
    """What os.stat would give; times with nanoseconds, `st_dev` 0."""
    atime_ns, mtime_ns, ctime_ns = attributes.atime_ns, attributes.mtime_ns, attributes.ctime_ns
    size = attributes.size
    first = (
        mode_of(attributes),
        attributes.ino,
        0,
        attributes.nlink,
        attributes.uid,
        attributes.gid,
        size,
        atime_ns // NANOSECONDS,
        mtime_ns // NANOSECONDS,
        ctime_ns // NANOSECONDS,
    )
    more: dict[str, object] = {
        "st_blksize": attributes.layout.chunk_size or FRAGMENT_BYTES,
        "st_blocks": -(-size // SECTOR_BYTES),
        "st_atime": atime_ns / NANOSECONDS,
        "st_mtime": mtime_ns / NANOSECONDS,
        "st_ctime": ctime_ns / NANOSECONDS,
        "st_atime_ns": atime_ns,
        "st_mtime_ns": mtime_ns,
        "st_ctime_ns": ctime_ns,
    }
    return os.stat_result(first, more)


def directory_total(nodes: Iterable[StatusReply]) -> os.statvfs_result:
    """Space of all nodes; nodes whose data is on one disk share its space, counted once.

    Of those, what the node with the least reserve may write counts.
    """
    disks: dict[str, StatusReply] = {}
    inodes = 0
    for node in nodes:
        known = disks.get(node.disk)
        if known is None or node.free_bytes > known.free_bytes:
            disks[node.disk] = node
        inodes += node.inodes
    total = sum(node.total_bytes for node in disks.values()) // FRAGMENT_BYTES
    free = sum(node.free_bytes for node in disks.values()) // FRAGMENT_BYTES
    limit = 2**63 - 1  # inodes are bounded by space only
    return os.statvfs_result(
        (
            FRAGMENT_BYTES,
            FRAGMENT_BYTES,
            total,
            free,
            free,
            limit,
            limit - inodes,
            limit,
            0,
            MAX_NAME,
        )
    )


class _Statter(Protocol):
    async def stat(self, path: str, *, follow_symlinks: bool = True) -> os.stat_result: ...


class DirEntry:
    """One entry of a directory, as os.DirEntry: `name`, `path`, and questions about it."""

    __slots__ = ("_client", "_entry", "_more", "name", "path")

    def __init__(
        self,
        name: str,
        path: str,
        entry: EntryRecord,
        client: _Statter,
        more: Callable[[], Awaitable[Attributes | None]] | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self._entry = entry
        self._client = client
        self._more = more

    def __repr__(self) -> str:
        return f"<DirEntry {self.name!r}>"

    def inode(self) -> int:
        """The inode number."""
        return self._entry.ino

    def is_dir(self) -> bool:
        """Whether it is a directory; a link to one is not. Needs no request."""
        return self._entry.type == FileType.DIRECTORY

    def is_file(self) -> bool:
        """Whether it is a file; a link to one is not. Needs no request."""
        return self._entry.type == FileType.FILE

    def is_symlink(self) -> bool:
        """Whether it is a symbolic link. Needs no request."""
        return self._entry.type == FileType.SYMLINK

    async def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Attributes: those that came with the entry, else asked for with those beside it."""
        if not (follow_symlinks and self.is_symlink()):
            attributes = self._entry.attributes
            if attributes is None and self._more is not None:
                attributes = await self._more()
            if attributes is not None:
                return stat_result(attributes)
        return await self._client.stat(self.path, follow_symlinks=follow_symlinks)
