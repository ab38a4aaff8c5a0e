"""The same random operations on BenchFS, by several clients in turns, and on a local directory.

Results, errno and, at the end, the whole trees must be the same. What may differ is what
docs/SEMANTICS.md says, and is left out where the rules say so. HYPOTHESIS_PROFILE=thorough runs 40
times as many, and makes the steps of a failure fewer.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

import benchfs
from tests.cluster.local_directory import LocalDirectory
from tests.cluster.pair import ALICE, BOB, World
from tests.cluster.rules_of_attributes import Attributes
from tests.cluster.rules_of_locks import Locks
from tests.cluster.rules_of_names import Namespace

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the root directory")

CHUNK = 65_536
UMASK = 0o002  # a group may do what its members may
STEPS = 50
PARTS = 4  # which several test processes share
EXAMPLES = 125  # a part: some 25,000 operations in all
THOROUGH_EXAMPLES = 5_000


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = LocalDirectory(tmp_path_factory.mktemp("oracle"))
    usual = os.umask(UMASK)
    with benchfs.LocalCluster(nodes=3, chunk_size=CHUNK) as cluster, asyncio.Runner() as runner:
        clients = [
            benchfs.AsyncClient(cluster.url, attribute_seconds=0, local_reads=False),
            benchfs.AsyncClient(cluster.url, attribute_seconds=0),
            benchfs.AsyncClient(cluster.url),  # remembers directories
            benchfs.AsyncClient(cluster.url, attribute_seconds=0, user=ALICE),
            benchfs.AsyncClient(cluster.url, attribute_seconds=0, user=BOB),
        ]
        for client in clients:
            runner.run(client.connect())
        yield World(runner, clients, directory)
        for client in clients:
            runner.run(client.close())
    os.umask(usual)
    directory.close()


class Everything(Locks, Namespace, Attributes):
    """All of it."""


# ------------------------------------------------------------ the test


@pytest.mark.timeout(3 * 3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_the_same_operations_have_the_same_results_as_on_a_local_directory(
    world: World, part: int
) -> None:
    Everything.world = world
    thorough = settings().max_examples > settings.get_profile("ci").max_examples
    run_state_machine_as_test(
        Everything if thorough else seed(part)(Everything),
        settings=settings(
            max_examples=THOROUGH_EXAMPLES if thorough else EXAMPLES,
            stateful_step_count=STEPS,
            suppress_health_check=list(HealthCheck),
            # Making a failure shorter takes minutes, and its steps are printed in any case.
            phases=list(Phase) if thorough else [Phase.explicit, Phase.reuse, Phase.generate],
        ),
    )
    print(f"{world.steps} operations")
