"""What the benchmarks accept, and what their checks see, without a cluster."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import typer

from benchfs.bench import base, md, memory
from benchfs.bench.demo import differences
from benchfs.bench.floor import Sample, summary
from benchfs.bench.pattern import Pattern
from benchfs.bench.processes import peak_bytes
from benchfs.cli.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("4096", 4096), ("64k", 65536), ("1m", 1 << 20), ("2G", 2 << 30), ("1MiB", 1 << 20)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "k", "1x", "-1", "1.5m", "one"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_size(text)


@pytest.mark.parametrize("transfer", [1, 100, 47008, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_a_flipped_byte_is_seen(transfer: int) -> None:
    pattern = Pattern(transfer)
    offset = 5 * transfer
    buffer = bytearray(pattern.at(1, offset))
    assert len(buffer) == transfer
    assert pattern.holds(buffer, 1, offset)

    for place in {0, transfer // 2, transfer - 1}:
        buffer[place] ^= 1
        assert not pattern.holds(buffer, 1, offset)
        buffer[place] ^= 1


def test_bytes_of_another_place_or_client_are_seen() -> None:
    pattern = Pattern(4096)
    pieces = {
        bytes(pattern.at(rank, offset)) for rank in range(4) for offset in range(0, 1 << 20, 4096)
    }

    assert len(pieces) == 4 * 256


@pytest.mark.parametrize("wrong", [(0, 1, 1 << 20), (1, 0, 1 << 20), (1, 1, 0), (1, 1, 4096)])
def test_md_refuses_settings_that_cannot_be(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError):
        md.Settings(*wrong)


def test_bytes_that_differ_are_an_error() -> None:
    md.require_equal(b"same", b"same", "/f")
    with pytest.raises(OSError, match="/f"):
        md.require_equal(b"some", b"same", "/f")


@pytest.mark.parametrize(
    ("ratio", "apart", "verdict"),
    [(0.5, None, "reached"), (0.4, None, "not reached"), (0.4, 0.6, "apart only")],
)
def test_a_figure_is_held_against_its_target(
    ratio: float, apart: float | None, verdict: str
) -> None:
    assert base.Figure("f", "/s", 1.0, ratio, apart, 0.5, (1.0,)).verdict == verdict


def test_the_ratio_is_of_the_floor_of_the_same_round() -> None:
    floors = [Sample(100.0, 1000.0, 500.0), Sample(200.0, 4000.0, None), Sample(50.0, 500.0, 250.0)]
    rounds = [dict.fromkeys(base.TARGETS, speed) | {md.LOAD: 1.0} for speed in (50.0, 400.0, 100.0)]

    found = {figure.name: figure for figure in base.figures(floors, rounds)}

    assert (found[base.READ].median, found[base.READ].ratio) == (100.0, 2.0)
    assert (found[md.STAT].ratio, found[md.STAT].apart) == (0.1, pytest.approx(0.25))
    assert found[base.READ].apart is None
    assert found[md.LOAD].target is None
    assert found[md.LOAD].verdict == ""


def test_rounds_that_began_on_a_busy_machine_are_counted() -> None:
    floor = summary([Sample(1.0, 1.0, 1.0)])

    assert base.Measured(floor, [], [0.0, 0.05, 0.5, 1.0]).disturbed == 2


def test_a_process_knows_its_peak() -> None:
    assert 1 < peak_bytes(os.getpid()) / (1 << 20) < 100_000
    assert memory.Peak("p", 80.0, 80.0).reached
    assert not memory.Peak("p", 80.1, 80.0).reached


def test_the_demo_sees_every_difference_of_two_trees(tmp_path: Path) -> None:
    for side in ("a", "b"):
        (tmp_path / side / "sub").mkdir(parents=True)
        (tmp_path / side / "sub" / "same").write_bytes(b"1" * 100)
        (tmp_path / side / "changed").write_bytes(side.encode())
    (tmp_path / "a" / "lost").touch()
    (tmp_path / "b" / "new").touch()

    assert differences(tmp_path / "a", tmp_path / "b") == ["changed", "lost", "new"]
