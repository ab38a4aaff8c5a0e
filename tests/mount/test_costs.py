"""What a mount does not do: ask nodes for nothing, use CPU time at rest, hold much memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import benchfs
from benchfs.bench.processes import cpu_seconds, resident_bytes
from benchfs.rpc.messages import Attributes
from tests.mount.conftest import Mount, mounted

MIB = 1024 * 1024
CHUNK_BYTES = 4 * MIB  # the default
CHUNKS = 3
PIECE_BYTES = 4096
IDLE_SHARE = 0.01  # of a CPU
IDLE_BYTES = 120 * MIB
MEASURED_SECONDS = 2.0
PATIENCE_SECONDS = 30.0


@pytest.fixture
def believing(cluster: benchfs.LocalCluster) -> Iterator[Mount]:
    """A mount that asks for no attributes twice."""
    with mounted(cluster, "--attribute-seconds", "600") as made:
        yield made


def read_pieces(descriptor: int, offset: int) -> list[bytes]:
    """A piece of each chunk, none out of the kernel's cache."""
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    return [
        os.pread(descriptor, PIECE_BYTES, chunk * CHUNK_BYTES + offset) for chunk in range(CHUNKS)
    ]


def test_what_nodes_on_the_host_have_lent_is_read_without_them(
    cluster: benchfs.LocalCluster, believing: Mount
) -> None:
    content = os.urandom(CHUNKS * CHUNK_BYTES)
    file = believing.path / "lent"
    file.write_bytes(content)
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fstat(descriptor)
        for offset in (0, MIB, 2 * MIB):  # a chunk that is read again is worth borrowing
            read_pieces(descriptor, offset)
        for node in cluster.nodes:
            node.pause()
        try:
            found = read_pieces(descriptor, 3 * MIB)
        finally:
            for node in cluster.nodes:
                node.resume()
    finally:
        os.close(descriptor)
        file.unlink()
    for chunk, piece in enumerate(found):
        start = chunk * CHUNK_BYTES + 3 * MIB
        assert piece == content[start : start + PIECE_BYTES]


def share_of_a_cpu(pid: int) -> float:
    """How busy a process is, over some time."""
    before, started = cpu_seconds(pid), time.monotonic()
    time.sleep(MEASURED_SECONDS)
    return (cpu_seconds(pid) - before) / (time.monotonic() - started)


def test_a_mount_comes_to_rest_after_work_and_holds_little_memory(
    cluster: benchfs.LocalCluster, place: Path, mount: Mount
) -> None:
    for number in range(200):
        (place / f"{number}").write_bytes(b"1" * 5000)
        assert (place / f"{number}").read_bytes() == b"1" * 5000
    (place / "large").write_bytes(bytes(32 * MIB))
    with (place / "large").open("rb") as held:  # leases are renewed meanwhile
        held.read(MIB)
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while (share := share_of_a_cpu(mount.pid)) >= IDLE_SHARE:
            assert time.monotonic() < give_up_at, share
    assert resident_bytes(mount.pid) < IDLE_BYTES


async def attributes_of(cluster: benchfs.LocalCluster, file: Path) -> Attributes:
    async with benchfs.AsyncClient(str(cluster.directory)) as fs:
        return await fs.by_inode.attributes(file.stat().st_ino)


async def test_an_open_that_makes_a_file_does_not_truncate_it(
    cluster: benchfs.LocalCluster, place: Path
) -> None:
    (place / "f").write_bytes(b"12345")
    made = await attributes_of(cluster, place / "f")
    (place / "f").write_bytes(b"1")
    again = await attributes_of(cluster, place / "f")
    assert (made.truncation, made.size) == (0, 5)
    assert (again.truncation, again.size) == (1, 1)
