"""What the kernel was asked about idle CPUs, for tests of those who ask (benchfs/halting.py)."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchfs.halting import DEVICE, open_device

PATIENCE_SECONDS = 60.0  # other tests' clusters are used meanwhile


def may_halt() -> bool:
    """Whether nobody keeps CPUs from halting."""
    descriptor = os.open(DEVICE, os.O_RDONLY)
    try:
        (microseconds,) = struct.unpack("i", os.read(descriptor, 4))
    finally:
        os.close(descriptor)
    return bool(microseconds)


def may_not_halt() -> bool:
    """Whether somebody keeps CPUs from halting."""
    return not may_halt()


def wait_for(condition: Callable[[], bool]) -> None:
    """Return when it holds; fail if it does not come to hold."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < give_up_at


def has_device(pid: int) -> bool:
    """Whether a process could ask the kernel."""
    links = Path(f"/proc/{pid}/fd").iterdir()
    return any(os.path.realpath(link) == str(DEVICE) for link in links)


def require_device() -> None:
    """Skip the test where nobody may ask, or it is of no use."""
    device = open_device()
    if device is None:
        pytest.skip("the CPUs of this machine halt as they do")
    os.close(device)
