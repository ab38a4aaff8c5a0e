"""A local directory that takes paths as a file system of its own would: the oracle of the tests.

One thread does all its work. It has a root directory of its own (unshare, chroot), so that absolute
symbolic links and `..` mean here what they mean in BenchFS, and the rest of the process keeps the
usual one. Only root may do that.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import stat
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from benchfs import User

Result = TypeVar("Result")
CLONE_FS = 0x200
AT_FDCWD = -100
FALLOCATE = {"": 0, "keep_size": 1, "punch_hole": 3, "zero_range": 16}
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
LOCK_TYPES = {
    fcntl.LOCK_SH: fcntl.F_RDLCK,
    fcntl.LOCK_EX: fcntl.F_WRLCK,
    fcntl.LOCK_UN: fcntl.F_UNLCK,
}
SYSTEM_CALLS = {
    "x86_64": {"setgroups": 116, "setresuid": 117, "setresgid": 119},
    "aarch64": {"setgroups": 159, "setresuid": 147, "setresgid": 149},
}
READ_BYTES = 1 << 20


class LocalDirectory:
    """Calls functions of `os` in a thread for which `root` is the root directory."""

    def __init__(self, root: Path) -> None:
        self._thread = ThreadPoolExecutor(1, initializer=_enter, initargs=(root,))

    def call(self, function: Callable[..., Result], *arguments: object, **named: object) -> Result:
        """What `function` returns or raises there."""
        return self._thread.submit(function, *arguments, **named).result()

    def call_as(
        self, user: User, function: Callable[..., Result], *arguments: object, **named: object
    ) -> Result:
        """What `function` returns or raises there for a user."""
        return self._thread.submit(_act_as, user, function, *arguments, **named).result()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()


def _enter(root: Path) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(CLONE_FS):
        raise OSError(ctypes.get_errno(), "unshare")
    os.chroot(root)
    os.chdir("/")


def _act_as(
    user: User, function: Callable[..., Result], *arguments: object, **named: object
) -> Result:
    """Only this thread becomes the user: the functions of `os` would change the whole process."""
    if user.uid == 0:
        return function(*arguments, **named)
    _system_call("setgroups", len(user.groups), (ctypes.c_uint32 * len(user.groups))(*user.groups))
    _system_call("setresgid", user.gid, user.gid, 0)
    _system_call("setresuid", user.uid, user.uid, 0)
    try:
        return function(*arguments, **named)
    finally:
        _system_call("setresuid", 0, 0, 0)
        _system_call("setresgid", 0, 0, 0)
        _system_call("setgroups", 0, None)


def _system_call(name: str, *arguments: object) -> None:
    numbers = SYSTEM_CALLS[platform.machine()]
    if ctypes.CDLL(None, use_errno=True).syscall(numbers[name], *arguments):
        raise OSError(ctypes.get_errno(), name)


# ------------------------------------------------ what `os` has not, or does otherwise


def open_file(path: bytes, flags: int, mode: int = 0o666) -> int:
    """As os.open; a FIFO is not waited for: it is refused as BenchFS does. So is a directory."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind in {stat.S_IFIFO, stat.S_IFDIR}:
        os.close(descriptor)
        raise OSError(errno.EOPNOTSUPP if kind == stat.S_IFIFO else errno.EISDIR, "no file")
    return descriptor


def refuse_fifo(path: bytes, flags: int) -> None:
    """Raise as BenchFS does if it is a FIFO, which a writer without a reader could not open."""
    try:
        fifo = stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return
    if fifo:
        wanted = {os.O_RDONLY: os.R_OK, os.O_WRONLY: os.W_OK}.get(
            flags & os.O_ACCMODE, os.R_OK | os.W_OK
        )
        code = errno.EOPNOTSUPP if os.access(path, wanted) else errno.EACCES
        raise OSError(code, "a FIFO")


def read_file(path: bytes) -> bytes:
    """The whole content."""
    descriptor = open_file(path, os.O_RDONLY)
    try:
        return read_to_end(descriptor)
    finally:
        os.close(descriptor)


def read_to_end(descriptor: int) -> bytes:
    """From the position on."""
    parts = []
    while part := os.read(descriptor, READ_BYTES):
        parts.append(part)
    return b"".join(parts)


def restricts_sticky_directories() -> bool:
    """Whether the kernel does more for sticky directories than POSIX says."""
    names = ("protected_symlinks", "protected_regular", "protected_fifos")
    return any(Path("/proc/sys/fs", name).read_text() != "0\n" for name in names)


def content_of(descriptor: int) -> bytes:
    """The whole content of an open file, though it be open for writing only; nothing moves."""
    again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read_to_end(again)
    finally:
        os.close(again)


def link(source: bytes, target: bytes, *, follow_symlinks: bool) -> None:
    """As os.link is described: without a descriptor it follows no link, whatever it is told."""
    anywhere = os.open("/", os.O_PATH)
    try:
        os.link(source, target, src_dir_fd=anywhere, follow_symlinks=follow_symlinks)
    finally:
        os.close(anywhere)


def rename(old: bytes, new: bytes, flags: int) -> None:
    """As renameat2: `flags` 0, RENAME_NOREPLACE, RENAME_EXCHANGE."""
    if ctypes.CDLL(None, use_errno=True).renameat2(AT_FDCWD, old, AT_FDCWD, new, flags):
        raise OSError(ctypes.get_errno(), "renameat2")


def fallocate(descriptor: int, how: str, offset: int, size: int) -> None:
    """As fallocate(2); `how`: one of FALLOCATE, or nothing."""
    library = ctypes.CDLL(None, use_errno=True)
    library.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if library.fallocate(descriptor, FALLOCATE[how], offset, size):
        raise OSError(ctypes.get_errno(), "fallocate")


def lock_range(descriptor: int, kind: int, offset: int, length: int) -> None:
    """Lock or unlock a range for the open file, not for the process, without waiting."""
    lock = struct.pack("hhqqi4x", LOCK_TYPES[kind], os.SEEK_SET, offset, length, 0)
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)


class Kinds(NamedTuple):
    """What a directory says of an entry."""

    is_dir: bool
    is_file: bool
    is_symlink: bool


def scan(path: bytes) -> dict[bytes, Kinds]:
    """The entries of a directory."""
    with os.scandir(path) as entries:
        return {
            entry.name: Kinds(
                entry.is_dir(follow_symlinks=False),
                entry.is_file(follow_symlinks=False),
                entry.is_symlink(),
            )
            for entry in entries
        }


def walk(path: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    """All that is below a directory, by name; links are not followed."""
    with os.scandir(path) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        yield entry.path, entry.stat(follow_symlinks=False)
        if entry.is_dir(follow_symlinks=False):
            yield from walk(entry.path)


def remove_all(path: bytes) -> None:
    """Empty a directory."""
    for inside, found in reversed(list(walk(path))):
        (os.rmdir if stat.S_ISDIR(found.st_mode) else os.unlink)(inside)
