"""Copying inside the cluster, file by file; what `cp` does, and `mv` when a rename cannot."""

from __future__ import annotations

import stat

from benchfs.client import AsyncClient

PIECE_BYTES = 4 * 1024 * 1024


async def copy_tree(fs: AsyncClient, source: str, target: str) -> int:
    """Copy a file or directory with modes and times; returns how many files there were."""
    found = await fs.stat(source)
    times = (found.st_atime_ns, found.st_mtime_ns)
    count = 0
    if stat.S_ISDIR(found.st_mode):
        await fs.makedirs(target, exist_ok=True)
        async for entry in fs.scandir(source):
            count += await copy_tree(fs, entry.path, f"{target.rstrip('/')}/{entry.name}")
        await fs.chmod(target, stat.S_IMODE(found.st_mode))
    else:
        count = 1
        mode = stat.S_IMODE(found.st_mode)
        async with (
            await fs.open(source) as reader,
            await fs.open(target, "wb", permissions=mode) as writer,
        ):
            while data := await reader.read(PIECE_BYTES):
                await writer.write(data)
    await fs.utime(target, ns=times)
    return count


async def into(fs: AsyncClient, source: str, target: str) -> str:
    """`target`, or the source's name in it if it is a directory."""
    if await fs.isdir(target):
        return f"{target.rstrip('/')}/{source.rstrip('/').rpartition('/')[2]}"
    return target
