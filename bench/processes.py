"""What processes have used, read from /proc: time on CPUs, and memory."""

from __future__ import annotations

from pathlib import Path

KIB = 1024


def cpu_seconds(pid: int) -> float:
    """Time that all threads of a process have spent on CPUs, to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue  # a thread that has ended meanwhile
    return total / 1e9


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in use by it now."""
    return _status(pid, "VmRSS")


def peak_bytes(pid: int) -> int:
    """The greatest memory that a process ever used."""
    return _status(pid, "VmHWM")


def _status(pid: int, key: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(text.split(f"{key}:")[1].split()[0]) * KIB
