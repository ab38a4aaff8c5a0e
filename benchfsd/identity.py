"""Whose data directory this is: the superblock, and the lock that lets one daemon use it.

A directory belongs to one node of one cluster for good. It is refused if it belongs to another,
if another daemon uses it, and if it holds things but no superblock: an empty directory may be a
disk that is not mounted, a full one somebody else's. The superblock also tells how the last
daemon ended, so that the stores know what to believe.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from benchfs.env import Clock

# Of everything in the directory. It changes with every row or file that a daemon before could not
# read, or would read as something else; a daemon reads its own format only.
FORMAT = 3
SUPERBLOCK = "superblock"
_NEW_SUPERBLOCK = "superblock.new"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MAX_BYTES = 4096
# What an otherwise empty directory may hold: what a file system is made with, and what a daemon
# leaves behind that ended before it had a superblock.
_NOTHING = frozenset({"lost+found", _NEW_SUPERBLOCK})


class IdentityError(Exception):
    """The data directory cannot be used; the text says why, and what can be done."""


@dataclass(frozen=True, slots=True)
class Superblock:
    """What is written in the directory. `clean`: the last daemon stopped in order."""

    format: int
    cluster_id: str
    node_id: str
    incarnation: int  # tells this store from an earlier one of the same node that was lost
    mode: str
    boot_id: str  # of the machine's start in which the last daemon ran
    clean: bool
    pid: int  # of the daemon that uses the directory, or used it last


class Identity:
    """A data directory, locked for this process. Made by `Identity.open`."""

    def __init__(
        self, directory: Path, descriptor: int, superblock: Superblock, last: Superblock | None
    ) -> None:
        self.directory = directory
        self.superblock = superblock
        self._last = last
        self._descriptor = descriptor

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        cluster_id: str,
        node_id: str,
        mode: str,
        clock: Clock,
        boot_id: str | None = None,
    ) -> Self:
        """Lock `directory`, which is made if missing, for this node of this cluster.

        `boot_id`: None for the machine's. Raises IdentityError. Until `mark_clean` the directory
        counts as in use, or as left by a daemon that was killed.
        """
        boot_id = boot_id or _BOOT_ID.read_text().strip()
        descriptor = _open_directory(directory)
        try:
            _lock(directory, descriptor)
            last = _read(directory, descriptor)
            if last is None:
                _check_empty(directory, descriptor)
            else:
                _check_same(directory, last, cluster_id, node_id, mode)
            _make_private(directory, descriptor)
            superblock = Superblock(
                format=FORMAT,
                cluster_id=cluster_id,
                node_id=node_id,
                incarnation=clock.time_ns() if last is None else last.incarnation,
                mode=mode,
                boot_id=boot_id,
                clean=False,
                pid=os.getpid(),
            )
            _write(directory, descriptor, superblock)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(directory, descriptor, superblock, last)

    @property
    def incarnation(self) -> int:
        """Of this store: given when the directory was made, never changed."""
        return self.superblock.incarnation

    @property
    def is_new(self) -> bool:
        """Whether there was nothing in the directory before."""
        return self._last is None

    @property
    def clean_stop(self) -> bool:
        """Whether the last daemon stopped in order, or there was none."""
        return self._last is None or self._last.clean

    @property
    def needs_check(self) -> bool:
        """Whether the machine may have ended while a daemon ran: nothing is to be believed."""
        last = self._last
        return last is not None and not last.clean and last.boot_id != self.superblock.boot_id

    def mark_clean(self) -> None:
        """Write down that this daemon stops in order. Nothing may be stored afterwards."""
        self.superblock = replace(self.superblock, clean=True)
        _write(self.directory, self._descriptor, self.superblock)

    def close(self) -> None:
        """Let go of the directory. Twice is harmless."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _open_directory(directory: Path) -> int:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as problem:
        raise IdentityError(f"data directory {directory} cannot be used: {problem}") from problem


def _lock(directory: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise IdentityError(
            f"data directory {directory} is in use by another daemon{_user(directory, descriptor)}"
        ) from None
    except OSError as problem:
        raise IdentityError(f"data directory {directory} cannot be locked: {problem}") from problem


def _user(directory: Path, descriptor: int) -> str:
    try:
        superblock = _read(directory, descriptor)
    except IdentityError:
        return ""
    return f" (node {superblock.node_id}, process {superblock.pid})" if superblock else ""


def _read(directory: Path, descriptor: int) -> Superblock | None:
    try:
        file = os.open(SUPERBLOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise IdentityError(f"superblock of {directory} cannot be read: {problem}") from problem
    try:
        fields = json.loads(os.read(file, _MAX_BYTES))
        if fields["format"] != FORMAT:
            raise IdentityError(
                f"data directory {directory} has format {fields['format']}, "
                f"and this version of BenchFS reads format {FORMAT} only: name a new directory, "
                "or copy the files out with the version that wrote them (`benchfs get`) first"
            )
        superblock = Superblock(**fields)
    except (ValueError, TypeError, KeyError) as problem:
        raise IdentityError(f"superblock of {directory} is damaged: {problem!r}") from None
    finally:
        os.close(file)
    for field, expected in Superblock.__annotations__.items():
        value = getattr(superblock, field)
        if type(value).__name__ != expected:
            raise IdentityError(f"superblock of {directory} is damaged: {field} is {value!r}")
    return superblock


def _check_empty(directory: Path, descriptor: int) -> None:
    found = sorted(set(os.listdir(descriptor)) - _NOTHING)
    if found:
        raise IdentityError(
            f"data directory {directory} has no superblock, but is not empty (it holds "
            f"{found[0]!r}): name a new directory, or an empty one"
        )


def _check_same(
    directory: Path, last: Superblock, cluster_id: str, node_id: str, mode: str
) -> None:
    if last.cluster_id != cluster_id:
        raise IdentityError(
            f"data directory {directory} belongs to cluster {last.cluster_id}, not {cluster_id}"
        )
    if last.node_id != node_id:
        raise IdentityError(
            f"data directory {directory} belongs to node {last.node_id}, not {node_id}"
        )
    if last.mode != mode:
        raise IdentityError(
            f"data directory {directory} was made with mode {last.mode}, not {mode}: "
            "what it holds was not stored under the promise of another mode"
        )


def _make_private(directory: Path, descriptor: int) -> None:
    if stat.S_IMODE(os.fstat(descriptor).st_mode) == 0o700:
        return
    try:
        os.fchmod(descriptor, 0o700)
    except OSError as problem:
        raise IdentityError(
            f"data directory {directory} is open to others, and cannot be closed: {problem}"
        ) from problem


def _write(directory: Path, descriptor: int, superblock: Superblock) -> None:
    """All of it or nothing, whenever the machine ends."""
    content = json.dumps(asdict(superblock), indent=1).encode() + b"\n"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file = os.open(_NEW_SUPERBLOCK, flags, 0o600, dir_fd=descriptor)
        try:
            if os.write(file, content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file)
        finally:
            os.close(file)
        os.rename(_NEW_SUPERBLOCK, SUPERBLOCK, src_dir_fd=descriptor, dst_dir_fd=descriptor)
        os.fsync(descriptor)
    except OSError as problem:
        raise IdentityError(f"superblock of {directory} cannot be written: {problem}") from problem
