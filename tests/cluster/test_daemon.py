"""A daemon spoken to directly: epochs, repeated requests, metrics, settings."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import benchfs
from benchfs.checks import piece_checks
from benchfs.inode import ROOT_INO
from benchfs.instance import find
from benchfs.rpc.connection import Connection
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    AttributesReply,
    ChunkExtent,
    Code,
    Conclude,
    DropLink,
    Empty,
    GetMap,
    GetOutcome,
    GroupRecord,
    LayoutRecord,
    Lookup,
    MakeDirectory,
    MapRecord,
    Open,
    OpenReply,
    ReadChunk,
    Rename,
    RenameHow,
    ReserveEnd,
    ReserveEndReply,
    Unlink,
    WriteChunk,
    WriteExtents,
)
from benchfs.rpc.pool import Credentials, Peer, Pool
from benchfs.rpc.schema import decoder, unpack
from benchfs.rpc.transports.choose import choose

LAYOUT = LayoutRecord(4 << 20, 0, ())


@pytest.fixture(scope="module")
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=2) as running:
        yield running


class Direct:
    """Requests to any node, with the envelope in the test's hands."""

    def __init__(self, pool: Pool, cluster_map: MapRecord) -> None:
        self.pool = pool
        self.map = cluster_map

    async def node(self, group: int) -> Connection:
        """The connection to a group's primary."""
        primary = self.map.groups[group].nodes[0]
        record = next(node for node in self.map.nodes if node.node_id == primary)
        return await self.pool.connect(Peer(primary, record.addresses), "calls", timeout=20)


@pytest.fixture
async def direct(cluster: benchfs.LocalCluster) -> AsyncIterator[Direct]:
    endpoints = await find(str(cluster.directory))
    who = Credentials(endpoints.secret, os.urandom(16), "client", 0, 0, os.urandom)
    pool = Pool(choose().transport, who)
    first = await pool.connect(Peer("", endpoints.addresses[:1]), "calls", timeout=20)
    answer = await first.call(GetMap(), timeout=20)
    cluster_map = decoder(MapRecord)(unpack(answer.payload or b""))
    yield Direct(pool, cluster_map)
    await pool.close()


async def test_every_node_knows_all_nodes_as_soon_as_the_cluster_is_up(direct: Direct) -> None:
    assert [node.node_id for node in direct.map.nodes] == ["node-0", "node-1"]
    leads = [group.nodes[0] for group in direct.map.groups]
    assert abs(leads.count("node-0") - leads.count("node-1")) <= 4


async def test_another_epoch_is_refused_with_the_entry_that_holds(direct: Direct) -> None:
    connection = await direct.node(0)
    with pytest.raises(RemoteError) as failure:
        await connection.call(Lookup(ROOT_INO, b"x"), timeout=20, group=0, epoch=7)
    assert failure.value.code == Code.STALE_EPOCH
    entry = decoder(GroupRecord)(unpack(failure.value.detail))
    assert entry == direct.map.groups[0]


async def test_a_group_of_another_node_is_refused_too(direct: Direct) -> None:
    connection = await direct.node(0)
    mine = direct.map.groups[0].nodes[0]
    other = next(group.group for group in direct.map.groups if group.nodes[0] != mine)
    with pytest.raises(RemoteError) as failure:
        await connection.call(ReadChunk(1, 0, 0, 10), timeout=20, group=other, epoch=1)
    assert failure.value.code == Code.STALE_EPOCH


