"""A registry in a directory, local or shared between hosts. It needs no server.

    <root>/group,42/@6/value        a revision that will be pruned
    <root>/group,42/@7/value        the newest value of the key "group/42"
    <root>/group,42/@7/next-1f../   somebody prepares revision 8

A swap prepares the next revision *inside* the directory of the one that it replaces, and
renames it to its place. rename(2) is atomic, fails if the place is taken (so one of many
wins) and fails if the replaced revision was pruned. The last is why it is not link(2) of a
file to the next number: there, a writer that slept while others went on and old numbers were
pruned would find its number free and win with a stale decision. Values are complete and on
disk before they can be seen. On a shared file system a read may be some seconds old; a swap
based on it fails, which is all that matters.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from benchfs.env import Env
from benchfs.errors import error
from benchfs.registry.base import ABSENT, MAX_VALUE, Versioned

KEEP_REVISIONS = 4
"""Revisions left when older ones are pruned: a reader has time to open what it found."""

READ_ATTEMPTS = 100  # each fails only if KEEP_REVISIONS swaps happened meanwhile
MAX_KEY = 200  # bytes of a key's name on disk, below the 255 of file systems
POLL_INTERVAL_S = 0.5
DIRECTORY_MODE = 0o700
FILE_MODE = 0o600

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-")
_Result = TypeVar("_Result")


class DirectoryRegistry:
    """The registry in the directory `root`, which is made when the first value is written.

    `interval` is how many seconds `watch` waits between two looks; `sleep` how it waits.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        env: Env,
        *,
        interval: float = POLL_INTERVAL_S,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._root = Path(root)
        self._rng = env.rng
        self._interval = interval
        self._sleep = sleep

    async def read(self, key: str) -> Versioned:
        """The newest value of the key, or ABSENT."""
        folder = self._folder(key)
        return await self._in_thread("read registry", folder, partial(_read, folder))

    async def cas(self, key: str, revision: int, value: bytes) -> bool:
        """Make `value` the revision after `revision`; False if there is a later one already."""
        folder = self._folder(key)
        if revision < 0:
            raise ValueError(f"revision {revision} of key {key}: must not be negative")
        if len(value) > MAX_VALUE:
            raise ValueError(f"value of key {key}: {len(value)} bytes, limit {MAX_VALUE}")
        token = self._rng.token_bytes(8).hex()
        swap = partial(_swap, folder, revision, value, token)
        return await self._in_thread("write registry", folder, swap)

    async def list(self, prefix: str) -> tuple[str, ...]:
        """All keys with a value that begin with `prefix`, sorted."""
        return tuple(sorted(await self._revisions(prefix)))

    async def watch(self, prefix: str) -> AsyncGenerator[str, None]:
        """Keys that begin with `prefix`: first all that have a value, then each that changed."""
        told: dict[str, int] = {}
        while True:
            found = await self._revisions(prefix)
            for key in sorted(found):
                # A listing can miss what is renamed while it is made: never back to less.
                if found[key] > told.get(key, 0):
                    told[key] = found[key]
                    yield key
            await self._sleep(self._interval)

    async def _revisions(self, prefix: str) -> dict[str, int]:
        scan = partial(_scan, self._root, prefix)
        return await self._in_thread("list registry", self._root, scan)

    def _folder(self, key: str) -> Path:
        return self._root / _encode(key)

    async def _in_thread(self, operation: str, path: Path, work: Callable[[], _Result]) -> _Result:
        # A directory on a server that is gone can block for ever: the caller's deadline counts.
        try:
            return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
        except OSError as problem:
            code = problem.errno or errno.EIO
            raise error(code, operation, path, text=problem.strerror or "") from problem


def _encode(key: str) -> str:
    """The directory name of a key: [a-z0-9.-] as they are, "/" as ",", all else as _xx."""
    if not all(key.split("/")):
        raise ValueError(f"registry key {key!r}: empty, or has an empty part")
    name = "".join(
        chr(byte) if chr(byte) in _PLAIN else "," if byte == ord("/") else f"_{byte:02x}"
        for byte in key.encode()
    )
    if name[0] == ".":
        name = f"_{ord('.'):02x}{name[1:]}"  # dots in front are for what is not a key
    if len(name) > MAX_KEY:
        raise ValueError(f"registry key {key!r}: {len(name)} bytes on disk, limit {MAX_KEY}")
    return name


