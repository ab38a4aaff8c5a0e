"""`benchfs bench mdtest` with real processes on real clusters."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import benchfs
from benchfs.bench.backends.choose import Target
from benchfs.bench.mdtest import phase
from benchfs.bench.mdtest.result import Outcome
from benchfs.bench.mdtest.run import operations, run
from benchfs.bench.mdtest.settings import Settings


def command(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "benchfs.cli.main", "bench", "mdtest", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    return done


def measured(target: Target, settings: Settings, tasks: int) -> Outcome:
    found = run(target, settings, tasks)
    assert found is not None
    return found


@pytest.mark.parametrize("backend", ["benchfs", "posix", "memory"])
def test_every_operation_is_done_on_every_item_of_another_task(
    cluster: benchfs.LocalCluster, tmp_path: Path, backend: str
) -> None:
    directory = str(tmp_path / "md") if backend == "posix" else "/md"
    settings = Settings(
        items=12, depth=1, branches=2, unique_directory=True, leaves_only=True, write_bytes=3901,
        read_bytes=3901, verify=True, stride=1, iterations=2, directory=directory,
    )  # fmt: skip

    found = measured(Target(backend, cluster.url), settings, 4)

    assert not found.failure
    assert [one.operation for one in found.phases] == list(operations(settings)) * 2
    for one in found.phases:
        assert one.items == (4 * 3 if one.operation.startswith("Tree") else 4 * 12)
        assert one.latencies.count == one.items
        assert one.errors == 0
    strides = {one.operation: [part.source for part in one.parts] for one in found.phases}
    assert strides[phase.FILE_CREATION] == [0, 1, 2, 3]
    assert strides[phase.FILE_STAT] == [1, 2, 3, 0]
    assert strides[phase.FILE_READ] == [2, 3, 0, 1]
    assert strides[phase.FILE_REMOVAL] == [3, 0, 1, 2]
    with benchfs.Client(cluster.url) as fs:
        assert fs.listdir("/") == []
    assert list(tmp_path.iterdir()) == []


def test_creating_stops_at_the_deadline_and_later_runs_work_on_what_there_is(
    tmp_path: Path,
) -> None:
    flags = ("-a", "posix", "-d", str(tmp_path / "md"), "-n", "100000000", "-F", "--tasks", "2")
    status = tmp_path / "status"

    first = json.loads(command(*flags, "-C", "-W", "1", "-x", str(status), "--json").stdout)
    second = json.loads(command(*flags, "-T", "-x", str(status), "--json").stdout)
    command(*flags, "-r", "-x", str(status))

    created = int(status.read_text())
    clients = {one["name"]: one["clients"] for one in first["benchfs"]["phases"]}
    assert [one["amount"] for one in clients[phase.FILE_CREATION]] == [created, created]
    [stat] = second["benchfs"]["phases"]
    assert sum(one["amount"] for one in stat["clients"]) == 2 * created
    assert not (tmp_path / "md" / "test-dir.0-0").exists()


def test_files_with_other_bytes_are_the_exit_status(tmp_path: Path) -> None:
    flags = ("-a", "posix", "-d", str(tmp_path), "-n", "5", "-F", "-w", "64")
    command(*flags, "-C")
    for name in ("file.mdtest.0.1", "file.mdtest.0.3"):
        (tmp_path / "test-dir.0-0/mdtest_tree.0" / name).write_bytes(bytes(64))

    done = command(*flags, "-E", "-e", "64", "-X", status=2)

    assert "2 files were read with other bytes" in done.stderr


def test_what_fails_is_named_with_what_was_measured_before(
    cluster: benchfs.LocalCluster,
) -> None:
    flags = ("--cluster", cluster.url, "-n", "5", "-F", "-d", "/gone", "--json")

    done = command(*flags, "-T", status=1)

    assert "/gone" in done.stderr
    found = json.loads(done.stdout)
    assert "File stat: rank 0" in found["benchfs"]["failure"]
    assert found["summary"] == []


@pytest.mark.parametrize(
    ("flags", "says"), [((), "-n"), (("-n", "5", "-Y"), "-Y"), (("-n", "5", "-F", "-D"), "-F")]
)
def test_bad_flags_are_wrong_usage_and_named(flags: tuple[str, ...], says: str) -> None:
    assert says in command(*flags, status=2).stderr


def test_more_than_there_is_room_for_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    flags = ("-a", "posix", "-d", str(tmp_path / "md"), "-n", "1000000", "-F", "-w", "1g")

    done = command(*flags, "--tasks", "2", status=1)

    assert done.stderr.startswith("benchfs: rank 0: the files would have 2147483648000000 bytes")
    assert "see -n, -w, -W" in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_sync_is_within_the_time_of_paths_of_this_host(tmp_path: Path) -> None:
    done = command("-a", "posix", "-d", str(tmp_path / "md"), "-n", "3", "-Y", "-y", "-w", "1")

    assert "File creation" in done.stdout
