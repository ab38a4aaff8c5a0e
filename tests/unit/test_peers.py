"""The comparison with other file systems, without them: what is measured, recorded and told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchfs.bench import floor
from benchfs.bench.ior.settings import Settings as IorSettings
from benchfs.bench.peers import packages, rounds, tables, work
from benchfs.bench.peers.choose import DURABLE, GLUSTERFS, MOOSEFS, MOUNT, NATIVE, RAW, SYSTEMS
from benchfs.bench.peers.commands import command
from benchfs.bench.peers.packages import services_held_back
from benchfs.bench.peers.page import page
from benchfs.bench.peers.ranks import Sample, spent
from benchfs.bench.peers.reasons import REASONS
from benchfs.bench.peers.record import Machine, Record, Round, load, save
from benchfs.bench.peers.surveyed import file_system, machine
from benchfs.bench.peers.work import COLD, CREATE, LEAVE, ROWS, WRITE, Sizes, Step, stages
from benchfs.bench.peers.yardstick import (
    IOR_DISK,
    IOR_READ,
    IOR_WRITE,
    LOOP_DISK,
    LOOP_READ,
    LOOP_WRITE,
    NAME,
)

DOCS = Path(__file__).parents[2] / "docs"
FLOOR = floor.Sample(1000.0, 20_000.0, 10_000.0)
STEPS = [step for stage in stages(Sizes(), "/place") for step in stage.steps]


def a_round(rates: dict[str, float], **more: object) -> Round:
    """Every row of a system has its one rate."""
    samples = {
        name: {row.title: Sample(rate, 0.001) for row in ROWS} for name, rate in rates.items()
    }
    loops = {IOR_WRITE: 95.0, LOOP_WRITE: 100.0, IOR_READ: 210.0, LOOP_READ: 200.0}
    found = Round(0.0, FLOOR, loops, samples, {})
    return replace(found, **more)  # type: ignore[arg-type]  # by name


def a_record(*found: Round) -> Record:
    where = Machine("Processor", 2, 16, "Linux 6.1", "ext4", is_virtual=True)
    return Record(where, {"BenchFS": "1"}, Sizes(), 300.0, len(found), found)


# ---------------------------------------------------------------- what is measured


def test_every_row_is_measured_once_in_a_round() -> None:
    assert sorted(step.row.title for step in STEPS) == sorted(row.title for row in ROWS)


def test_what_is_read_was_written_in_an_earlier_stage_by_another_process() -> None:
    found = stages(Sizes(), "/place")

    assert [stage.before == LEAVE for stage in found] == [True, False, False, False]
    assert found[-1].before == COLD
    for step in (step for stage in found[1:] for step in stage.steps):
        if isinstance(step.settings, IorSettings):
            assert step.settings.reorder
            assert not step.settings.write
        else:
            assert step.settings.stride == 1
            assert not step.settings.create


def test_the_writing_of_ior_ends_with_fsync_and_leaves_what_is_read_later() -> None:
    written = [
        s.settings for s in STEPS if isinstance(s.settings, IorSettings) and s.settings.write
    ]

    assert len(written) == 2
    assert all(settings.fsync and settings.keep for settings in written)


@pytest.mark.parametrize("wrong", [{"file_mib": 0}, {"processes": 1}, {"random_seconds": 0}])
def test_sizes_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="sizes"):
        Sizes(**wrong)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.row.title)
def test_the_command_of_a_row_means_the_settings_it_was_measured_with(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchfs.cli import bench, bench_ior, bench_mdtest

    asked: list[object] = []
    for module in (bench_ior, bench_mdtest):
        monkeypatch.setattr(module, "run", lambda *arguments: asked.append(arguments))

    words = command(step, 2).split()
    done = CliRunner().invoke(bench.app, words[2:])

    assert done.exit_code == 0, done.output
    [(target, settings, tasks)] = asked  # type: ignore[misc]  # what run was given
    assert settings == step.settings
    assert (target.backend, tasks) == ("posix", 2)


def test_time_on_cpus_counts_what_began_meanwhile() -> None:
    assert spent({1: 2.0, 2: 1.0, 3: 9.0}, {1: 2.5, 2: 1.0, 4: 0.25}) == 0.75


# ---------------------------------------------------------------- rounds


class Fake:
    """In place of namespaces: every system has a rate for every row, but `failing` ones fail."""

    def __init__(self, failing: Sequence[str] = ()) -> None:
        self.order: list[str] = []
        self._failing = failing

    def __call__(self, module: str, arguments: Sequence[str], log: Path) -> str:
        job_file, result = map(Path, arguments)
        job = json.loads(job_file.read_text())
        name = job["system"]
        self.order.append(name)
        (Path(job["place"]) / "data").write_text("left behind")
        if name == MOOSEFS and name in self._failing:
            return "status 9: it was ended"
        titles = [row.title for row in ROWS] if name != NAME else [IOR_READ, LOOP_READ]
        failure = "no space" if name in self._failing else ""
        some = titles[:2] if failure else titles
        samples = {title: {"rate": 5.0, "cpu_s": 0.1} for title in some}
        result.write_text(json.dumps({"samples": samples, "failure": failure}))
        return ""


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "settle", lambda: 0.0)
    monkeypatch.setattr(floor, "sample", lambda place: FLOOR)


@pytest.mark.usefixtures("quiet")
def test_the_order_turns_round_and_nothing_is_left(tmp_path: Path) -> None:
    run, said = Fake(), list[str]()

    for number in range(2):
        rounds.one_round(number, SYSTEMS, Sizes(), tmp_path, run=run, say=said.append)

    assert run.order == [NAME, *SYSTEMS, *reversed(SYSTEMS), NAME]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quiet")
def test_a_system_that_fails_is_noted_with_what_it_had_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    said: list[str] = []

    found = rounds.one_round(
        0, SYSTEMS, Sizes(), tmp_path, run=Fake([GLUSTERFS, MOOSEFS]), say=said.append
    )

    assert found.failures == {GLUSTERFS: "no space", MOOSEFS: "status 9: it was ended"}
    assert len(found.systems[GLUSTERFS]) == 2
    assert found.systems[MOOSEFS] == {}
    assert len(found.systems[NATIVE]) == len(ROWS)
    assert list(found.systems) == list(SYSTEMS)
    assert "  GlusterFS: FAILED: no space" in said
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- records and tables


def test_a_record_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    record = a_record(a_round({RAW: 0.123456, MOUNT: 7.0}), a_round({}, failures={MOUNT: "lost"}))

    save(record, tmp_path / "record")

    assert load(tmp_path / "record") == record
    assert record.failures == ["round 2: BenchFS mount: lost"]


def test_something_else_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "record").write_text('{"form": 0}')

    with pytest.raises(ValueError, match="no record"):
        load(tmp_path / "record")


def test_a_ratio_is_taken_within_a_round_to_the_better_peer() -> None:
    record = a_record(
        a_round({GLUSTERFS: 10.0, MOOSEFS: 20.0, MOUNT: 30.0}),
        a_round({GLUSTERFS: 100.0, MOOSEFS: 50.0, MOUNT: 100.0}),
        a_round({GLUSTERFS: 1.0, MOUNT: 30.0}),  # has not both peers
    )

    assert tables.to_peers(record, WRITE) == (1.25, 1.0, 1.5)
    assert record.rate(MOUNT, WRITE) == 30.0


def test_rates_are_held_against_pings_and_bandwidth_against_copying() -> None:
    record = a_record(a_round({MOUNT: 500.0}))

    floors = [record.ratio_to_floor(row, MOUNT) for row in (WRITE, CREATE)]
    assert [found and found.median for found in floors] == [0.5, 0.05]


def test_what_was_not_measured_is_shown_as_nothing_and_not_as_zero() -> None:
    shown = page(a_record(a_round({RAW: 10.0, MOUNT: 5.0})), "record")

    assert "| create | 0.50 |" not in shown
    assert "| create | – | – | – | – | 0.50 | 0.00 |" in shown
    assert "Where the mount is behind" not in shown


def test_rows_that_are_behind_are_named_with_a_reason() -> None:
    rates = {GLUSTERFS: 10.0, MOOSEFS: 20.0, MOUNT: 19.0, DURABLE: 9.0, NATIVE: 50.0}
    not_native = {name: rate for name, rate in rates.items() if name != NATIVE}
    natively_ahead, natively_behind, unknown = (
        " ".join(page(a_record(a_round(one)), "record").split())
        for one in (rates, rates | {NATIVE: 15.0}, not_native)
    )

    for shown in (natively_ahead, natively_behind, unknown):
        assert f"behind the better peer on {len(ROWS)} of {len(ROWS)} rows" in shown
        assert "In mode *durable* it is behind GlusterFS on: write, 1 MiB" in shown
    assert "The native client is ahead" in natively_ahead
    assert "The native client is behind" not in natively_ahead
    assert "The native client is ahead" not in natively_behind
    assert natively_behind.count("The native client is behind") == len(REASONS)
    assert "The native client" not in unknown


def test_every_row_has_one_reason_for_being_behind() -> None:
    explained = [row for rows in REASONS.values() for row in rows]

    assert sorted(row.title for row in explained) == sorted(row.title for row in ROWS)


def test_rows_that_are_ahead_by_less_than_the_aim_are_named() -> None:
    shown = page(a_record(a_round({GLUSTERFS: 10.0, MOOSEFS: 20.0, MOUNT: 39.0})), "record")

    assert "Ahead, but short of 2 times: write, 1 MiB;" in shown
    assert "behind the better peer on no row" in shown


def test_a_page_tells_of_busy_rounds_and_of_failures() -> None:
    record = a_record(a_round({MOUNT: 1.0}, busy=0.5, failures={GLUSTERFS: "no space\nlog: x"}))

    shown = page(record, "record")

    assert "1 of 1 rounds began while something else used the machine" in " ".join(shown.split())
    assert "**Incomplete:** round 1: GlusterFS: no space\n" in shown


def test_the_page_has_the_loops_that_were_measured() -> None:
    one = a_round({MOUNT: 1.0})
    disk = {IOR_DISK: 90.0, LOOP_DISK: 100.0}

    before, after = (
        page(a_record(found), "record")
        for found in (one, replace(one, yardstick=one.yardstick | disk))
    )

    assert "| read | 210 | 200 | 1.05 |" in before
    assert "with fsync |" not in before
    assert "| write to the disk, with fsync | 90 | 100 | 0.90 |" in after


def test_the_page_of_this_repository_is_what_its_record_makes() -> None:
    source = "docs/performance.json"

    assert page(load(DOCS / "performance.json"), source) == (DOCS / "PERFORMANCE.md").read_text()


def test_the_record_of_this_repository_names_no_host_and_no_path() -> None:
    import socket

    text = (DOCS / "performance.json").read_text()

    assert "/tmp" not in text
    assert "/home" not in text
    assert socket.gethostname() not in text


def test_the_machine_is_described_without_names(tmp_path: Path) -> None:
    found = machine(tmp_path)

    assert found.cpus >= 1
    assert found.memory_gib >= 1
    assert found.kernel.startswith("Linux ")
    assert file_system(Path("/proc/self")) == "proc"


def test_a_run_that_was_interrupted_says_after_how_many_rounds() -> None:
    record = replace(a_record(a_round({MOUNT: 1.0})), asked=3)

    assert record.failures == ["interrupted after 1 of 3 rounds"]
    assert "**Incomplete:** interrupted after 1 of 3 rounds" in page(record, "record")


# ---------------------------------------------------------------- packages


def test_while_packages_are_installed_a_policy_denies_their_services(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"

    with services_held_back(policy):
        assert packages.status_of(policy) == packages.DENIED

    assert not policy.exists()


def test_a_policy_that_denies_already_stays(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)

    with services_held_back(policy):
        pass

    assert policy.exists()


def test_under_a_policy_that_lets_services_start_nothing_is_installed(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 0\n")
    policy.chmod(0o755)

    with pytest.raises(OSError, match="lets services start"), services_held_back(policy):
        raise AssertionError("it went on")


def test_a_package_that_is_not_there_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "version", lambda name: "1" if "chunk" in name else None)

    assert packages.missing(SYSTEMS) == ["glusterfs-server", "moosefs-master", "moosefs-client"]
    assert packages.missing([RAW, MOUNT]) == []


def test_the_room_that_is_asked_for_has_space_for_the_files() -> None:
    sizes = Sizes()

    assert sizes.disk_bytes > 2 * (sizes.file_mib + sizes.hard_mib) * work.MIB
