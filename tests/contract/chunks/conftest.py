"""A chunk store of every kind, which must not have given up at the end; a small disk."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests import disks
from tests.contract.chunks.node import KINDS, Node


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def node(tmp_path: Path, kind: str) -> AsyncIterator[Node]:
    opened = Node(tmp_path, kind)
    yield opened
    opened.end_abruptly()
    assert opened.fatal == []


@pytest.fixture
def small_disk(short_tmp: Path) -> Iterator[Path]:
    with disks.small(short_tmp, mib=16) as disk:
        yield disk
