"""A file system that is measured: how it is started, and how its client is made to forget.

Each runs in namespaces of its own (see `namespaces.py`): whatever it starts or mounts is gone
when the measurement ends, so none of them is stopped by hand.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from benchfs.bench.backends.choose import Target

ADDRESS = "192.0.2.1"  # of the documentation's network, on the loopback of the namespace
READY_SECONDS = 40.0
COMMAND_SECONDS = 60.0
POLL_SECONDS = 0.05
LOG_TAIL = 3


class System(Protocol):
    """One file system below `place`, a directory of the disk that is its own.

    `target`: what the benchmarks are given, `directory`: where in it they work. Both are valid
    after `start`. Every method raises OSError that says what the system's programs said.
    """

    target: Target
    directory: str

    def start(self, place: Path) -> None:
        """Start and mount it; returns when files can be made."""
        ...

    def forget(self) -> None:
        """Give it a client that has cached nothing."""
        ...


def command(*arguments: str | Path) -> str:
    """Run a program to its end; what it printed. OSError if it failed or took too long."""
    try:
        done = subprocess.run(
            list(map(str, arguments)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise OSError(f"{arguments[0]} did not end in {COMMAND_SECONDS:.0f} s") from exc
    if done.returncode:
        said = done.stdout.strip() or "nothing"
        raise OSError(f"{arguments[0]} failed with {done.returncode} and said: {said}")
    return done.stdout


def background(log: Path, *arguments: str | Path) -> None:
    """Start a program that goes on until the namespace ends; what it prints goes into `log`."""
    with log.open("wb") as output:
        subprocess.Popen(
            list(map(str, arguments)), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )


def wait_until(what: str, holds: Callable[[], bool]) -> None:
    """Ask until it holds. OSError, which names `what`, after READY_SECONDS."""
    give_up_at = time.monotonic() + READY_SECONDS
    while not holds():
        if time.monotonic() > give_up_at:
            raise OSError(f"after {READY_SECONDS:.0f} s still not: {what}")
        time.sleep(POLL_SECONDS)


def unmount(point: Path) -> None:
    """Unmount, as soon as nothing is open there. OSError."""
    last = ["unmounted"]

    def done() -> bool:
        try:
            command("umount", point)
        except OSError as exc:
            last[0] = str(exc)
            return False
        return True

    try:
        wait_until("the unmounting", done)
    except OSError as exc:
        raise OSError(f"{exc}: {last[0]}") from exc


def is_mount(point: Path) -> bool:
    """Whether a file system that answers is mounted there."""
    try:
        os.statvfs(point)
        return point.is_mount()
    except OSError:
        return False


def log_tails(place: Path) -> Sequence[str]:
    """The last lines of all logs below a system's directory, for a message."""
    found = []
    for path in sorted(place.rglob("*.log")):
        with contextlib.suppress(OSError):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            found += [f"{path.name}: {line}" for line in lines[-LOG_TAIL:]]
    return found
