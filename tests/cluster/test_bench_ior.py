"""`benchfs bench ior` with real processes on real clusters: what it moves, checks and says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import benchfs
from benchfs.bench.backends.choose import Target
from benchfs.bench.ior.result import Outcome
from benchfs.bench.ior.run import run
from benchfs.bench.ior.settings import Settings
from benchfs.bench.launch import local
from benchfs.bench.launch.base import RankLostError, Ranks

MIB = 1 << 20
BYTES_OF_HARD = 47008
NO_LAUNCHER = {
    name: value for name, value in os.environ.items() if not name.startswith(("OMPI_", "PMI"))
}


def command(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "benchfs.cli.main", "bench", "ior", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=NO_LAUNCHER | dict(os.environ),
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    return done


def measured(target: Target, settings: Settings, tasks: int) -> Outcome:
    found = run(target, settings, tasks)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("backend", "file_per_process"),
    [("benchfs", False), ("benchfs", True), ("posix", True), ("memory", False)],
)
def test_tasks_write_check_and_read_each_others_data(
    cluster: benchfs.LocalCluster, tmp_path: Path, backend: str, file_per_process: bool
) -> None:
    settings = Settings(
        check_write=True,
        check_read=True,
        transfer=BYTES_OF_HARD,
        block=2 * BYTES_OF_HARD,
        segments=5,
        repetitions=2,
        file=str(tmp_path / "f") if backend == "posix" else "/f",
        file_per_process=file_per_process,
        reorder=True,
        random_offsets=True,
        fsync=True,
        barriers=True,
    )

    found = measured(Target(backend, cluster.url), settings, 3)

    assert not found.failure
    order = [(phase.access, phase.iteration) for phase in found.phases]
    assert order == [(access, i) for i in range(2) for access in ("write", "check", "read")]
    for phase in found.phases:
        assert phase.bytes == 3 * 10 * BYTES_OF_HARD
        assert phase.transfers == phase.latencies.count == 30
        assert sum(phase.timeline.slots) == phase.bytes
        assert phase.errors == 0
        assert phase.total_s >= phase.move_s > 0
    assert [part.source for part in found.phases[2].parts] == [1, 2, 0]
    assert len(set(found.processes)) == 3
    assert os.getpid() not in found.processes
    assert len(found.removed) == 2
    with benchfs.Client(cluster.url) as fs:
        assert fs.listdir("/") == []
    assert list(tmp_path.iterdir()) == []


def test_bytes_changed_between_runs_are_the_exit_status(cluster: benchfs.LocalCluster) -> None:
    flags = ("--cluster", cluster.url, "-t", "4k", "-b", "64k", "-G", "7", "-o", "/kept", "-k")
    command("-w", *flags)
    with benchfs.Client(cluster.url) as fs, fs.open("/kept", "r+b") as file:
        for offset in (5000, 20_000, 20_100):  # in three bytes, of two transfers
            file.pwrite(bytes([file.pread(1, offset)[0] ^ 1]), offset)

    command("-r", *flags)  # nothing is compared without -R
    done = command("-r", "-R", *flags, "--json", status=2)

    assert json.loads(done.stdout)["benchfs"]["errors"] == 2
    assert "2 transfers" in done.stderr
    assert command("-r", "-R", *flags, "-G", "8", status=16)  # another signature: all of them
    with benchfs.Client(cluster.url) as fs:
        fs.unlink("/kept")


def test_the_offset_packet_can_be_checked_by_any_other_run(tmp_path: Path) -> None:
    flags = ("-a", "POSIX", "-o", str(tmp_path / "f"), "-l", "offset", "-k", "-s", "3")

    command("-w", *flags, "-N", "2")
    command("-R", *flags, "-N", "2")

    assert (tmp_path / "f").stat().st_size == 3 * 2 * MIB


def test_at_the_deadline_all_wear_out_to_the_same_count_and_a_later_run_knows_it(
    cluster: benchfs.LocalCluster, tmp_path: Path
) -> None:
    status = tmp_path / "status"
    wearing = Settings(
        check_read=True, transfer=4096, block=1 << 40, file_per_process=True, keep=True,
        deadline=1, wear_out=True, status_file=str(status), signature=1,
    )  # fmt: skip
    reading = Settings(
        write=False, check_read=True, transfer=4096, block=1 << 40, file_per_process=True,
        status_file=str(status), signature=1,
    )  # fmt: skip

    first = measured(Target(cluster=cluster.url), wearing, 2)
    second = measured(Target(cluster=cluster.url), reading, 2)

    assert not first.failure, first.failure
    write, read = first.phases
    counts = {part.transfers for part in write.parts}
    assert len(counts) == 1
    assert write.stonewall is not None
    assert 0 < write.stonewall.bytes <= write.bytes
    assert all(part.transfers <= max(counts) for part in read.parts)
    assert int(status.read_text()) == counts.pop()
    assert not second.failure, second.failure
    assert second.phases[0].transfers == write.transfers
    assert second.errors == 0
    with benchfs.Client(cluster.url) as fs:
        for name in fs.listdir("/"):
            fs.unlink(f"/{name}")


def test_a_status_file_that_is_none_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("many")
    flags = ("-a", "posix", "-r", "-N", "2", "-o", str(tmp_path / "f"))

    done = command(*flags, "-O", f"stoneWallingStatusFile={tmp_path / 'status'}", status=1)

    assert done.stderr.count("'many' is no number") == 1
    assert "Traceback" not in done.stderr


def test_without_wearing_out_what_was_written_is_read(tmp_path: Path) -> None:
    settings = Settings(
        check_read=True, reorder=True, transfer=4096, block=1 << 40, deadline=1,
        file=str(tmp_path / "f"), file_per_process=True,
    )  # fmt: skip

    found = measured(Target("posix"), settings, 2)

    write, read = found.phases
    assert write.stonewall is not None
    limits = {part.rank: part.transfers for part in write.parts}
    assert all(0 < part.transfers <= limits[part.source] for part in read.parts)
    assert found.errors == 0


def test_the_figures_include_nodes_caches_and_processors(cluster: benchfs.LocalCluster) -> None:
    settings = Settings(transfer=MIB, block=32 * MIB)

    remote = measured(Target(cluster=cluster.url, local_reads=False), settings, 1)
    local_reads = measured(Target(cluster=cluster.url), settings, 1)

    write, read = remote.phases
    assert len(write.nodes) == len(cluster.nodes)
    assert sum(after.chunk_bytes - before.chunk_bytes for before, after in write.nodes) > 0
    assert all(after.cpu_seconds is not None for _, after in write.nodes)
    assert read.counters.cache_misses
    assert read.counters.local_reads == 0
    assert local_reads.phases[1].counters.local_reads


# ---------------------------------------------------------------- what goes wrong


def test_reading_what_was_never_written_names_rank_and_file(
    cluster: benchfs.LocalCluster,
) -> None:
    done = command("-r", "-o", "/missing", "--cluster", cluster.url, "--json", status=1)

    assert "rank 0" in done.stderr
    assert "/missing" in done.stderr
    found = json.loads(done.stdout)
    assert found["tests"][0]["Results"] == found["summary"] == []
    assert "/missing" in found["benchfs"]["failure"]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("-t", "1000", "-b", "1001"), "multiple"),
        (("-t", "nothing"), "size"),
        (("-a", "tape"), "tape"),
        (("-O", "noSuchThing=1"), "noSuchThing"),
        (("-C", "-Z"), "-C and -Z"),
        (("--no-such-flag",), "no-such-flag"),
    ],
)
def test_bad_flags_are_wrong_usage_and_named(flags: tuple[str, ...], says: str) -> None:
    done = command(*flags, status=2)

    assert done.stdout == ""
    assert says in done.stderr


def test_more_than_there_is_room_for_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    flags = ("-a", "posix", "-o", str(tmp_path / "f"), "-b", "1t", "-t", "1m", "-s", "10000")

    done = command("-w", *flags, status=1)

    assert done.stderr.startswith("benchfs: rank 0: the files would have")
    assert "are free" in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_rank_that_is_killed_ends_the_others_and_is_named() -> None:
    with pytest.raises(RankLostError, match=r"rank 1: its process \d+ was ended by SIGKILL"):
        local.run(second_rank_dies, None, 3)


async def second_rank_dies(ranks: Ranks, job: None) -> None:
    if ranks.rank == 1:
        os.kill(os.getpid(), 9)
    await ranks.exchange(ranks.rank)


def test_values_are_exchanged_in_the_order_of_ranks() -> None:
    assert local.run(exchange_twice, 10, 4) == [[10, 11, 12, 13], [0, 1, 4, 9]]


async def exchange_twice(ranks: Ranks, base: int) -> list[list[int]]:
    return [await ranks.exchange(base + ranks.rank), await ranks.exchange(ranks.rank**2)]


def test_an_error_in_a_program_reaches_who_started_it(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RankLostError, match="rank 0: KeyError: 'missing'"):
        local.run(raises, None, 1)

    assert "Traceback" in capfd.readouterr().err


async def raises(ranks: Ranks, job: None) -> None:
    raise KeyError("missing")
