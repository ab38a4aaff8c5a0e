"""`benchfs bench md` on a real cluster, small: what it counts and prints, never how fast."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

import benchfs
from benchfs.bench import md

COMMAND = [sys.executable, "-m", "benchfs.cli.main", "bench", "md"]
SMALL = ["-n", "21", "--tasks", "4", "--large", "1m"]
PHASES = [
    *(md.CREATE, md.STAT, md.RENAME, md.UNLINK, md.STORE, md.LOAD),
    *(md.MAKE, md.REMOVE, md.LIST),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=2) as running:
        yield running


def bench(cluster: benchfs.LocalCluster, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--cluster", cluster.url, *SMALL, *flags],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_every_column_has_all_phases_and_their_requests(cluster: benchfs.LocalCluster) -> None:
    done = bench(cluster, "--processes", "1,2", "--json")

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    kinds = [(column["directory"], column["processes"]) for column in found["columns"]]
    assert kinds == [("narrow", 1), ("narrow", 2), ("wide", 1), ("wide", 2)]
    for column in found["columns"]:
        rates = {rate["name"]: rate for rate in column["rates"]}
        assert list(rates) == PHASES
        assert rates[md.CREATE]["operations"] == 21
        assert rates[md.LIST]["operations"] == 21 * column["processes"]
        assert all(min(rate["per_s"], rate["client_cpu_us"]) > 0 for rate in column["rates"])
        for name in (md.CREATE, md.STAT, md.RENAME, md.UNLINK, md.MAKE, md.REMOVE):
            assert rates[name]["requests"] >= 1.0
    with benchfs.Client(cluster.url) as fs:
        assert fs.listdir("/") == []


def test_the_table_has_a_row_for_each_phase(cluster: benchfs.LocalCluster) -> None:
    done = bench(cluster, "--processes", "1")

    assert done.returncode == 0, done.stderr
    head, *rows, reads = done.stdout.splitlines()
    titles = ["1 proc", "wide 1 proc", "requests, narrow", "requests, wide"]
    assert all(title in head for title in titles)
    assert [row.split("  ")[0] for row in rows] == PHASES
    assert reads.startswith(md.RANDOM_READ)


@pytest.mark.parametrize("processes", ["", "0", "2,x", "-1", "2000"])
def test_an_impossible_number_of_processes_is_wrong_usage(
    cluster: benchfs.LocalCluster, processes: str
) -> None:
    done = bench(cluster, "--processes", processes)

    assert done.returncode == 2
    assert "--processes" in done.stderr


def test_a_process_that_fails_ends_the_command_with_its_reason() -> None:
    done = subprocess.run(
        [*COMMAND, "--cluster", "benchfs://127.0.0.1:1", *SMALL],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 1
    assert "benchfs:" in done.stderr
    assert done.stdout == ""
