"""Copying inside the cluster, file by file; what `cp` does, and `mv` when a rename cannot.

Files and directories are told apart by inode, never by the spelling of a path: nothing is
copied onto itself, and no directory into itself.
"""

from __future__ import annotations

import errno
import os
import stat

from benchfs.client import AsyncClient
from benchfs.errors import error
from benchfs.paths import display, parse

PIECE_BYTES = 4 * 1024 * 1024
# From this size on the nodes copy among themselves; below it that takes more requests.
BY_NODES_BYTES = 1024 * 1024
COPY_BYTES = 64 * 1024 * 1024


async def copy(fs: AsyncClient, source: str, target: str) -> int:
    """Copy a file or directory with modes and times; returns how many files there were.

    Into `target` if that is a directory. Raises EINVAL where something would be copied onto or
    into itself, before anything is written.
    """
    place = await _into(fs, source, target)
    found = await fs.stat(source)
    await _check_apart(fs, "copy", source, found, place)
    return await _copy(fs, source, found, place)


async def move(fs: AsyncClient, source: str, target: str) -> bool:
    """Rename, into `target` if that is a directory; copy and remove where a rename is EXDEV.

    Returns whether it was a rename. Raises EINVAL as `copy` does, ENOTEMPTY for a directory in
    the place of another.
    """
    place = await _into(fs, source, target)
    found = await fs.stat(source)
    await _check_apart(fs, "move", source, found, place)
    try:
        await fs.rename(source, place)
        return True
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
    if stat.S_ISDIR(found.st_mode):
        if await fs.isdir(place):
            await fs.rmdir(place)  # as a rename does: only an empty one is replaced
        await _copy(fs, source, found, place)
        await fs.rmtree(source)
    else:
        await _copy(fs, source, found, place)
        await fs.unlink(source)
    return False


async def _copy(fs: AsyncClient, source: str, found: os.stat_result, target: str) -> int:
    count = 0
    if stat.S_ISDIR(found.st_mode):
        await fs.makedirs(target, exist_ok=True)
        async for entry in fs.scandir(source):
            place = f"{target.rstrip('/')}/{entry.name}"
            count += await _copy(fs, entry.path, await entry.stat(), place)
    else:
        there = await _stat(fs, target)
        if there is not None and there.st_ino == found.st_ino:
            raise error(errno.EINVAL, "copy", source, text=f"{target} is the same file")
        count = 1
        async with await fs.open(source) as reader, await fs.open(target, "wb") as writer:
            if found.st_size >= BY_NODES_BYTES:
                while await reader.copy_range(writer, COPY_BYTES):
                    pass
            while data := await reader.read(PIECE_BYTES):
                await writer.write(data)
    await fs.copystat(found, target)
    return count


async def _check_apart(
    fs: AsyncClient, operation: str, source: str, found: os.stat_result, target: str
) -> None:
    """Raise EINVAL if `target` is the source itself, by whatever spelling, or lies in it."""
    way: list[int] = []  # inodes from the root to the target, as far as it is there
    there: os.stat_result | None = None
    parts = parse(target, operation).parts
    for depth in range(len(parts) + 1):
        there = await _stat(fs, b"/" + b"/".join(parts[:depth]))
        if there is None:
            break
        if depth and parts[depth - 1] == b"..":
            way = way[:-2]
        way.append(there.st_ino)
    if stat.S_ISDIR(found.st_mode):
        if found.st_ino in way:
            raise error(errno.EINVAL, operation, source, text=f"{target} would be in itself")
    elif there is not None and there.st_ino == found.st_ino:
        raise error(errno.EINVAL, operation, source, text=f"{target} is the same file")


async def _into(fs: AsyncClient, source: str, target: str) -> str:
    """`target`, or the source's name in it if it is a directory."""
    if not await fs.isdir(target):
        return target
    parts = parse(source).parts
    if not parts or parts[-1] == b"..":
        raise error(errno.EINVAL, "copy", source, text="it ends in no name to use in the target")
    return f"{target.rstrip('/')}/{display(parts[-1])}"


async def _stat(fs: AsyncClient, path: str | bytes) -> os.stat_result | None:
    try:
        return await fs.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
