"""How fast `scrub` goes."""

from __future__ import annotations

from benchfs.fsck.scrub import PIECE_BYTES, Pace


def test_the_rate_is_kept_over_the_whole_time() -> None:
    pace = Pace(1000, started=50.0)

    assert pace.wait(1000, now=50.0) == 1.0
    assert pace.wait(1000, now=51.5) == 0.5
    assert pace.wait(1000, now=60.0) == 0.0


def test_pieces_are_a_fraction_of_a_second_and_bounded() -> None:
    assert Pace(1000, started=0.0).piece == 250
    assert Pace(1, started=0.0).piece == 1
    assert Pace(1 << 40, started=0.0).piece == PIECE_BYTES


def test_without_a_rate_nothing_waits() -> None:
    pace = Pace(None, started=0.0)

    assert pace.piece == PIECE_BYTES
    assert pace.wait(1 << 40, now=0.0) == 0.0
