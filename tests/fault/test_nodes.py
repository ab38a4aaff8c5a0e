"""Nodes killed, stopped, frozen or full: clear errors in time, nothing acknowledged lost."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import benchfs
from benchfs.errors import BenchFSError, NoSpaceError, TransportError
from tests.fault.losing_nodes import (
    CHUNK,
    DATA,
    PATIENCE_SECONDS,
    acknowledged_before_all_were_killed,
    bring_back,
    client,
    in_a_hurry,
    lose,
    wide_file,
)


@pytest.fixture
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=3, chunk_size=CHUNK) as running:
        yield running


async def test_everything_acknowledged_survives_kill_9_of_all_daemons(
    cluster: benchfs.LocalCluster,
) -> None:
    acknowledged = await acknowledged_before_all_were_killed(cluster)

    async with client(cluster) as fs:
        for name, data in acknowledged.items():
            assert await fs.read_bytes(name) == data, name


async def test_an_operation_waits_for_a_node_that_comes_back(
    cluster: benchfs.LocalCluster,
) -> None:
    async with benchfs.AsyncClient(cluster.url, timeout=PATIENCE_SECONDS) as fs:
        await fs.write_bytes("/f", b"x" * 9 * CHUNK)
        for node in cluster.nodes:
            node.kill()
        reading = asyncio.create_task(fs.read_bytes("/f"))
        writing = asyncio.create_task(fs.write_bytes("/g", b"y" * 9 * CHUNK))
        for node in cluster.nodes:
            await asyncio.to_thread(node.start)
        assert await reading == b"x" * 9 * CHUNK
        await writing
        assert await fs.read_bytes("/g") == b"y" * 9 * CHUNK


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_a_lost_node_is_a_clear_error_in_time_and_the_others_serve_on(
    cluster: benchfs.LocalCluster, how: str
) -> None:
    async with client(cluster) as fs, client(cluster) as other:
        wide = await wide_file(fs, cluster)
        await fs.write_bytes("/small", b"small")

        failure = await lose(other, wide, how)

        assert failure.node == wide.other.node_id
        assert failure.filename == "/wide"
        assert failure.operation == "read"
        assert (await other.stat("/small")).st_size == 5
        with in_a_hurry(other):
            status = {node.node_id: node for node in await other.status()}
        assert status[wide.other.node_id].reply is None
        assert status[wide.keeper].reply is not None
        await bring_back(wide.other, how)
        assert await fs.read_bytes("/wide") == DATA


async def test_a_read_of_several_chunks_at_once_fails_with_the_error_of_one() -> None:
    with benchfs.LocalCluster(nodes=2, chunk_size=1 << 18) as cluster:
        async with client(cluster) as fs:
            wide = await wide_file(fs, cluster, bytes(6 << 20))
            wide.other.kill()
            with in_a_hurry(fs):
                file = await fs.open("/wide")
            with pytest.raises(TransportError):
                await file.pread(6 << 20, 0)
            await file.close()


async def test_a_write_to_a_lost_node_fails_at_the_latest_at_close(
    cluster: benchfs.LocalCluster,
) -> None:
    async with client(cluster) as fs:
        wide = await wide_file(fs, cluster)
        wide.other.kill()
        with in_a_hurry(fs):
            file = await fs.open("/wide", "r+b")
            with pytest.raises(TransportError) as failure:
                await file.write(DATA)
                await file.close()
        assert failure.value.node == wide.other.node_id
        assert failure.value.filename == "/wide"
        with pytest.raises((BenchFSError, ValueError)):
            await file.fsync()


def test_a_full_disk_refuses_new_data_and_keeps_the_old(small_disk: Path) -> None:
    with benchfs.LocalCluster(nodes=2, data=small_disk, chunk_size=CHUNK) as cluster:
        asyncio.run(fill_and_free(cluster))


async def fill_and_free(cluster: benchfs.LocalCluster) -> None:
    data = random.Random(1).randbytes(1 << 20)
    kept = []
    async with benchfs.AsyncClient(cluster.url, timeout=PATIENCE_SECONDS) as fs:
        with pytest.raises(NoSpaceError) as failure:
            for number in range(100):
                await fs.write_bytes(f"/f{number}", data)
                kept.append(f"/f{number}")
        assert failure.value.errno == errno.ENOSPC
        assert failure.value.node in {"node-0", "node-1"}
        assert len(kept) > 10
        for name in kept:
            assert await fs.read_bytes(name) == data
        for name in kept:
            await fs.unlink(name)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while sum(s.reply.chunk_bytes for s in await fs.status() if s.reply) > 2 * len(data):
                await asyncio.sleep(0.02)
        await fs.write_bytes("/again", data)
        assert await fs.read_bytes("/again") == data


async def test_bytes_that_changed_on_the_disk_are_an_error_and_not_data(
    cluster: benchfs.LocalCluster,
) -> None:
    async with benchfs.AsyncClient(cluster.url, local_reads=False) as fs:
        async with await fs.open("/f", "wb") as file:
            await file.write(b"x" * 10_000)
            await file.fsync()
    for node in cluster.nodes:
        node.stop()
    (chunk,) = [
        path for path in cluster.directory.glob("node-*/data/chunks/*/*") if path.stat().st_size
    ]
    chunk.write_bytes(b"x" * 9999 + b"y")
    for node in cluster.nodes:
        await asyncio.to_thread(node.start)
    for local_reads in (False, True):
        async with benchfs.AsyncClient(str(cluster.directory), local_reads=local_reads) as fs:
            with pytest.raises(BenchFSError) as failure:
                await fs.read_bytes("/f")
            assert failure.value.errno == errno.EIO
            assert failure.value.filename == "/f"
            chunk_file_gone = failure.value.node
            assert chunk_file_gone is not None
    chunk.unlink()
    async with benchfs.AsyncClient(str(cluster.directory), local_reads=False) as fs:
        with pytest.raises(BenchFSError) as failure:
            await fs.read_bytes("/f")
        assert failure.value.errno == errno.EIO


async def test_local_reads_are_used_and_see_every_write(cluster: benchfs.LocalCluster) -> None:
    async with (
        benchfs.AsyncClient(cluster.url) as reader,
        benchfs.AsyncClient(cluster.url) as writer,
    ):
        await writer.write_bytes("/f", b"a" * CHUNK)
        file = await reader.open("/f")
        for _ in range(5):
            assert await file.pread(CHUNK, 0) == b"a" * CHUNK
        assert reader.local_hits > 0
        async with await writer.open("/f", "r+b") as other:
            for number in range(20):
                await other.pwrite(bytes([number]) * 5000, number * 1000)
                await other.flush()
                assert await file.pread(5000, number * 1000) == bytes([number]) * 5000
        await file.close()


async def test_the_wrong_secret_is_refused(cluster: benchfs.LocalCluster, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(os.urandom(32))
    url = cluster.url.partition("?")[0] + f"?secret_file={secret}"
    with pytest.raises(benchfs.ClusterError, match="secret") as failure:
        async with benchfs.AsyncClient(url, timeout=PATIENCE_SECONDS):
            pass
    assert failure.value.errno == errno.EKEYREJECTED


def test_a_second_daemon_on_the_same_data_is_refused(cluster: benchfs.LocalCluster) -> None:
    config = cluster.directory / "node-0" / "node.toml"
    copy = cluster.directory / "copy.toml"
    copy.write_text(
        "\n".join(
            line
            for line in config.read_text().splitlines()
            if not line.startswith(("listen", "log_file"))
        )
    )
    second = subprocess.run(
        [sys.executable, "-m", "benchfsd", "--config", str(copy)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert second.returncode == 1
    assert "in use by another daemon" in second.stderr


def test_sigterm_ends_a_daemon_in_order(cluster: benchfs.LocalCluster) -> None:
    for node in cluster.nodes:
        node.stop()
    for node in cluster.nodes:
        assert '"message": "stopped"' in node.log.read_text()
