"""Copying trees in and out of a cluster: many files at once, verified on request.

Modes and times are kept. A symbolic link is copied as what it leads to; a loop of directories
is a failure like any other. A file that fails is in the result with its reason, and the others
go on. A file appears under its name when it is whole: until then it has a short name of its own
that ends in `.benchfs-part`, and is removed if it fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import xxhash

from benchfs.client import AsyncClient
from benchfs.env import Env, system_env
from benchfs.errors import error
from benchfs.paths import parse

FILES_AT_ONCE = 32
PIECE_BYTES = 1024 * 1024
PART_SUFFIX = ".benchfs-part"
OWNER_ONLY = 0o600  # of a file in the making, whoever may read the whole one

Progress = Callable[[int], None]  # bytes moved


@dataclass(slots=True)
class Result:
    """What a transfer did. `failures`: (path, reason)."""

    files: int = 0
    directories: int = 0
    bytes: int = 0
    seconds: float = 0.0
    failures: list[tuple[str, str]] = field(default_factory=list)


class Transfer:
    """One copy, in or out. `verify`: read both sides again and compare their hashes."""

    def __init__(
        self,
        fs: AsyncClient,
        *,
        verify: bool = False,
        progress: Progress = lambda _: None,
        env: Env | None = None,
    ) -> None:
        self._fs = fs
        self._env = env or system_env()
        self._verify = verify
        self._progress = progress
        self._result = Result()

    async def put(self, source: Path, target: str) -> Result:
        """Copy a local file or tree to `target` in the cluster."""
        started = time.monotonic()
        jobs: list[tuple[Path, str]] = []
        directories: list[tuple[str, os.stat_result]] = []
        if source.is_dir():
            await self._put_directories(source, target, jobs, directories)
        else:
            jobs.append((source, target))
        await self._all([(str(s), self._put_file(s, t)) for s, t in jobs])
        for place, found in reversed(directories):
            await self._fs.copystat(found, place)
        self._result.seconds = time.monotonic() - started
        return self._result

    async def get(self, source: str, target: Path) -> Result:
        """Copy a file or tree of the cluster to the local `target`."""
        started = time.monotonic()
        jobs: list[tuple[str, Path, os.stat_result]] = []
        found = await self._fs.stat(source)
        directories: list[tuple[Path, os.stat_result]] = []
        if stat.S_ISDIR(found.st_mode):
            await self._get_directories(source, target, found, jobs, directories)
        else:
            jobs.append((source, target, found))
        await self._all([(s, self._get_file(s, t, a)) for s, t, a in jobs])
        for path, attributes in reversed(directories):
            path.chmod(stat.S_IMODE(attributes.st_mode))
            os.utime(path, ns=(attributes.st_atime_ns, attributes.st_mtime_ns))
        self._result.seconds = time.monotonic() - started
        return self._result

    # ------------------------------------------------------------ in

    async def _put_directories(
        self,
        source: Path,
        target: str,
        jobs: list[tuple[Path, str]],
        directories: list[tuple[str, os.stat_result]],
    ) -> None:
        """Make the directories, and collect the files that go into them."""
        await self._fs.makedirs(target, exist_ok=True)
        pending = [(source, PurePosixPath(target), frozenset[tuple[int, int]]())]
        while pending:
            directory, place, above = pending.pop()
            self._result.directories += 1
            found = directory.stat()
            directories.append((str(place), found))
            above |= {(found.st_dev, found.st_ino)}
            try:
                entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
            except OSError as exc:
                self._result.failures.append((str(directory), str(exc)))
                continue
            for entry in entries:
                inside = place / entry.name
                if entry.is_dir():
                    below = entry.stat()
                    if (below.st_dev, below.st_ino) in above:
                        self._result.failures.append((entry.path, "a loop of symbolic links"))
                        continue
                    try:
                        await self._fs.mkdir(str(inside))
                    except FileExistsError as exc:
                        if not await self._fs.isdir(str(inside)):
                            self._result.failures.append((entry.path, str(exc)))
                            continue
                    pending.append((Path(entry.path), inside, above))
                elif entry.is_file():
                    jobs.append((Path(entry.path), str(inside)))
                else:
                    reason = "neither a file nor a directory, or a link that leads nowhere"
                    self._result.failures.append((entry.path, reason))

    async def _put_file(self, source: Path, target: str) -> None:
        fs = self._fs
        found = source.stat()
        parse(target, "put")
        part = str(PurePosixPath(target).with_name(self._part_name()))
        with source.open("rb", buffering=0) as reader:
            try:
                file = await fs.open(part, "xb", permissions=OWNER_ONLY)
            except OSError as exc:
                exc.filename = target  # the other name says nothing to anybody
                raise
            try:
                async with file:
                    while data := reader.read(PIECE_BYTES):
                        await file.write(data)
                        self._result.bytes += len(data)
                        self._progress(len(data))
                await fs.copystat(found, part)
                await fs.rename(part, target)
            except BaseException:
                with contextlib.suppress(OSError):  # what failed first is what is to be said
                    await fs.unlink(part)
                raise
        self._result.files += 1
        if self._verify:
            await self._compare(source, target)

    # ------------------------------------------------------------ out

    async def _get_directories(
        self,
        source: str,
        target: Path,
        found: os.stat_result,
        jobs: list[tuple[str, Path, os.stat_result]],
        directories: list[tuple[Path, os.stat_result]],
    ) -> None:
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            self._result.failures.append((source, str(exc)))
            return
        directories.append((target, found))
        self._result.directories += 1
        async for entry in self._fs.scandir(source):
            attributes = await entry.stat()
            place = target / entry.name
            if entry.is_dir():
                await self._get_directories(entry.path, place, attributes, jobs, directories)
            else:
                jobs.append((entry.path, place, attributes))

    async def _get_file(self, source: str, target: Path, found: os.stat_result) -> None:
        target = Path(os.path.realpath(target))  # a link stays, and what it leads to is replaced
        if target.exists() and not target.is_file() and not target.is_dir():
            with target.open("wb") as writer:  # a device or a pipe: it is written, never replaced
                await self._copy_out(source, writer, found.st_size)
            self._result.files += 1
            return
        part = target.with_name(self._part_name())
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
            with os.fdopen(descriptor, "wb") as writer:
                await self._copy_out(source, writer, found.st_size)
            part.chmod(stat.S_IMODE(found.st_mode))
            os.utime(part, ns=(found.st_atime_ns, found.st_mtime_ns))
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        self._result.files += 1
        if self._verify:
            await self._compare(target, source)

    async def _copy_out(self, source: str, writer: BinaryIO, size: int) -> None:
        buffer = bytearray(min(PIECE_BYTES, max(1, size)))
        view = memoryview(buffer)
        async with await self._fs.open(source) as file:
            while count := await file.readinto(buffer):
                writer.write(view[:count])
                self._result.bytes += count
                self._progress(count)

    # ------------------------------------------------------------ both

    def _part_name(self) -> str:
        """A name for a file in the making, short, and nobody else's."""
        return f".{self._env.rng.token_bytes(8).hex()}{PART_SUFFIX}"

    async def _all(self, jobs: list[tuple[str, Coroutine[object, object, None]]]) -> None:
        """Run the jobs, so many at once; failures of files are noted, not raised."""
        waiting = iter(jobs)

        async def work() -> None:
            for path, job in waiting:
                try:
                    await job
                except OSError as exc:
                    self._result.failures.append((path, str(exc)))

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(FILES_AT_ONCE, len(jobs))):
                tasks.create_task(work())

    async def _compare(self, local: Path, remote: str) -> None:
        ours, theirs = xxhash.xxh3_128(), xxhash.xxh3_128()
        with local.open("rb", buffering=0) as reader:
            while data := reader.read(PIECE_BYTES):
                ours.update(data)
        buffer = bytearray(PIECE_BYTES)
        async with await self._fs.open(remote) as file:
            while count := await file.readinto(buffer):
                theirs.update(memoryview(buffer)[:count])
        if ours.digest() != theirs.digest():
            raise error(5, "verify", remote, text=f"its content differs from {local}")
