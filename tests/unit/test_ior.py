"""IOR without a file system: its flags, its order of ranks and transfers, its columns."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence

import pytest

from benchfs.bench.ior import directives
from benchfs.bench.ior.csvtext import csv_text
from benchfs.bench.ior.document import document
from benchfs.bench.ior.order import Offsets, sources
from benchfs.bench.ior.phase import Part, Span
from benchfs.bench.ior.result import MIB, Outcome, summed
from benchfs.bench.ior.settings import Settings
from benchfs.bench.ior.text import text
from benchfs.bench.launch import mpi

# What IOR prints for `ior -w -r -C -F -t 1m -b 16m -s 2 -o /data/file` with two tasks, after its
# documentation; figures are made up.
EXAMPLE = """\
Options: 
api                 : POSIX
apiVersion          : 
test filename       : /data/file
access              : file-per-process
type                : independent
segments            : 2
ordering in a file  : sequential
ordering inter file : constant task offset
task offset         : 1
nodes               : 1
tasks               : 2
clients per node    : 2
repetitions         : 1
xfersize            : 1 MiB
blocksize           : 16 MiB
aggregate filesize  : 64 MiB

Results: 

access    bw(MiB/s)  IOPS       Latency(s)  block(KiB) xfer(KiB)  open(s)    wr/rd(s)   close(s)   total(s)   iter
------    ---------  ----       ----------  ---------- ---------  --------   --------   --------   --------   ----
write     25.60      32.00      0.062500    16384      1024.00    0.250000   2.00       0.250000   2.50       0   
read      4267       6400       0.000313    16384      1024.00    0.002500   0.010000   0.002500   0.015000   0   
remove    -          -          -           -          -          -          -          -          0.500000   0   
Max Write: 25.60 MiB/sec (26.84 MB/sec)
Max Read:  4266.67 MiB/sec (4473.92 MB/sec)

