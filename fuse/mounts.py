"""The mounts of this host: what the kernel's table says, the records of their processes, the end.

    <state>/mounts/<name>.pid   the process that serves the mount
    <state>/mounts/<name>.log   what it has to say

Nothing here looks into a mount: one whose process hangs or is gone can be ended too. Needs no
pyfuse3.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import select
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import platformdirs
import xxhash

from benchfs.errors import error

TABLE = Path("/proc/self/mountinfo")
TYPE = "fuse.benchfs"
NAME_CHARACTERS = 100
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8


class Record(NamedTuple):
    """Where the process of a mount leaves its traces."""

    pid: Path
    log: Path


def canonical(path: Path) -> Path:
    """The mount point's absolute path, without looking at what is mounted there."""
    absolute = path.absolute()
    return Path(os.path.realpath(absolute.parent)) / absolute.name


def is_mounted(path: Path) -> bool:
    """Whether the last thing mounted at a canonical path is a BenchFS."""
    kind = ""
    for line in TABLE.read_text(errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        if _unescaped(before.split(" ")[4]) == str(path):
            kind = after.split(" ")[0]
    return kind == TYPE


def record(path: Path) -> Record:
    """The record of a canonical path; there may be none."""
    name = str(path).strip("/").replace("/", "-")[-NAME_CHARACTERS:]
    name = f"{name}-{xxhash.xxh3_64_hexdigest(str(path).encode(errors='surrogateescape'))[:8]}"
    state = Path(platformdirs.user_state_dir("benchfs")) / "mounts"
    return Record(state / f"{name}.pid", state / f"{name}.log")


def process(path: Path) -> int | None:
    """The pid of the process that serves a canonical path, if it runs."""
    try:
        pid = int(record(path).pid.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if os.fsencode(path) in command else None  # not another one's by now


def detach(path: Path, *, lazy: bool) -> None:
    """Unmount; `lazy`: also if files are open, which then have nothing below them.

    Raises OSError: EBUSY, EPERM.
    """
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.umount2(os.fsencode(path), UMOUNT_NOFOLLOW | (MNT_DETACH if lazy else 0)):
            raise error(ctypes.get_errno(), "umount", path)
        return
    helper = shutil.which("fusermount3")
    if helper is None:
        raise error(errno.EPERM, "umount", path, text="fusermount3 is not there: install fuse3")
    command = [helper, "-u", *(["-z"] if lazy else []), "--", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        busy = "busy" in done.stderr
        code = errno.EBUSY if busy else errno.EPERM
        raise error(code, "umount", path, text=done.stderr.strip())


def write_out(path: Path) -> None:
    """Have the kernel write what it holds of a mount. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            raise error(ctypes.get_errno(), "umount", path)
    finally:
        os.close(descriptor)


def wait_for_end(pid: int, seconds: float) -> bool:
    """Wait until a process is gone; tells whether it is."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def _unescaped(text: str) -> str:
    """The kernel's table writes spaces and the like as octal escapes."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
