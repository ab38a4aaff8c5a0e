"""Namespaces of its own for each measurement of a system, by unshare of util-linux, as root.

Processes, mounts and network addresses that the measurement makes are seen by nobody else, need
no free ports, and are ended by the kernel with the first process, however that ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchfs.bench.peers.system import ADDRESS, command

UNSHARE = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
PROGRAMS = ("unshare", "ip", "mount")
RUNTIME = Path("/run/measured")
ROUND_SECONDS = 600.0


def run_inside(module: str, arguments: Sequence[str], log: Path) -> str:
    """Run a module of Python in new namespaces until it ends; "" or why it failed."""
    with log.open("wb") as output:
        try:
            done = subprocess.run(
                [*UNSHARE, sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=ROUND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"it was ended after {ROUND_SECONDS:.0f} s"
    if done.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"status {done.returncode}: {lines[-1] if lines else 'it said nothing'}"
    return ""


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