def _decode(name: str) -> str | None:
    """The key of a directory name; None if it is nobody's."""
    plain = re.sub("_([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), name.replace(",", "/"))
    try:
        key = plain.encode("latin-1").decode()
        return key if _encode(key) == name else None
    except ValueError:
        return None


def _scan(root: Path, prefix: str) -> dict[str, int]:
    """The newest revision of each key that begins with `prefix` and has a value."""
    found: dict[str, int] = {}
    with suppress(FileNotFoundError):
        for name in os.listdir(root):  # noqa: PTH208 (a Path for each of 65,536 keys costs more)
            key = _decode(name)
            if key is not None and key.startswith(prefix):
                newest = max(_numbers(root / name), default=0)
                if newest > 0:
                    found[key] = newest
    return found


def _numbers(folder: Path) -> list[int]:
    """The revisions in the directory of a key, in any order."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 (see above)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [int(name[1:]) for name in names if name[0] == "@" and name[1:].isdecimal()]


def _read(folder: Path) -> Versioned:
    for _ in range(READ_ATTEMPTS):
        newest = max(_numbers(folder), default=0)
        if newest == 0:
            return ABSENT
        with suppress(FileNotFoundError):  # pruned since: there is a newer one
            return Versioned(newest, (folder / f"@{newest}" / "value").read_bytes())
    raise OSError(errno.EBUSY, f"changed {READ_ATTEMPTS} times while it was read")


def _swap(folder: Path, revision: int, value: bytes, token: str) -> bool:
    if revision == 0:
        _make_key(folder, token)
    prepared = folder / f"@{revision}" / f"next-{token}"
    try:
        prepared.mkdir(DIRECTORY_MODE)
        _write(prepared / "value", value)
        _sync(prepared)
        identity = prepared.stat().st_ino
    except FileNotFoundError:
        return False  # no such revision: pruned, or never was
    except OSError:
        shutil.rmtree(prepared, ignore_errors=True)
        raise
    target = folder / f"@{revision + 1}"
    try:
        prepared.rename(target)
    except OSError as problem:
        if problem.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOENT):
            raise
        if not _is_same(target, identity):
            shutil.rmtree(prepared, ignore_errors=True)
            return False
        # It is ours: over NFS a repeated request can fail although the first one did it.
    _sync(folder)
    _prune(folder, revision + 1)
    return True


def _make_key(folder: Path, token: str) -> None:
    """Make the directory of a key, with revision 0 in it, unless it is there.

    Both at once: revision 0 must not come back after it was pruned.
    """
    if folder.exists():
        return
    folder.parent.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
    prepared = folder.parent / f".new-{token}"
    prepared.mkdir(DIRECTORY_MODE)
    (prepared / "@0").mkdir(DIRECTORY_MODE)
    _sync(prepared)
    try:
        prepared.rename(folder)
    except OSError as problem:
        shutil.rmtree(prepared, ignore_errors=True)
        if problem.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOENT):
            raise
    _sync(folder.parent)


def _is_same(target: Path, identity: int) -> bool:
    try:
        return target.stat().st_ino == identity
    except FileNotFoundError:
        return False


def _prune(folder: Path, newest: int) -> None:
    """Remove old revisions, each from its name before from the disk. Others may do the same.

    Strictly the oldest first: while a revision is there, the one that replaced it must be, too,
    or a late writer would find that place free. What fails is left for the next time.
    """
    with suppress(OSError):
        for trash in folder.glob(".old-*"):
            shutil.rmtree(trash, ignore_errors=True)
        for number in sorted(_numbers(folder)):
            if number > newest - KEEP_REVISIONS:
                break
            trash = folder / f".old-{number}"
            with suppress(FileNotFoundError):  # somebody else removed it
                (folder / f"@{number}").rename(trash)
            shutil.rmtree(trash, ignore_errors=True)


def _write(path: Path, value: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(value)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    """Put the names in a directory on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
