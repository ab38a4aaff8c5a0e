"""The floor: it measures between real processes, cleans up, and says when it cannot."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest

from benchfs.bench import floor
from benchfs.bench.floor import Sample, default_directory, measure, sample, summary

MIB = 1 << 20


def test_every_speed_is_positive_and_nothing_stays(tmp_path: Path) -> None:
    found = measure(tmp_path, copy_bytes=2 * MIB, pings=20, repeats=1)

    assert min(found.copy_mib_s, found.pings_together_s, found.pings_apart_s or 1) > 0
    assert len(found.samples) == 1
    assert list(tmp_path.iterdir()) == []


def test_medians_are_taken_figure_by_figure() -> None:
    samples = [Sample(1.0, 30.0, 200.0), Sample(3.0, 10.0, 300.0), Sample(2.0, 20.0, 100.0)]

    found = summary(samples)

    assert (found.copy_mib_s, found.pings_together_s, found.pings_apart_s) == (2.0, 20.0, 200.0)
    assert json.loads(json.dumps(asdict(found)))["samples"][1]["copy_mib_s"] == 3.0


@pytest.mark.parametrize(("copy_bytes", "pings"), [(0, 1), (MIB + 1, 1), (MIB, 0), (-MIB, 1)])
def test_what_cannot_be_measured_is_refused(tmp_path: Path, copy_bytes: int, pings: int) -> None:
    with pytest.raises(ValueError, match="cannot copy"):
        sample(tmp_path, copy_bytes, pings)


def test_a_process_that_fails_is_an_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "write_bytes", lambda path, data: len(data))  # no source to copy

    with pytest.raises(OSError, match="process of the floor has failed"):
        sample(tmp_path, MIB, 1)
    assert "FileNotFoundError" in capfd.readouterr().err


def test_processes_keep_to_the_cpus_they_are_given(tmp_path: Path) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    paths = [tmp_path / "work", tmp_path / "peer"]

    def write_affinity(_sock: socket.socket, *, path: Path) -> None:
        path.write_text(str(sorted(os.sched_getaffinity(0))))

    work, peer = (partial(write_affinity, path=path) for path in paths)
    floor._seconds(work, peer, (cpus[0], cpus[-1]))

    assert [path.read_text() for path in paths] == [f"[{cpus[0]}]", f"[{cpus[-1]}]"]
    assert os.sched_getaffinity(0) == set(cpus)


def test_on_one_cpu_nothing_is_measured_apart(tmp_path: Path) -> None:
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        found = measure(tmp_path, copy_bytes=MIB, pings=10, repeats=2)
    finally:
        os.sched_setaffinity(0, cpus)

    assert found.pings_apart_s is None
    assert [one.pings_apart_s for one in found.samples] == [None, None]


def test_the_busy_share_is_what_was_not_idle_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([(10, 100), (40, 200)])
    monkeypatch.setattr(floor, "_cpu_times", lambda: next(times))

    assert floor.busy_share(0.0) == pytest.approx(0.7)


def test_the_faster_copy_is_the_floor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    monkeypatch.setattr(
        floor, "_copy", lambda _place, _size, cpus: {(3, 3): 7.0, (3, 5): 2.0}[cpus]
    )
    monkeypatch.setattr(floor, "_pings", lambda _count, cpus: float(len(set(cpus))))

    assert sample(tmp_path, MIB, 1) == Sample(7.0, 1.0, 2.0)


def test_the_default_directory_is_there() -> None:
    assert default_directory().is_dir()
