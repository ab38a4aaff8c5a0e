"""What a tree in BenchFS and one in a local directory have to have in common."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

import benchfs
from tests.cluster import local_directory as local

# Times before 2001 are what a test has set; others are a clock's, and differ.
SET_BY_TEST_NS = 10**18


class Seen(NamedTuple):
    """What stat has to tell alike: of directories neither size nor count of links."""

    mode: str
    uid: int
    gid: int
    nlink: int
    size: int
    mtime_ns: int


def seen(found: os.stat_result) -> Seen:
    directory = stat.S_ISDIR(found.st_mode)
    return Seen(
        stat.filemode(found.st_mode),
        found.st_uid,
        found.st_gid,
        0 if directory else found.st_nlink,
        0 if directory else found.st_size,
        min(SET_BY_TEST_NS, found.st_mtime_ns),
    )


class Item(NamedTuple):
    """All that a tree has under one path."""

    seen: Seen
    content: bytes
    attributes: tuple[tuple[str, bytes], ...]
    same_as: bytes  # the first path, by name, of the same inode


def tree_here(top: bytes) -> dict[bytes, Item]:
    items: dict[bytes, Item] = {}
    first: dict[int, bytes] = {}
    for path, found in local.walk(top):
        kind = stat.S_IFMT(found.st_mode)
        data = b""
        if kind == stat.S_IFREG:
            data = local.read_file(path)
        elif kind == stat.S_IFLNK:
            data = os.readlink(path)
        values: list[tuple[str, bytes]] = []
        if kind in {stat.S_IFREG, stat.S_IFDIR}:
            values = [(name, os.getxattr(path, name)) for name in sorted(os.listxattr(path))]
        same_as = first.setdefault(found.st_ino, path)
        items[path] = Item(seen(found), data, tuple(values), same_as)
    return items


async def tree_there(fs: benchfs.AsyncClient, top: bytes) -> dict[bytes, Item]:
    items: dict[bytes, Item] = {}
    first: dict[int, bytes] = {}

    async def walk(directory: bytes) -> None:
        async for entry in fs.scandir(directory):
            path = os.path.join(directory, os.fsencode(entry.name))
            found = await entry.stat(follow_symlinks=False)
            kind = stat.S_IFMT(found.st_mode)
            data = b""
            if kind == stat.S_IFREG:
                data = await fs.read_bytes(path)
            elif kind == stat.S_IFLNK:
                data = os.fsencode(await fs.readlink(path))
            values: list[tuple[str, bytes]] = []
            if kind in {stat.S_IFREG, stat.S_IFDIR}:
                values = [
                    (name, await fs.getxattr(path, name)) for name in await fs.listxattr(path)
                ]
            same_as = first.setdefault(found.st_ino, path)
            items[path] = Item(seen(found), data, tuple(values), same_as)
            if kind == stat.S_IFDIR:
                await walk(path)

    await walk(top)
    return items


async def scan_there(fs: benchfs.AsyncClient, path: bytes) -> dict[bytes, local.Kinds]:
    return {
        os.fsencode(entry.name): local.Kinds(entry.is_dir(), entry.is_file(), entry.is_symlink())
        async for entry in fs.scandir(path)
    }
