"""The cluster that most modules share, and a client of it that leaves nothing behind.

A module whose tests stop nodes, damage them, or need other settings has a `cluster` of its own.
"""

from collections.abc import AsyncIterator, Iterator

import pytest

import benchfs


@pytest.fixture(scope="session")
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=3) as running:
        yield running


@pytest.fixture
async def fs(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(cluster.url) as client:
        yield client
        await client.rmtree("/")
