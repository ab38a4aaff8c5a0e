"""What a client that is not the superuser sends for a chunk: its right to it and the bytes, once.

Requests are counted where the client hands them to its connections.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

import benchfs
from benchfs.rpc.connection import Answer, Connection
from benchfs.rpc.transports.base import Buffer
from tests.cluster.users import ALICE, only_root

CHUNK = 65_536
CHUNKS = 24  # far more than nodes

pytestmark = only_root


class Sent:
    """How many requests of each kind went out, and bytes of payload."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.payload_bytes = 0
        self.brought = 0  # capabilities that came with a chunk's request


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    found, call = Sent(), Connection.call

    async def counted(
        self: Connection,
        request: tuple[object, ...],
        *,
        payload: Sequence[Buffer] = (),
        **more: object,
    ) -> Answer:
        found.requests[type(request).__name__] += 1
        found.brought += bool(getattr(request, "capability", b""))
        found.payload_bytes += sum(map(len, payload))
        return await call(self, request, payload=payload, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Connection, "call", counted)
    return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=3, chunk_size=CHUNK) as running:
        with benchfs.Client(running.url) as fs:
            fs.chmod("/", 0o777)
        yield running


@pytest.fixture
def caching() -> dict[str, float]:
    return {"cache_bytes": 0}


async def test_the_bytes_of_a_new_file_are_sent_once(
    alice: benchfs.AsyncClient, sent: Sent
) -> None:
    await alice.write_bytes("/new", bytes(CHUNKS * CHUNK))

    assert sent.payload_bytes == CHUNKS * CHUNK
    assert sent.requests["WriteChunk"] == CHUNKS
    assert sent.brought == 3  # once to each node, however many chunks go there at once
    assert sent.requests["Present"] == 0


async def test_a_file_that_is_opened_again_is_shown_only_for_what_is_new(
    alice: benchfs.AsyncClient, sent: Sent
) -> None:
    async with await alice.open("/again", "w+b") as file:
        await file.write(bytes(CHUNKS * CHUNK))
    assert sent.brought == 3

    async with await alice.open("/again", "r+b") as file:
        await file.write(b"x" * CHUNKS * CHUNK)
    assert await alice.read_bytes("/again") == b"x" * CHUNKS * CHUNK

    assert sent.brought == 3  # it was open for both before
    assert sent.requests["Present"] == 0
    assert sent.requests["WriteChunk"] == 2 * CHUNKS


async def test_reading_needs_no_request_that_is_refused(
    cluster: benchfs.LocalCluster, alice: benchfs.AsyncClient, sent: Sent
) -> None:
    await alice.write_bytes("/read", b"z" * CHUNKS * CHUNK)
    async with benchfs.AsyncClient(
        cluster.url, user=ALICE, cache_bytes=0, local_reads=False
    ) as reader:
        sent.requests.clear()
        sent.brought = 0
        assert await reader.read_bytes("/read") == b"z" * CHUNKS * CHUNK

    assert sent.requests["ReadChunk"] == CHUNKS
    assert sent.requests["Present"] == 0
    assert sent.brought == 3


async def test_the_superuser_shows_nothing(cluster: benchfs.LocalCluster, sent: Sent) -> None:
    async with benchfs.AsyncClient(cluster.url) as fs:
        await fs.write_bytes("/root", bytes(CHUNKS * CHUNK))

    assert sent.requests["Present"] == 0
    assert sent.requests["WriteChunk"] == CHUNKS
