"""That CPUs do not halt while a node is used, and do when it is not: the kernel is asked."""

from __future__ import annotations

import pytest

import benchfs
from tests.idle_cpus import has_device, may_halt, may_not_halt, require_device, wait_for


@pytest.fixture(autouse=True)
def _able() -> None:
    require_device()


def test_cpus_do_not_halt_while_a_node_is_used_and_do_afterwards() -> None:
    with benchfs.LocalCluster(nodes=1) as cluster, benchfs.Client(cluster.url) as fs:

        def keeps_awake() -> bool:
            for _ in range(100):
                fs.exists("/nothing")
            return may_not_halt()

        assert has_device(cluster.nodes[0].pid)
        wait_for(keeps_awake)
        wait_for(may_halt)


def test_a_node_without_polling_does_not_ask() -> None:
    with benchfs.LocalCluster(nodes=1, settings={"polling": False}) as cluster:
        assert not has_device(cluster.nodes[0].pid)
