"""Namespaces of its own for each measurement of a system, by unshare of util-linux, as root.

Processes, mounts and network addresses that the measurement makes are seen by nobody else, need
no free ports, and are ended by the kernel with the first process, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchfs.bench.peers.system import ADDRESS, command

UNSHARE = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
PROGRAMS = ("unshare", "ip", "mount")
RUNTIME = Path("/run/measured")
ROUND_SECONDS = 600.0
END_SECONDS = 20.0


def run_inside(module: str, arguments: Sequence[str], log: Path) -> str:
    """Run a module of Python in new namespaces until it ends; "" or why it failed."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*UNSHARE, sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        status = process.wait(ROUND_SECONDS)
    except subprocess.TimeoutExpired:
        return f"it was ended after {ROUND_SECONDS:.0f} s"
    finally:
        end(process)
    if status:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"status {status}: {lines[-1] if lines else 'it said nothing'}"
    return ""


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill an unshare that still runs; returns when all that was in its namespaces is gone.

    The first process in there is gone only after all others: it is the one to wait for.
    """
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            for pid in _children(process.pid):
                descriptor = os.pidfd_open(pid)
                try:
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                    select.select([descriptor], [], [], END_SECONDS)
                finally:
                    os.close(descriptor)
    process.kill()
    process.wait()


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(word) for word in text.split()]


def prepare() -> None:
    """From inside, once: addresses on the loopback, and a /run that only this one sees.

    Temporary files go there, too: paths of sockets are to be short. OSError.
    """
    command("ip", "link", "set", "lo", "up")
    command("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")
    command("mount", "-t", "tmpfs", "tmpfs", "/run")
    RUNTIME.mkdir()
    os.environ["TMPDIR"] = str(RUNTIME)
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        del os.environ[name]
    os.environ["XDG_RUNTIME_DIR"] = str(RUNTIME)
