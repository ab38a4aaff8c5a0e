"""`scrub` finds flipped bits and lost files of chunks; both commands while the cluster is busy."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import benchfs
from benchfs.fsck import Damage, Kind, Options

CHUNK = 128 * 1024
BLOCK = 64 * 1024


@pytest.fixture
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=2, chunk_size=CHUNK) as running:
        yield running


def chunk_file(cluster: benchfs.LocalCluster, ino: int, index: int) -> tuple[str, Path]:
    """The node that has a chunk, and its file."""
    (found,) = cluster.directory.glob(f"*/data/chunks/*/{ino:016x}.{index}")
    return found.relative_to(cluster.directory).parts[0], found


def flip_bit(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 16]))


def benchfs_command(*arguments: str, status: int) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchfs.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    return done.stdout


def test_all_chunks_are_verified_and_none_is_damaged(cluster: benchfs.LocalCluster) -> None:
    with benchfs.Client(cluster.url) as fs:
        fs.write_bytes("/file", os.urandom(10 * CHUNK + 7))

    text = benchfs_command(
        "scrub", "--cluster", str(cluster.directory), "--rate", "100m", "--json", status=0
    )

    nodes = json.loads(text)["nodes"]
    assert [node["node"] for node in nodes] == ["node-0", "node-1"]
    assert sum(node["chunks"] for node in nodes) == 11
    assert sum(node["bytes"] for node in nodes) == 10 * CHUNK + 7
    assert [node["damaged"] for node in nodes] == [[], []]


def test_flipped_bits_and_a_lost_file_are_told_with_their_path(
    cluster: benchfs.LocalCluster,
) -> None:
    with benchfs.Client(cluster.url) as fs:
        fs.mkdir("/d")
        fs.write_bytes("/d/file", os.urandom(3 * CHUNK))
        ino = fs.stat("/d/file").st_ino
        flipped, lost = chunk_file(cluster, ino, 1), chunk_file(cluster, ino, 2)
        flip_bit(flipped[1], BLOCK + 5)
        lost[1].unlink()

        found = {one.node: one.damaged for one in fs.scrub()}
        report = fs.fsck(Options(age=0, patience=0, data=True, repair=True))

    # a node that has the chunk's file open still reads what is not a name any more
    assert Damage("/d/file", ino, 1, BLOCK, BLOCK) in found[flipped[0]]
    assert {one.finding.kind for one in report.found} == {Kind.DAMAGED_DATA}
    assert not report.clean
    text = benchfs_command("scrub", "--cluster", str(cluster.directory), status=1)
    assert f"{flipped[0]}: /d/file: chunk 1, bytes {BLOCK} to {2 * BLOCK}" in text


def test_a_lost_chunk_file_is_told_after_a_restart(cluster: benchfs.LocalCluster) -> None:
    with benchfs.Client(cluster.url) as fs:
        fs.write_bytes("/file", os.urandom(CHUNK))
        ino = fs.stat("/file").st_ino
    for node in cluster.nodes:
        node.stop()
    chunk_file(cluster, ino, 0)[1].unlink()
    for node in cluster.nodes:
        node.start()

    with benchfs.Client(str(cluster.directory)) as fs:
        damaged = [one for node in fs.scrub() for one in node.damaged]

    assert damaged == [Damage("/file", ino, 0, 0, CHUNK)]


def test_the_command_says_what_is_wrong_and_repairs_it(cluster: benchfs.LocalCluster) -> None:
    where = ("--cluster", str(cluster.directory))
    assert "0 things wrong" in benchfs_command("fsck", *where, status=0)

    document = json.loads(benchfs_command("fsck", *where, "--repair", "--json", status=0))

    assert document == {"inodes": 1, "clean": True, "found": []}


async def test_a_busy_cluster_that_is_well_has_no_findings(cluster: benchfs.LocalCluster) -> None:
    looks = Options(age=0, patience=3, data=True)
    async with benchfs.AsyncClient(cluster.url) as fs, busy(cluster.url, 4) as operations:
        reports = []
        before = 0
        for _ in range(5):
            reports.append(await fs.fsck(looks))
            assert operations[0] > before, "nothing happened meanwhile"
            before = operations[0]

    assert [report.found for report in reports] == [[]] * 5


@asynccontextmanager
async def busy(url: str, clients: int) -> AsyncIterator[list[int]]:
    """Clients that change names and files in each other's way; yields how often they could."""
    operations = [0]
    async with benchfs.AsyncClient(url) as fs:
        for number in range(4):
            await fs.mkdir(f"/d{number}", wide=number == 3)
    tasks = [asyncio.create_task(_change(url, seed, operations)) for seed in range(clients)]
    yield operations
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(outcome, asyncio.CancelledError), outcome


async def _change(url: str, seed: int, operations: list[int]) -> None:
    rng = random.Random(seed)

    def path() -> str:
        return f"/d{rng.randrange(4)}/{rng.randrange(12)}"

    async with benchfs.AsyncClient(url) as fs:
        acts = [
            lambda: fs.write_bytes(path(), rng.randbytes(rng.randrange(3 * CHUNK))),
            lambda: fs.unlink(path()),
            lambda: fs.rename(path(), path()),
            lambda: fs.rename(path(), path(), exchange=True),
            lambda: fs.link(path(), path()),
            lambda: fs.mkdir(path()),
            lambda: fs.rmdir(path()),
            lambda: fs.truncate(path(), rng.randrange(CHUNK)),
        ]
        while True:
            try:
                await rng.choice(acts)()
                operations[0] += 1
            except OSError:
                pass  # somebody else was faster