Summary of all tests:
Operation   Max(MiB)   Min(MiB)  Mean(MiB)     StdDev   Max(OPs)   Min(OPs)  Mean(OPs)     StdDev    Mean(s) Stonewall(s) Stonewall(MiB) Test# #Tasks tPN reps fPP reord reordoff reordrand seed segcnt   blksiz    xsize aggs(MiB)   API RefNum
write          25.60      25.60      25.60       0.00      25.60      25.60      25.60       0.00    2.50000         NA            NA     0      2   2    1   1     1        1         0    0      2 16777216  1048576      64.0 POSIX      0
read         4266.67    4266.67    4266.67       0.00    4266.67    4266.67    4266.67       0.00    0.01500         NA            NA     0      2   2    1   1     1        1         0    0      2 16777216  1048576      64.0 POSIX      0
"""  # noqa: E501, W291 (IOR's own lines)


def part(rank: int, opened: float, moved: float, closed: float, count: int) -> Part:
    one = Part(rank, rank, Span(0, opened), Span(opened, moved), Span(moved, closed))
    one.transfers, one.bytes = count, count * MIB
    one.latencies.add((moved - opened) / count)
    one.timeline.add(moved, count * MIB)
    return one


def outcome(settings: Settings, failure: str = "") -> Outcome:
    phases = [
        summed(access, 0, [part(rank, *times, settings.transfers) for rank in range(2)], [])
        for access, times in (("write", (0.25, 2.25, 2.5)), ("read", (0.0025, 0.0125, 0.015)))
    ]
    return Outcome(
        settings, "POSIX", ["h", "h"], [1, 2], 0.0,
        ended=9.0, phases=phases, removed=[0.5], failure=failure,
    )  # fmt: skip


def two_tasks() -> Settings:
    return Settings(
        transfer=MIB, block=16 * MIB, segments=2, file="/data/file", file_per_process=True,
        reorder=True,
    )  # fmt: skip


def test_the_output_is_iors_to_the_letter() -> None:
    lines = list(text(outcome(two_tasks()), "0", ["benchfs"], "Linux h"))

    begin, end = lines.index("Options: "), len(lines) - 1
    assert "\n".join(lines[begin:end]) + "\n" == EXAMPLE


def test_output_of_a_run_that_ended_early_is_marked_and_has_no_summary() -> None:
    found = outcome(two_tasks(), "read: rank 1: no space")
    found.phases = found.phases[:1]

    shown = "\n".join(text(found, "0", ["benchfs"], "Linux h"))

    assert "INCOMPLETE: read: rank 1: no space" in shown
    assert "\nwrite     25.60" in shown
    assert "Summary of all tests" not in shown


def test_the_json_document_has_iors_keys_and_parses() -> None:
    made = document(outcome(two_tasks()), "0", ["benchfs"], "Linux h", {})

    found = json.loads(json.dumps(made, allow_nan=False))

    assert list(found)[:6] == ["Version", "Began", "Command line", "Machine", "tests", "summary"]
    [test] = found["tests"]
    assert [one["access"] for one in test["Results"]] == ["write", "read"]
    assert list(test["Results"][0]) == [
        *("access", "bwMiB", "blockKiB", "xferKiB", "iops", "latency"),
        *("openTime", "wrRdTime", "closeTime", "totalTime"),
    ]
    assert test["Results"][0]["bwMiB"] == pytest.approx(25.6)
    assert found["summary"][0]["operation"] == "write"
    assert found["summary"][0]["bwMaxMIB"] == pytest.approx(25.6)
    assert test["Parameters"]["transferSize"] == MIB
    assert test["Options"]["tasks"] == 2


def test_csv_has_the_tasks_before_the_iteration() -> None:
    header, write, _ = csv_text(outcome(two_tasks())).splitlines()

    assert header.endswith("total(s),numTasks,iter")
    assert write.startswith("write,25.600000,32.000000,")
    assert write.endswith(",2,0")


def test_times_go_from_the_first_ranks_start_to_the_last_ranks_end() -> None:
    parts = [part(0, 1, 2, 3, 4), part(1, 0.5, 4, 5, 4)]
    parts[0].opening = Span(0.25, 1)

    found = summed("write", 0, parts, [])

    assert (found.open_s, found.move_s, found.close_s, found.total_s) == (1, 3.5, 3, 5)
    assert found.mib_s == pytest.approx(8 / 5)
    assert found.operations_s == pytest.approx(8 / 3.5)
    assert found.latency_s == pytest.approx((1 + 3.5) / 8)


def test_a_rank_that_was_done_before_the_deadline_counts_with_all_it_moved() -> None:
    parts = [part(0, 1, 2, 3, 4), part(1, 1, 7, 8, 9)]
    parts[1].stonewall = (5.0, 6 * MIB)

    wall = summed("write", 0, parts, []).stonewall

    assert wall is not None
    assert (wall.seconds, wall.bytes) == (5.0, 10 * MIB)


# ---------------------------------------------------------------- flags


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"transfer": 0}, "-t"),
        ({"transfer": 1000, "block": 1001}, "-b"),
        ({"block": 0}, "-b"),
        ({"segments": 0}, "-s"),
        ({"repetitions": 0}, "-i"),
        ({"block": 1 << 60, "segments": 1 << 20}, "-s"),
        ({"write": False, "read": False}, "nothing to do"),
        ({"file": ""}, "-o"),
        ({"file": "/dir/"}, "-o"),
        ({"packet": "x"}, "-l"),
        ({"unique_directory": True}, "-F"),
        ({"reorder": True, "reorder_random": True}, "-C"),
        ({"deadline": -1}, "-D"),
        ({"wear_out": True}, "-D"),
        ({"status_file": "f"}, "-k"),
        ({"status_file": "f", "keep": True}, "stoneWallingWearOut"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_their_flag(
    wrong: dict[str, int], names: str
) -> None:
    with pytest.raises(ValueError, match=names):
        Settings(**wrong)


def test_every_task_has_a_file_or_its_own_part_of_one() -> None:
    own = Settings(file="/d/f", file_per_process=True)
    unique = Settings(file="/d/f", file_per_process=True, unique_directory=True)

    assert own.path(3) == "/d/f.00000003"
    assert unique.path(3) == "/d/3/f.00000003"
    assert Settings(file="/d/f").path(3) == "/d/f"


@pytest.mark.parametrize("random_offsets", [False, True])
@pytest.mark.parametrize("file_per_process", [False, True])
def test_the_transfers_of_all_tasks_fill_their_files_without_overlap(
    file_per_process: bool, random_offsets: bool
) -> None:
    settings = Settings(
        transfer=5, block=15, segments=4, file_per_process=file_per_process,
        random_offsets=random_offsets,
    )  # fmt: skip

    found = [
        (settings.path(rank), Offsets(settings, rank, 3)[number])
        for rank in range(3)
        for number in range(settings.transfers)
    ]

    size = 15 * 4 * (1 if file_per_process else 3)
    paths = {settings.path(rank) for rank in range(3)}
    assert sorted(found) == sorted((path, at) for path in paths for at in range(0, size, 5))


def test_a_shared_file_has_the_tasks_blocks_side_by_side_in_each_segment() -> None:
    settings = Settings(transfer=2, block=4, segments=2)

    offsets = [[Offsets(settings, rank, 2)[i] for i in range(4)] for rank in range(2)]

    assert offsets == [[0, 2, 8, 10], [4, 6, 12, 14]]


# ---------------------------------------------------------------- who reads whose data


@pytest.mark.parametrize(
    "hosts", [["a"] * 2, ["a"] * 7, ["a", "a", "b", "b"], ["a", "b", "a", "b"], ["a", "b", "c"]]
)
@pytest.mark.parametrize("offset", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("random", [False, True])
def test_reordered_nobody_reads_its_own_data_and_all_is_read_once(
    hosts: Sequence[str], offset: int, random: bool
) -> None:
    settings = Settings(reorder=not random, reorder_random=random, task_offset=offset)

    found = sources(settings, hosts, 0, offset)

    assert sorted(found) == list(range(len(hosts)))
    assert all(source != rank for rank, source in enumerate(found))


def test_neighbours_on_a_host_read_what_another_host_wrote() -> None:
    settings = Settings(reorder=True)
    hosts = ["a", "a", "b", "b", "c", "c"]

    found = sources(settings, hosts, 0, settings.task_offset)

    assert found == [2, 3, 4, 5, 0, 1]
    assert all(hosts[source] != hosts[rank] for rank, source in enumerate(found))


def test_without_reordering_and_with_one_task_data_is_read_where_it_was_written() -> None:
    assert sources(Settings(), ["a", "b"], 0, 1) == [0, 1]
    assert sources(Settings(reorder=True), ["a"], 0, 1) == [0]


def test_a_negative_seed_draws_anew_for_each_repetition() -> None:
    fixed = Settings(reorder_random=True, random_seed=1)
    moving = Settings(reorder_random=True, random_seed=-1)
    hosts = ["a"] * 50

    assert sources(fixed, hosts, 0, 1) == sources(fixed, hosts, 1, 1)
    assert sources(moving, hosts, 0, 1) != sources(moving, hosts, 1, 1)


# ---------------------------------------------------------------- directives, launchers


def test_directives_are_read_in_any_case_and_later_ones_win() -> None:
    found = directives.parse(["stoneWallingWearOut=1,TRANSFERSIZE=1m", "transferSize=2m"])

    assert found.settings == {"wear_out": True, "transfer": 2 * MIB}
    assert directives.parse(["summaryFormat=JSON,api=POSIX"]).other == {
        "summary_format": "json",
        "api": "posix",
    }


@pytest.mark.parametrize("wrong", ["", "x", "noSuch=1", "keepFile=2", "repetitions=x", "t=1"])
def test_directives_that_are_unknown_or_wrong_are_named(wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong or "directive"):
        directives.parse([wrong])


@pytest.mark.parametrize(
    ("environment", "launched"),
    [
        ({}, False),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, True),
        ({"PMI_SIZE": "2"}, True),
        ({"SLURM_NTASKS": "8"}, False),  # in the batch script: srun has not started this
        ({"SLURM_NTASKS": "8", "SLURM_STEP_ID": "0"}, True),
        ({"SLURM_NTASKS": "1", "SLURM_STEP_ID": "0"}, False),
    ],
)
def test_a_launcher_is_known_by_its_environment(
    environment: dict[str, str], launched: bool
) -> None:
    assert mpi.launched(environment) == launched


@pytest.mark.parametrize(
    ("environment", "ranks"),
    [
        ({}, 1),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, 4),
        ({"PMI_SIZE": "2", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "8"}, 2),
        ({"SLURM_NTASKS": "8"}, 1),
        ({"SLURM_NTASKS": "8", "SLURM_STEP_ID": "0"}, 8),
    ],
)
def test_a_launcher_says_how_many_ranks_it_started(environment: dict[str, str], ranks: int) -> None:
    assert mpi.started(environment) == ranks


def test_spread_is_of_the_whole_population() -> None:
    found = outcome(two_tasks())
    found.phases.append(found.phases[0])
    row = document(found, "0", [], "", {})["summary"]
    assert isinstance(row, list)
    first = row[0]
    assert isinstance(first, dict)
    assert first["bwStdMIB"] == statistics.pstdev([1, 1])
