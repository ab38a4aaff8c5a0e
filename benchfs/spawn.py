"""Starting a Python process that lives on after this one, and says through a pipe how it goes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

LOG_TAIL_BYTES = 2000
LOG_TAIL_LINES = 3


class Spawned(NamedTuple):
    """A process, and the descriptor on which it says that it is ready; the caller closes that."""

    pid: int
    reader: int


def spawn(
    arguments: Sequence[str], environment: Mapping[str, str], ready_variable: str, log: Path
) -> Spawned:
    """Start `python ARGUMENTS` in a session of its own; what it prints is added to `log`.

    `ready_variable` names the descriptor to the process. Raises OSError.
    """
    reader, writer = os.pipe()
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.set_inheritable(writer, True)
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, *arguments],
                {**environment, ready_variable: str(writer)},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, descriptor, 1),
                    (os.POSIX_SPAWN_DUP2, descriptor, 2),
                ],
                setsid=True,
            )
        finally:
            os.close(descriptor)
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    return Spawned(pid, reader)


def log_tail(log: Path) -> str:
    """The last lines of a log, as one."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return " | ".join(lines[-LOG_TAIL_LINES:])