async def test_a_repeated_mutation_gets_the_answer_it_got_before(direct: Direct) -> None:
    connection = await direct.node(0)
    create = Open(ROOT_INO, b"once", True, True, 0o600, 0, 0, LAYOUT)

    async def call(request: tuple[object, ...], sequence: int) -> tuple[object, ...]:
        answer = await connection.call(
            request, timeout=20, group=0, epoch=1, slot=3, sequence=sequence
        )
        return answer.message

    first = await call(create, 1)
    assert await call(create, 1) == first  # and not EEXIST
    with pytest.raises(RemoteError) as failure:
        await call(create, 2)
    assert failure.value.code == errno.EEXIST
    await call(Unlink(ROOT_INO, b"once"), 3)
    await call(Unlink(ROOT_INO, b"once"), 3)
    with pytest.raises(RemoteError) as failure:
        await call(create, 2)
    assert failure.value.code == Code.STALE_SEQUENCE
    made = await call(MakeDirectory(ROOT_INO, b"dir", 0o700, 0, 0, 0), 4)
    assert await call(MakeDirectory(ROOT_INO, b"dir", 0o700, 0, 0, 0), 4) == made


async def test_a_repeated_rename_between_groups_is_not_done_again(direct: Direct) -> None:
    names = await direct.node(0)

    async def call(request: tuple[object, ...], sequence: int) -> tuple[object, ...]:
        answer = await names.call(request, timeout=20, group=0, epoch=1, slot=9, sequence=sequence)
        return answer.message

    made = await call(MakeDirectory(ROOT_INO, b"there", 0o700, 0, 0, 1), 1)
    assert isinstance(made, AttributesReply)
    there = made.attributes.ino
    create = Open(ROOT_INO, b"here", True, True, 0o600, 0, 0, LAYOUT)
    await call(create, 2)
    rename = Rename(ROOT_INO, b"here", there, b"now", there >> 48, RenameHow.REPLACE)
    first, again = await asyncio.gather(call(rename, 3), call(rename, 3))
    assert first == again == Empty()
    await call(create, 4)
    assert await call(create._replace(exclusive=False), 5)
    with pytest.raises(RemoteError) as failure:
        await call(rename, 3)
    assert failure.value.code == Code.STALE_SEQUENCE
    absent = rename._replace(name=b"absent")
    for _ in range(2):
        with pytest.raises(RemoteError) as failure:
            await call(absent, 6)
        assert failure.value.code == errno.ENOENT


async def test_what_nodes_ask_each_other_is_refused_to_clients(direct: Direct) -> None:
    names = await direct.node(0)
    for request in (Conclude(bytes(16), True), GetOutcome(bytes(16)), DropLink(bytes(16), 0, 99)):
        with pytest.raises(RemoteError) as failure:
            await names.call(request, timeout=20, group=0, epoch=1)
        assert failure.value.code == errno.EPERM


async def test_a_repeated_reservation_gets_the_range_it_got_before(direct: Direct) -> None:
    connection = await direct.node(0)

    async def call(request: tuple[object, ...], sequence: int) -> tuple[object, ...]:
        answer = await connection.call(
            request, timeout=20, group=0, epoch=1, slot=5, sequence=sequence
        )
        return answer.message

    made = await call(Open(ROOT_INO, b"log", True, False, 0o600, 0, 0, LAYOUT), 1)
    assert isinstance(made, OpenReply)
    first = await call(ReserveEnd(made.ino, 100), 2)
    assert await call(ReserveEnd(made.ino, 100), 2) == first
    second = await call(ReserveEnd(made.ino, 100), 3)
    assert isinstance(second, ReserveEndReply)
    assert (second.offset, second.attributes.size) == (100, 200)


async def test_a_repeated_write_does_not_undo_a_later_one(direct: Direct) -> None:
    names = await direct.node(0)
    create = Open(ROOT_INO, b"data", True, False, 0o600, 0, 0, LAYOUT)
    answer = await names.call(create, timeout=20, group=0, epoch=1, slot=9, sequence=1)
    assert isinstance(answer.message, OpenReply)
    ino = answer.message.ino

    async def write(data: bytes, slot: int, sequence: int) -> None:
        request = WriteChunk(ino, 0, 0, 0, piece_checks(data, 0))
        await names.call(
            request,
            timeout=20,
            group=0,
            epoch=1,
            slot=slot,
            sequence=sequence,
            payload=(data,),
        )

    await write(b"one", 1, 1)
    await write(b"two", 2, 1)
    await write(b"one", 1, 1)  # the reply was lost, the client asks again
    answer = await names.call(ReadChunk(ino, 0, 0, 10), timeout=20, group=0, epoch=1)
    assert bytes(answer.payload or b"") == b"two"


