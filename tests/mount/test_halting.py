"""That CPUs do not halt while a mount is used, and do when it is not: the kernel is asked."""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import benchfs
from benchfs.fuse.halting import DEVICE, open_device
from tests.mount.conftest import Mount, mounted

PATIENCE_SECONDS = 60.0  # other tests' mounts are used meanwhile


def latency() -> int:
    """How late a CPU may be, in µs, by all who have asked."""
    descriptor = os.open(DEVICE, os.O_RDONLY)
    try:
        (found,) = struct.unpack("i", os.read(descriptor, 4))
    finally:
        os.close(descriptor)
    return int(found)


def wait_for(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < give_up_at


def keeps_awake(place: Path) -> bool:
    """Whether CPUs do not halt right after some requests."""
    for number in range(100):
        (place / f"{number}").touch()
    return latency() == 0


def halts() -> bool:
    return latency() > 0


@pytest.fixture(autouse=True)
def able() -> None:
    device = open_device()
    if device is None:
        pytest.skip("this machine's CPUs halt as they do")
    os.close(device)


def test_cpus_do_not_halt_while_a_mount_is_used_and_do_afterwards(
    mount: Mount, place: Path
) -> None:
    assert asks(mount)
    wait_for(lambda: keeps_awake(place))
    wait_for(halts)


def test_cpus_halt_when_the_mount_is_gone(cluster: benchfs.LocalCluster) -> None:
    with mounted(cluster) as made:
        place = made.path / "gone"
        place.mkdir()
        wait_for(lambda: keeps_awake(place))
        os.kill(made.pid, signal.SIGKILL)
        wait_for(halts)


def test_without_polling_cpus_halt_as_they_do(
    cluster: benchfs.LocalCluster,
) -> None:
    with mounted(cluster, "--no-polling") as made:
        place = made.path / "resting"
        place.mkdir()
        assert not asks(made)
        keeps_awake(place)
        assert not asks(made)


def asks(mount: Mount) -> bool:
    """Whether its process could ask."""
    links = Path(f"/proc/{mount.pid}/fd").iterdir()
    return any(os.path.realpath(link) == str(DEVICE) for link in links)
