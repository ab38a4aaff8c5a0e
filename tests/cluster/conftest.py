"""The cluster that most modules share, and clients of it: its owner's, who tidies up, and users'.

A module whose tests stop nodes, damage them, or need other settings has a `cluster` of its own.
"""

from collections.abc import AsyncIterator, Iterator

import pytest

import benchfs
from tests.cluster.users import ALICE, BOB, CAROL


@pytest.fixture(scope="session")
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=3) as running:
        yield running


@pytest.fixture
async def fs(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(cluster.url) as client:
        yield client
        await client.rmtree("/")


@pytest.fixture
def caching() -> dict[str, float]:
    """How the users' clients cache, where it is not as usual."""
    return {}


@pytest.fixture
async def alice(
    cluster: benchfs.LocalCluster, caching: dict[str, float]
) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(cluster.url, user=ALICE, **caching) as client:
        yield client


@pytest.fixture
async def bob(
    cluster: benchfs.LocalCluster, caching: dict[str, float]
) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(cluster.url, user=BOB, **caching) as client:
        yield client


@pytest.fixture
async def carol(
    cluster: benchfs.LocalCluster, caching: dict[str, float]
) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(cluster.url, user=CAROL, **caching) as client:
        yield client
