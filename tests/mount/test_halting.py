"""That CPUs do not halt while a mount is used, and do when it is not: the kernel is asked.

The nodes here do not ask it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

import benchfs
from tests.idle_cpus import has_device, may_halt, may_not_halt, require_device, wait_for
from tests.mount.conftest import Mount, mounted


@pytest.fixture(scope="module")
def resting_cluster() -> Iterator[benchfs.LocalCluster]:
    require_device()
    with benchfs.LocalCluster(nodes=1, settings={"polling": False}) as made:
        yield made


def keeps_awake(mount: Mount) -> bool:
    """Whether CPUs do not halt right after some requests."""
    for number in range(100):
        (mount.path / f"{number}").touch()
    return may_not_halt()


def test_cpus_do_not_halt_while_a_mount_is_used_and_do_afterwards(
    resting_cluster: benchfs.LocalCluster,
) -> None:
    with mounted(resting_cluster) as mount:
        assert has_device(mount.pid)
        wait_for(lambda: keeps_awake(mount))
        wait_for(may_halt)


def test_cpus_halt_when_the_mount_was_killed(resting_cluster: benchfs.LocalCluster) -> None:
    with mounted(resting_cluster) as mount:
        wait_for(lambda: keeps_awake(mount))
        os.kill(mount.pid, signal.SIGKILL)
        wait_for(may_halt)


def test_a_mount_without_polling_does_not_ask(resting_cluster: benchfs.LocalCluster) -> None:
    with mounted(resting_cluster, "--no-polling") as mount:
        (mount.path / "file").touch()
        assert not has_device(mount.pid)
