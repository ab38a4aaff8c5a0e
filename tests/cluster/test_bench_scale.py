"""`benchfs bench scale` and `--report`, small, on real clusters."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchfs.bench.mdtest.phase import FILE_CREATION, FILE_READ, FILE_REMOVAL, FILE_STAT
from benchfs.bench.report.read import load

COMMAND = [sys.executable, "-m", "benchfs.cli.main", "bench"]


def test_every_size_does_the_same_work_and_leaves_nothing(tmp_path: Path) -> None:
    flags = ["--nodes", "1,2", "-b", "2m", "-n", "10", "-i", "1", "--directory", str(tmp_path)]

    done = subprocess.run(
        [*COMMAND, "scale", *flags, "--json"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [size["nodes"] for size in found["sizes"]] == [1, 2]
    names = {"write", "read", FILE_CREATION, FILE_STAT, FILE_READ, FILE_REMOVAL}
    for size in found["sizes"]:
        assert size["figures"].keys() == names
        assert all(len(values) == 1 and min(values) > 0 for values in size["figures"].values())
    assert list(tmp_path.iterdir()) == []


def test_simulated_sizes_are_counted_without_a_daemon(tmp_path: Path) -> None:
    flags = ["--simulate", "3", "--offered", "5000", "--directory", str(tmp_path), "--json"]

    done = subprocess.run(
        [*COMMAND, "scale", *flags], capture_output=True, text=True, timeout=100, check=False
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (size,) = found["sizes"]
    assert (size["nodes"], size["groups"], found["offered"]["per_second"]) == (3, 256, 5000)
    assert size["costs"]["create"]["by_operation"] == {"open": 1, "release": 1}
    assert found["beyond"] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "flags",
    [
        ("ior", "-w", "-r", "-t", "64k", "-b", "1m"),
        ("mdtest", "-n", "20", "-F"),
    ],
)
def test_a_report_has_the_results_and_a_page(tmp_path: Path, flags: tuple[str, ...]) -> None:
    pytest.importorskip("matplotlib")
    name = "-o" if flags[0] == "ior" else "-d"
    where = ["-a", "posix", name, str(tmp_path / "work"), "--report", str(tmp_path / "report")]

    done = subprocess.run(
        [*COMMAND, *flags, *where], capture_output=True, text=True, timeout=100, check=False
    )

    assert done.returncode == 0, done.stderr
    document = load(tmp_path / "report" / "results.json")
    assert document.details.benchmark == flags[0]
    assert "<svg" in (tmp_path / "report" / "index.html").read_text()
