"""A cluster whose nodes and clients speak UCX: files, lost nodes, strangers at its ports."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

import benchfs
from benchfs.rpc.transports.ucx.introduction import MAGIC, NONCE_BYTES, NUMBER_BYTES, PROOF_BYTES
from tests.fault.losing_nodes import (
    CHUNK,
    DATA,
    acknowledged_before_all_were_killed,
    bring_back,
    client,
    lose,
    wide_file,
)
from tests.ucx import needs_ucx

pytestmark = needs_ucx


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[benchfs.LocalCluster]:
    monkeypatch.setenv("BENCHFS_TRANSPORT", "ucx")
    with benchfs.LocalCluster(nodes=3, chunk_size=CHUNK) as running:
        yield running


async def test_files_go_and_come_back_over_ucx(cluster: benchfs.LocalCluster) -> None:
    data = os.urandom(320 * CHUNK + 12_345)
    async with client(cluster) as fs:
        await fs.write_bytes("/wide", data)
        await fs.write_bytes("/small", b"small")

        assert await fs.read_bytes("/wide") == data
        assert await fs.read_bytes("/small") == b"small"
        for node in await fs.status():
            assert node.reply is not None
            assert node.reply.transport.startswith("ucx ")
            assert "links over tcp/lo" in node.reply.transport


async def test_a_client_without_ucx_uses_the_nodes_other_addresses(
    cluster: benchfs.LocalCluster,
) -> None:
    async with benchfs.AsyncClient(str(cluster.directory), transport="sockets") as fs:
        await fs.write_bytes("/f", b"x" * 3 * CHUNK)
        assert await fs.read_bytes("/f") == b"x" * 3 * CHUNK


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_a_lost_node_is_a_clear_error_in_time_and_serves_when_it_is_back(
    cluster: benchfs.LocalCluster, how: str
) -> None:
    async with client(cluster) as fs, client(cluster) as other:
        wide = await wide_file(fs, cluster)
        await fs.write_bytes("/small", b"small")

        failure = await lose(other, wide, how)

        assert failure.node == wide.other.node_id
        assert (await other.stat("/small")).st_size == 5
        await bring_back(wide.other, how)
        assert await fs.read_bytes("/wide") == DATA


async def test_a_node_killed_amid_transfers_loses_nothing_acknowledged(
    cluster: benchfs.LocalCluster,
) -> None:
    acknowledged = await acknowledged_before_all_were_killed(cluster)

    async with client(cluster) as fs:
        for name, data in acknowledged.items():
            assert await fs.read_bytes(name) == data, name


async def test_a_client_killed_amid_a_transfer_leaves_the_node_serving(
    cluster: benchfs.LocalCluster,
) -> None:
    code = (
        "import benchfs, sys\n"
        "with benchfs.Client(sys.argv[1]) as fs:\n"
        " for number in range(10_000):\n"
        "  fs.write_bytes(f'/killed-{number}', bytes(8 << 20)); print(number, flush=True)\n"
    )
    async with client(cluster) as fs:
        for _ in range(3):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", code, cluster.url),
                stdout=asyncio.subprocess.PIPE,
            )
            assert process.stdout is not None
            async with asyncio.timeout(50):
                await process.stdout.readline()
            process.kill()
            await process.communicate()
        await fs.write_bytes("/wide", b"x" * 9 * CHUNK)
        assert await fs.read_bytes("/wide") == b"x" * 9 * CHUNK
        assert all(node.pid for node in cluster.nodes)


def ports(pid: int) -> list[tuple[str, int]]:
    """Where a process listens: the node's own ports, and those that UCX opened for data."""
    inodes = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            inodes.add(os.readlink(f"/proc/{pid}/fd/{name}"))
        except FileNotFoundError:
            continue
    found = []
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in list(table)[1:]:
            fields = line.split()
            ip, port = fields[1].split(":")
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                address = socket.inet_ntoa(bytes.fromhex(ip)[::-1])
                found.append((address, int(port, 16)))
    return found


def garbage(rng: random.Random) -> Iterator[bytes]:
    """What somebody may write to a port that is not his."""
    opening = MAGIC + rng.randbytes(NONCE_BYTES)
    yield b""
    yield from (rng.randbytes(size) for size in (1, 7, 16, 17, 40, 300, 5000, 100_000))
    yield from (bytes(size) for size in (8, 17, 4096))
    yield b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
    yield MAGIC
    yield opening
    yield opening[:-1]
    yield opening + rng.randbytes(PROOF_BYTES + NUMBER_BYTES + 2)
    yield opening + rng.randbytes(PROOF_BYTES) + b"\xff" * 500
    yield opening + rng.randbytes(100_000)
    yield from (struct.pack("<QQ", size, 0) + rng.randbytes(64) for size in (0, 40, 1 << 63))


def reach(place: tuple[str, int]) -> socket.socket | None:
    """A connection to there, or None where the kernel drops what is sent."""
    try:
        return socket.create_connection(place, timeout=0.5)
    except TimeoutError:
        return None


async def test_garbage_at_any_port_of_a_node_is_survived(cluster: benchfs.LocalCluster) -> None:
    """At the port of its ucx:// address and at those that UCX opens."""
    node = cluster.nodes[0]
    rng = random.Random(1)
    async with client(cluster) as fs:
        await fs.write_bytes("/wide", b"x" * 9 * CHUNK)
        record = next(one for one in fs.cluster_map.nodes if one.node_id == node.node_id)
        known = {urlsplit(address).port for address in record.addresses}
        reached = {place: reach(place) for place in ports(node.pid)}
        open_ports = {place for place, half_open in reached.items() if half_open}
        assert known - {None} <= {port for _, port in open_ports}
        assert len(open_ports) < len(reached), "UCX's listener answers strangers"
        for place in open_ports:
            for said in garbage(rng):
                with socket.create_connection(place, timeout=20) as stranger:
                    try:
                        stranger.sendall(said)
                    except OSError:
                        continue  # it has hung up
        assert await fs.read_bytes("/wide") == b"x" * 9 * CHUNK
        async with client(cluster) as other:
            assert await other.read_bytes("/wide") == b"x" * 9 * CHUNK
            links = [node.reply.transport for node in await other.status() if node.reply]
        assert all("links over tcp/lo" in text for text in links)
        assert node.pid
        for half_open in filter(None, reached.values()):
            half_open.close()
