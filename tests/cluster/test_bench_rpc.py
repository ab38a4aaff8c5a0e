"""`benchfs bench rpc` as people use it: small runs, all rows, one document, one picture."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchfs.bench import pingpong, plot, rpc
from benchfs.bench.rpc import Case, Result
from benchfs.rpc.transports.choose import ENGINES, choose

SHORT = ("--seconds", "0.01", "--rounds", "1")
AVAILABLE = [name for name in ENGINES if choose(name).summary == name]


def bench(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "benchfs.cli.main", "bench", "rpc", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "COLUMNS": "200"},
        check=False,
    )
    assert done.returncode == status, (arguments, done.stdout, done.stderr)
    return done


def result_of(case: Case, calls_s: float) -> Result:
    return Result(case, calls_s, 1.0, 1.0, 2.0, 3.0, 1.0, 1.0, (calls_s,))


@pytest.mark.parametrize("scheme", ["tcp", "unix"])
def test_every_combination_is_measured_beside_its_floor(scheme: str) -> None:
    sizes, depths = ("--size", "0", "--size", "4k"), ("--depth", "1", "--depth", "8")

    done = bench(*SHORT, "--scheme", scheme, *sizes, *depths, "--json")

    document = json.loads(done.stdout)
    rows = [tuple(row["case"].values()) for row in document["results"]]
    assert sorted(rows) == sorted(
        [
            *itertools.product(AVAILABLE, [scheme], [1, 8], [0, 4096]),
            *itertools.product(["floor"], [scheme], [1], [0, 4096]),
        ]
    )
    for row in document["results"]:
        assert row["calls_s"] > 0
        assert 0 < row["p50_us"] <= row["p99_us"] <= row["p999_us"]
        assert row["of_floor"] > 0
        assert (row["mib_s"] > 0) is (row["case"]["size"] > 0)
        assert len(row["rounds"]) == 1
        assert (row["case"]["transport"] != "floor") or row["of_floor"] == 1.0


def test_large_payloads_and_the_table_for_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "calls.png"

    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path))  # where it leaves its list of fonts
    one = ("--size", "4m", "--depth", "8", "--scheme", "unix", "--transport", "sockets")

    done = bench(*SHORT, *one, "--plot", str(file))

    lines = done.stdout.splitlines()
    assert [line.split()[:5] for line in lines[1:]] == [
        ["4", "MiB", "unix", "1", "floor"],
        ["4", "MiB", "unix", "8", "sockets"],
    ]
    assert "2/2: 4 MiB over unix, sockets, 8 in flight" in done.stderr
    assert file.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_what_cannot_be_measured_is_said_before_anything_is(tmp_path: Path) -> None:
    assert "there is no transport 'pigeon'" in bench("--transport", "pigeon", status=2).stderr
    assert "is not a size" in bench("--size", "much", status=2).stderr
    assert "16 MiB at the most" in bench("--size", "17m", status=2).stderr
    missing = str(tmp_path / "none" / "x.png")
    assert "there is no directory" in bench("--plot", missing, status=2).stderr


def test_plots_without_matplotlib_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(plot.NoPlotsError, match=r"pip install 'benchfs\[bench\]'"):
        plot.save([], tmp_path / "x.png")


def test_ratios_are_of_the_floor_of_the_same_scheme_and_size() -> None:
    results = [
        result_of(Case(rpc.FLOOR, "tcp", 1, 0), 100.0),
        result_of(Case("sockets", "tcp", 8, 0), 300.0),
        result_of(Case(rpc.FLOOR, "unix", 1, 0), 200.0),
        result_of(Case("sockets", "unix", 8, 0), 300.0),
    ]

    assert rpc.of_floor(results) == [1.0, 3.0, 1.0, 1.5]


def test_the_floor_moves_as_many_bytes_as_a_call() -> None:
    assert pingpong.reply_bytes(4096) - pingpong.reply_bytes(0) == 4096
    assert 24 < pingpong.request_bytes(0) <= pingpong.request_bytes(4 << 20) < 64
