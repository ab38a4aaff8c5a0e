"""Starting and ending the process that serves a mount, from another one. Needs no pyfuse3."""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from pathlib import Path

from benchfs.errors import error
from benchfs.fuse import mounts
from benchfs.spawn import log_tail, spawn

READY_VARIABLE = "BENCHFS_MOUNT_READY_FD"
START_SECONDS = 30.0
WRITE_SECONDS = 30.0  # in which an unmounted process writes what is left


def start(path: Path, settings: str) -> int:
    """Serve a mount in a process of its own; returns its pid when the mount is ready.

    Raises OSError with the reason if it does not come up.
    """
    record = mounts.record(path)
    record.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    record.log.unlink(missing_ok=True)
    arguments = ("-m", "benchfs.fuse", settings)
    pid, reader = spawn(arguments, os.environ, READY_VARIABLE, record.log)
    try:
        heard = _hear(reader)
    finally:
        os.close(reader)
    if heard == "ready":
        return pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if mounts.is_mounted(path):
        mounts.detach(path, lazy=True)
    reason = heard or f"the process ended: {log_tail(record.log)}"
    record.pid.unlink(missing_ok=True)
    record.log.unlink(missing_ok=True)
    raise error(errno.EIO, "mount", path, text=reason)


def stop(path: Path, *, lazy: bool) -> None:
    """Unmount, and return when what was written is at its node. Also if the process is dead.

    Raises OSError: EBUSY, EPERM; ETIMEDOUT if the process does not end; EINVAL if there is no
    mount at the path.
    """
    pid = mounts.process(path)
    if not mounts.is_mounted(path):
        if pid is None:
            raise error(errno.EINVAL, "umount", path, text="no BenchFS is mounted there")
    elif pid is None or lazy:
        mounts.detach(path, lazy=True)
    else:
        mounts.detach(path, lazy=False)
        _ask_to_end(pid)
    if pid is not None and not mounts.wait_for_end(pid, WRITE_SECONDS):
        text = f"process {pid} still writes, or its files are open: see {mounts.record(path).log}"
        raise error(errno.ETIMEDOUT, "umount", path, text=text)
    record = mounts.record(path)
    record.pid.unlink(missing_ok=True)
    record.log.unlink(missing_ok=True)


def _ask_to_end(pid: int) -> None:
    """The kernel tells a process when its mount is gone: but not while another mount namespace,
    of a container or a service, has it too.
    """
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it has ended


def _hear(reader: int) -> str:
    """What the process says of itself; nothing if it ended without a word, or in time."""
    give_up_at = time.monotonic() + START_SECONDS
    heard = b""
    while not heard.endswith(b"\n"):
        left = give_up_at - time.monotonic()
        if left <= 0 or not select.select([reader], [], [], left)[0]:
            return f"not ready in {START_SECONDS:.0f} s"
        part = os.read(reader, 4096)
        if not part:
            break
        heard += part
    return heard.decode(errors="replace").strip()
