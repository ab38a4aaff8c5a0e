"""The cluster that most modules share, and clients of it: its owner's, who tidies up, and users'.

A module whose tests stop nodes, damage them, or need other settings has a `cluster` of its own.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import benchfs
from benchfs.rpc.connection import Connection
from benchfs.rpc.messages import Hello, Prove, Release, Renew
from tests.cluster.users import ALICE, BOB, CAROL

BACKGROUND = (Hello, Prove, Release, Renew)  # many operations share one of these


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
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is sent on any connection from here on."""
    sent: list[str] = []
    call = Connection.call

    def counted(self: Connection, request: tuple[object, ...], **how: Any) -> Any:
        if not isinstance(request, BACKGROUND):
            sent.append(type(request).__name__)
        return call(self, request, **how)

    monkeypatch.setattr(Connection, "call", counted)
    return sent


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