async def test_a_write_whose_bytes_do_not_match_their_check_changes_nothing(
    direct: Direct,
) -> None:
    names = await direct.node(0)
    request = WriteChunk(77, 0, 0, 0, piece_checks(b"right", 0))
    with pytest.raises(RemoteError) as failure:
        await names.call(request, timeout=20, group=0, epoch=1, payload=(b"wrong",))
    assert failure.value.code == errno.EBADMSG
    answer = await names.call(ReadChunk(77, 0, 0, 10), timeout=20, group=0, epoch=1)
    assert answer.payload is None


async def test_extents_of_one_request_are_written_to_their_places_once(direct: Direct) -> None:
    names = await direct.node(0)
    first, second, third = b"1" * 10, b"2" * 70_000, b"3" * 5
    offsets = (65_530, 100_000, 20)  # over blocks' ends, and in no order
    checks = b"".join(map(piece_checks, (first, second, third), offsets))
    extents = tuple(map(ChunkExtent, offsets, (10, 70_000, 5)))

    async def write(request: tuple[object, ...], sequence: int, *payload: bytes) -> None:
        slot = 5 if sequence else 0
        await names.call(
            request,
            timeout=20,
            group=0,
            epoch=1,
            slot=slot,
            sequence=sequence,
            payload=payload,
        )

    await write(
        WriteExtents(78, 0, 0, extents, checks), 1, first + second[:100], second[100:] + third
    )
    await write(WriteChunk(78, 0, 0, 20, piece_checks(b"4", 20)), 0, b"4")
    await write(WriteExtents(78, 0, 0, extents, checks), 1, first, second, third)  # asked again

    answer = await names.call(ReadChunk(78, 0, 0, 200_000), timeout=20, group=0, epoch=1)
    expected = bytearray(170_000)
    expected[20:25] = b"43333"
    expected[65_530:65_540] = first
    expected[100_000:] = second
    assert bytes(answer.payload or b"") == expected


async def test_extents_that_are_not_their_payload_change_nothing(direct: Direct) -> None:
    names = await direct.node(0)
    extents = (ChunkExtent(0, 2), ChunkExtent(10, 2))
    checks = piece_checks(b"ab", 0) + piece_checks(b"cd", 10)
    wrong = {b"abcde": Code.BAD_MESSAGE, b"abc": Code.BAD_MESSAGE, b"xbcd": errno.EBADMSG}
    for payload, code in wrong.items():
        with pytest.raises(RemoteError) as failure:
            request = WriteExtents(79, 0, 0, extents, checks)
            await names.call(request, timeout=20, group=0, epoch=1, payload=(payload,))
        assert failure.value.code == code
    answer = await names.call(ReadChunk(79, 0, 0, 20), timeout=20, group=0, epoch=1)
    assert answer.payload is None


def test_metrics_are_given_on_request() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = {"metrics_listen": f"tcp://127.0.0.1:{port}"}
    with benchfs.LocalCluster(nodes=1, settings=settings) as cluster:
        with benchfs.Client(cluster.url) as fs:
            fs.write_bytes("/f", b"12345")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
            text = reply.read().decode()
    assert "benchfs_chunks 1.0" in text
    assert "benchfs_store_used_bytes 5.0" in text
    assert 'benchfs_rpc_requests_total{op="write_first"} 1.0' in text


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text('node_idd = "node-0"\n')
    done = subprocess.run(
        [sys.executable, "-m", "benchfsd", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2
    assert "unknown key 'node_idd': did you mean 'node_id'?" in done.stderr
