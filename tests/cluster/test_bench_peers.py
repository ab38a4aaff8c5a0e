"""Rounds of the comparison in real namespaces, small: everything is measured, nothing is left.

GlusterFS and MooseFS are not installed for tests; how they are kept apart is the same for all.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchfs.bench.peers import namespaces, rounds
from benchfs.bench.peers.choose import MOUNT, NATIVE, RAW
from benchfs.bench.peers.record import load
from benchfs.bench.peers.work import ROWS, Sizes
from benchfs.bench.peers.yardstick import (
    IOR_DISK,
    IOR_READ,
    IOR_WRITE,
    LOOP_DISK,
    LOOP_READ,
    LOOP_WRITE,
    NAME,
)

SMALL = Sizes(file_mib=4, hard_mib=2, files=20, small_files=20, random_seconds=1)


def why_not() -> str:
    """Why there can be no namespaces here; "" if there can."""
    if os.geteuid() != 0:
        return "needs root"
    try:
        tried = subprocess.run([*namespaces.UNSHARE, "true"], capture_output=True, check=False)
    except FileNotFoundError as exc:
        return f"needs {exc.filename}"
    return tried.stderr.decode().strip() if tried.returncode else ""


pytestmark = pytest.mark.skipif(bool(why_not()), reason=f"needs namespaces: {why_not()}")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", [NATIVE, MOUNT])
def test_every_row_of_a_system_is_measured_and_nothing_is_left(name: str, short_tmp: Path) -> None:
    if name == MOUNT:
        pytest.importorskip("pyfuse3")

    samples, failure = rounds.one_system(name, SMALL, short_tmp, namespaces.run_inside)

    assert failure == ""
    assert set(samples) == {row.title for row in ROWS}
    assert all(sample.rate > 0 and sample.cpu_s >= 0 for sample in samples.values())
    assert list(short_tmp.iterdir()) == []
    assert str(short_tmp) not in Path("/proc/mounts").read_text()


def test_ior_and_a_bare_loop_are_measured_side_by_side(short_tmp: Path) -> None:
    samples, failure = rounds.one_system(NAME, SMALL, short_tmp, namespaces.run_inside)

    assert failure == ""
    assert set(samples) == {IOR_WRITE, LOOP_WRITE, IOR_READ, LOOP_READ, IOR_DISK, LOOP_DISK}


def test_what_goes_wrong_inside_is_said(short_tmp: Path) -> None:
    samples, failure = rounds.one_system("tape", SMALL, short_tmp, namespaces.run_inside)

    assert samples == {}
    assert "there is no 'tape'" in failure


def test_ending_a_measurement_ends_all_that_it_started(tmp_path: Path) -> None:
    words = "import subprocess, time; subprocess.Popen(['sleep', '600']); print('up', flush=True)"
    process = subprocess.Popen(
        [*namespaces.UNSHARE, sys.executable, "-c", f"{words}; time.sleep(600)"],
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdout is not None
    with process.stdout as said:
        try:
            assert said.readline() == b"up\n"
        finally:
            namespaces.end(process)

        os.set_blocking(said.fileno(), False)
        assert said.read(1) == b""  # the end: nobody holds the pipe any more
    assert process.returncode is not None


@pytest.mark.timeout(240)
def test_the_command_measures_records_and_prints(short_tmp: Path) -> None:
    record, page = short_tmp / "record.json", short_tmp / "page.md"
    flags = ["--rounds", "1", "--systems", RAW, "--json", str(record), "--page", str(page)]
    sizes = [
        f"--{name.replace('_', '-')}={value}" for name, value in dataclasses.asdict(SMALL).items()
    ]
    command = [sys.executable, "-m", "benchfs.bench.peers", "--directory", str(short_tmp)]

    done = subprocess.run(
        [*command, *flags, *sizes], capture_output=True, text=True, timeout=220, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "random reads, 4 KiB" in done.stdout
    assert load(record).sizes == SMALL
    assert page.read_text().startswith("# Performance")
    assert {path.name for path in short_tmp.iterdir()} == {"record.json", "page.md"}


@pytest.mark.parametrize(
    ("flags", "status", "says"),
    [
        (("--systems", "tape"), 2, "there is no 'tape'"),
        (("--rounds", "0"), 2, "1 at least"),
        (("--file-mib", "0"), 2, "sizes are 1 at least"),
        (("--file-mib", "100000000", "--systems", RAW), 1, "MiB free"),
        (("--render", "/nowhere"), 1, "/nowhere"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_measured(
    flags: tuple[str, ...], status: int, says: str
) -> None:
    command = [sys.executable, "-m", "benchfs.bench.peers", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)

    assert done.returncode == status
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_record_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "record").write_text(json.dumps([]))
    command = [sys.executable, "-m", "benchfs.bench.peers", "--render", str(tmp_path / "record")]

    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)

    assert done.returncode == 2
    assert "no record" in done.stderr
