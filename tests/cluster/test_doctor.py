"""`benchfs doctor` beside a cluster that is up, in part, stopped, or not there."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import benchfs
from benchfs.diagnosis import Verdict, check_cluster
from benchfs.env import system_env


@pytest.fixture
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=2) as running:
        yield running


def doctor(*arguments: str, status: int) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchfs.cli.main", "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    return done.stdout


def of_cluster(text: str) -> list[dict[str, str | None]]:
    """The checks of a cluster in a document."""
    checks = json.loads(text)["checks"]
    names = [check["name"] for check in checks]
    return checks[names.index("cluster") :]


def test_all_nodes_are_well(cluster: benchfs.LocalCluster) -> None:
    text = doctor("--cluster", str(cluster.directory), "--json", status=0)

    checks = of_cluster(text)
    assert checks[0]["seen"] == "local: 2 of 2 nodes answer"
    assert {check["node"] for check in checks} == {None, "node-0", "node-1"}
    verdicts = {(check["name"], check["verdict"]) for check in checks if check["name"] != "space"}
    names = ("cluster", "answer", "version", "transport", "clock")
    assert verdicts == {(name, "ok") for name in names}


def test_a_node_that_is_down_is_named_and_the_others_are_checked(
    cluster: benchfs.LocalCluster,
) -> None:
    cluster.nodes[1].kill()

    text = doctor("--cluster", str(cluster.directory), "--json", status=1)

    document = json.loads(text)
    problems = [check for check in document["checks"] if check["verdict"] == "problem"]
    assert document["verdict"] == "problem"
    assert [(check["name"], check["node"]) for check in problems] == [
        ("cluster", None),
        ("answer", "node-1"),
    ]
    assert problems[0]["seen"] == "local: 1 of 2 nodes answer"
    assert all(check["advice"] for check in problems)
    assert ("version", "node-0") in {(check["name"], check["node"]) for check in of_cluster(text)}


def test_a_node_that_hangs_does_not_hide_the_others(cluster: benchfs.LocalCluster) -> None:
    cluster.nodes[0].pause()

    checks = of_cluster(doctor("--cluster", str(cluster.directory), "--json", status=1))

    verdicts = {check["node"]: check["verdict"] for check in checks if check["name"] == "answer"}
    assert verdicts == {"node-0": "problem", "node-1": "ok"}


def test_a_cluster_that_is_asked_for_and_down_is_a_problem(cluster: benchfs.LocalCluster) -> None:
    for node in cluster.nodes:
        node.kill()

    (check,) = of_cluster(doctor("--cluster", str(cluster.directory), "--json", status=1))

    assert check["verdict"] == "problem"
    assert str(check["seen"]).startswith("down: connect ")


def test_without_any_cluster_the_host_is_checked() -> None:
    assert "open files" in doctor(status=0)
    (check,) = of_cluster(doctor("--json", status=0))
    assert check["seen"] == "none runs on this host, and none is named"
    assert check["verdict"] == "ok"


def test_a_setting_that_is_wrong_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("speed = 11\n")
    monkeypatch.setenv("BENCHFS_CONFIG", str(file))

    document = json.loads(doctor("--json", status=1))

    assert document["checks"][-1]["name"] == "settings"
    assert "unknown key 'speed'" in document["checks"][-1]["seen"]


async def test_the_difference_of_the_clocks_is_measured(cluster: benchfs.LocalCluster) -> None:
    behind_ns = 100_000_000_000

    class Behind:
        monotonic = staticmethod(time.monotonic)

        @staticmethod
        def time_ns() -> int:
            return time.time_ns() - behind_ns

    env = dataclasses.replace(system_env(), clock=Behind())
    async with benchfs.AsyncClient(cluster.url, env=env) as fs:
        for status in await fs.status():
            assert status.round_trip_ns > 0
            assert abs(status.skew_ns - behind_ns) <= status.round_trip_ns


async def test_the_engine_of_this_client_is_among_the_checks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "uring_api", None)
    monkeypatch.setenv("BENCHFS_TRANSPORT", "uring")

    own, cluster = await check_cluster(None)

    assert (own.name, own.verdict) == ("transport", Verdict.WARNING)
    assert own.seen.startswith("sockets, not uring: the package uring-api is missing")
    assert cluster.name == "cluster"
