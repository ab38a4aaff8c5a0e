"""Benchmarks on clusters that fail under them: what was measured is kept, and marked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import benchfs

CHUNK = 65_536
WAIT_SECONDS = 100


@pytest.fixture
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=2, chunk_size=CHUNK) as running:
        yield running


def start(*arguments: str, timeout: int = 10) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchfs.cli.main", "bench", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"BENCHFS_TIMEOUT": str(timeout)},
    )


@contextlib.asynccontextmanager
async def looking(url: str) -> AsyncIterator[benchfs.AsyncClient]:
    """A client that always asks, and a time in which what is waited for must come."""
    async with benchfs.AsyncClient(url, attribute_seconds=0) as fs:
        async with asyncio.timeout(WAIT_SECONDS):
            yield fs


async def test_a_node_lost_in_a_repetition_leaves_the_ones_before(
    cluster: benchfs.LocalCluster, tmp_path: Path
) -> None:
    flags = ["-w", "-r", "-t", "64k", "-b", "1m", "-F", "-o", "/f", "-i", "1000000"]
    run = start(
        "ior", *flags, "--cluster", cluster.url, "--json", "--report", str(tmp_path), timeout=3
    )
    async with looking(cluster.url) as fs:
        seen = set()
        while len(seen) < 3:  # each repetition makes a new file
            with contextlib.suppress(FileNotFoundError):
                seen.add((await fs.stat("/f.00000000")).st_ino)
    cluster.nodes[0].kill()
    out, err = await asyncio.to_thread(run.communicate, timeout=WAIT_SECONDS)

    assert run.returncode == 1, (out, err)
    assert "node-0" in err
    assert "incomplete" in err
    found = json.loads(out)
    assert len(found["tests"][0]["Results"]) >= 3
    assert "node-0" in found["benchfs"]["failure"]
    assert json.loads((tmp_path / "results.json").read_text()) == found
    assert "the run ended early" in (tmp_path / "index.html").read_text()


async def test_a_node_lost_while_files_are_made_leaves_the_phases_before(
    cluster: benchfs.LocalCluster,
) -> None:
    # Of more than 4 KiB: smaller ones may all be, with their directory, at the other node.
    flags = ["-n", "1000000", "-F", "-W", "30", "-w", "5000", "-d", "/md", "--tasks", "2"]
    run = start("mdtest", *flags, "--cluster", cluster.url, "--json", timeout=3)
    async with looking(cluster.url) as fs:
        while not await fs.exists("/md/test-dir.0-0/mdtest_tree.0/file.mdtest.1.20"):
            await asyncio.sleep(0.01)
    cluster.nodes[1].kill()
    out, err = await asyncio.to_thread(run.communicate, timeout=WAIT_SECONDS)

    assert run.returncode == 1, (out, err)
    assert "node-1" in err
    found = json.loads(out)
    assert [row["operation"] for row in found["summary"]] == ["Tree creation"]
    assert found["benchfs"]["failed"]["name"] == "File creation"
    assert sum(client["amount"] for client in found["benchfs"]["failed"]["clients"]) > 20


def test_a_disk_that_fills_up_is_named_with_what_went_before(small_disk: Path) -> None:
    with benchfs.LocalCluster(nodes=2, data=small_disk, chunk_size=CHUNK) as cluster:
        flags = ["-w", "-r", "-t", "64k", "-b", "1g", "-D", "30", "-N", "2", "-o", "/f"]
        run = start("ior", *flags, "--cluster", cluster.url, "--json")
        out, err = run.communicate(timeout=WAIT_SECONDS)
        with benchfs.Client(cluster.url) as fs:
            left = fs.listdir("/")

    assert run.returncode == 1, (out, err)
    assert "No space left" in err
    assert "node-" in err
    found = json.loads(out)
    assert found["tests"][0]["Results"] == []
    assert found["benchfs"]["failed"]["name"] == "write"
    assert sum(client["amount"] for client in found["benchfs"]["failed"]["clients"]) > 1 << 20
    assert left == [], err


def test_a_disk_of_this_host_that_fills_up_is_an_error_with_what_went_before(
    small_disk: Path,
) -> None:
    flags = ["-w", "-r", "-F", "-t", "1m", "-b", "1g", "-D", "30", "-N", "2"]
    run = start("ior", "-a", "posix", *flags, "-o", str(small_disk / "f"), "--json")
    out, err = run.communicate(timeout=WAIT_SECONDS)

    assert run.returncode == 1, (out, err)
    assert "incomplete" in err
    assert "No space left" in err
    found = json.loads(out)
    assert found["tests"][0]["Results"] == found["summary"] == []
    written = [client["amount"] for client in found["benchfs"]["failed"]["clients"]]
    assert 40 << 20 <= sum(written) <= 48 << 20
    assert list(small_disk.iterdir()) == []


def test_small_files_that_fill_a_disk_leave_the_phases_before(small_disk: Path) -> None:
    flags = ["-n", "1000000", "-F", "-w", "100k", "-W", "30", "--tasks", "2"]
    run = start("mdtest", "-a", "posix", *flags, "-d", str(small_disk / "md"), "--json")
    out, err = run.communicate(timeout=WAIT_SECONDS)

    assert run.returncode == 1, (out, err)
    assert "No space left" in err
    found = json.loads(out)
    assert [row["operation"] for row in found["summary"]] == ["Tree creation"]
    made = sum(client["amount"] for client in found["benchfs"]["failed"]["clients"])
    assert 300 <= made <= 492
    assert list(small_disk.iterdir()) == []


def test_io500_ends_with_the_phase_that_fails_and_has_no_score(small_disk: Path) -> None:
    with benchfs.LocalCluster(nodes=2, data=small_disk, chunk_size=CHUNK) as cluster:
        run = start("io500", "--stonewall", "30", "--tasks", "2", "--cluster", cluster.url)
        out, err = run.communicate(timeout=WAIT_SECONDS)
        with benchfs.Client(cluster.url) as fs:
            left = fs.listdir("/")

    assert run.returncode == 1, (out, err)
    assert "INCOMPLETE: ior-easy-write" in out
    assert "No space left" in out
    assert "[SCORE" not in out
    assert left == [], err


async def test_io500_keeps_the_phases_before_a_node_was_lost_and_marks_the_one_that_failed(
    cluster: benchfs.LocalCluster, tmp_path: Path
) -> None:
    flags = ["--stonewall", "1", "--tasks", "2", "--cluster", cluster.url, "--json"]
    run = start("io500", *flags, "--report", str(tmp_path), timeout=2)
    async with looking(cluster.url) as fs:
        while not await fs.exists("/io500/ior-hard/file"):
            await asyncio.sleep(0.01)
    cluster.nodes[1].kill()
    out, err = await asyncio.to_thread(run.communicate, timeout=WAIT_SECONDS)

    assert run.returncode == 1, (out, err)
    assert "node-1" in err
    assert "incomplete, 3 phases are shown: ior-hard-write" in err
    found = json.loads(out)
    measured = ["ior-easy-write", "mdtest-easy-write", "timestamp"]
    assert [row["name"] for row in found["results"]] == measured
    assert (found["score"], found["valid"]) == (None, False)
    assert found["benchfs"]["failed"]["name"] == "ior-hard-write"
    assert len(found["benchfs"]["failed"]["clients"]) == 2
    assert json.loads((tmp_path / "results.json").read_text()) == found
    assert "the run ended early" in (tmp_path / "index.html").read_text()
    assert "INCOMPLETE: ior-hard-write" in (tmp_path / "result_summary.txt").read_text()
