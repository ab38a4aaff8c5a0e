"""What a client knows of directories in which it alone makes names: never too much."""

from __future__ import annotations

import pytest

from benchfs import alone as module
from benchfs.alone import Alone
from benchfs.env import ManualClock
from benchfs.rpc.messages import DirectoryRecord
from benchfsd.delegations import TOLD_MS

DIRECTORY, ANOTHER = 7, 8
MOMENT = 0.001
TOLD_SECONDS = TOLD_MS / 1000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def alone(clock: ManualClock) -> Alone:
    return Alone(clock.monotonic)


def make(
    alone: Alone,
    clock: ManualClock,
    name: bytes,
    change: int,
    entries: int,
    *,
    told_ms: int = TOLD_MS,
    started_ns: int = 0,
) -> None:
    """A file is made and answered at once."""
    alone.begin(DIRECTORY, name)
    record = DirectoryRecord(change, entries, told_ms, started_ns)
    alone.made(DIRECTORY, clock.monotonic(), record)
    alone.end(DIRECTORY)


# --------------------------------------------------------------------------- the first file


def test_nothing_is_known_of_a_directory_before_the_first_file(alone: Alone) -> None:
    assert not alone.is_absent(DIRECTORY, b"x")
    alone.begin(DIRECTORY, b"a")
    assert not alone.is_absent(DIRECTORY, b"x")
    alone.end(DIRECTORY)
    assert not alone.is_absent(DIRECTORY, b"x")


def test_with_its_first_file_all_names_of_a_directory_are_known(
    alone: Alone, clock: ManualClock
) -> None:
    make(alone, clock, b"a", 5, 1)

    assert alone.is_absent(DIRECTORY, b"x")
    assert not alone.is_absent(DIRECTORY, b"a")
    assert not alone.is_absent(ANOTHER, b"x")


@pytest.mark.parametrize("entries", [0, 2, 100])
def test_a_directory_that_had_names_before_is_never_known(
    alone: Alone, clock: ManualClock, entries: int
) -> None:
    for number in range(3):
        make(alone, clock, b"%d" % number, 5 + number, entries + number if entries else 0)

        assert not alone.is_absent(DIRECTORY, b"x")


def test_a_node_that_grants_no_time_makes_nothing_known(alone: Alone, clock: ManualClock) -> None:
    make(alone, clock, b"a", 5, 1, told_ms=0)
    assert not alone.is_absent(DIRECTORY, b"x")
    make(alone, clock, b"b", 6, 2)
    assert alone.is_absent(DIRECTORY, b"x")


# --------------------------------------------------------------------------- time


def test_names_are_known_to_be_missing_only_while_the_time_runs(
    alone: Alone, clock: ManualClock
) -> None:
    make(alone, clock, b"a", 5, 1)

    clock.advance(TOLD_SECONDS - MOMENT)
    assert alone.is_absent(DIRECTORY, b"x")
    clock.advance(MOMENT)
    assert not alone.is_absent(DIRECTORY, b"x")


def test_the_time_begins_when_the_file_was_asked_for(alone: Alone, clock: ManualClock) -> None:
    alone.begin(DIRECTORY, b"a")
    asked = clock.monotonic()
    clock.advance(TOLD_SECONDS - MOMENT)
    alone.made(DIRECTORY, asked, DirectoryRecord(5, 1, TOLD_MS))
    alone.end(DIRECTORY)

    assert alone.is_absent(DIRECTORY, b"x")
    clock.advance(MOMENT)
    assert not alone.is_absent(DIRECTORY, b"x")


def test_each_file_begins_the_time_anew(alone: Alone, clock: ManualClock) -> None:
    for number in range(20):
        make(alone, clock, b"%d" % number, 5 + number, 1 + number)
        clock.advance(TOLD_SECONDS - MOMENT)
        assert alone.is_absent(DIRECTORY, b"x")


def test_an_answer_of_an_earlier_question_does_not_shorten_the_time(
    alone: Alone, clock: ManualClock
) -> None:
    early = clock.monotonic()
    alone.begin(DIRECTORY, b"late")
    clock.advance(TOLD_SECONDS / 2)
    make(alone, clock, b"a", 5, 1)
    alone.made(DIRECTORY, early, DirectoryRecord(6, 2, TOLD_MS))
    alone.end(DIRECTORY)

    clock.advance(TOLD_SECONDS - MOMENT)
    assert alone.is_absent(DIRECTORY, b"x")


# --------------------------------------------------------------------------- own names


def test_own_names_are_never_known_to_be_missing(alone: Alone, clock: ManualClock) -> None:
    make(alone, clock, b"made", 5, 1)
    alone.begin(DIRECTORY, b"under way")
    alone.begin(DIRECTORY, b"failed")
    alone.end(DIRECTORY)

    for name in (b"made", b"under way", b"failed"):
        assert not alone.is_absent(DIRECTORY, name)
    alone.end(DIRECTORY)
    for name in (b"made", b"under way", b"failed"):  # one of them was removed: nobody is told
        assert not alone.is_absent(DIRECTORY, name)
    assert alone.is_absent(DIRECTORY, b"x")


def test_names_under_way_when_the_first_file_is_answered_may_be_there(
    alone: Alone, clock: ManualClock
) -> None:
    alone.begin(DIRECTORY, b"before")
    alone.begin(DIRECTORY, b"first")
    alone.begin(DIRECTORY, b"after")
    alone.end(DIRECTORY)  # of "after"
    alone.made(DIRECTORY, clock.monotonic(), DirectoryRecord(5, 1, TOLD_MS))
    alone.end(DIRECTORY)
    alone.end(DIRECTORY)

    assert alone.is_absent(DIRECTORY, b"x")
    for name in (b"before", b"first", b"after"):
        assert not alone.is_absent(DIRECTORY, name)


def test_what_was_refused_before_the_first_file_is_not_there(
    alone: Alone, clock: ManualClock
) -> None:
    alone.begin(DIRECTORY, b"refused")
    alone.end(DIRECTORY)
    make(alone, clock, b"a", 5, 1)

    assert alone.is_absent(DIRECTORY, b"refused")


def test_a_directory_in_which_nobody_knows_what_became_of_a_name_is_not_taken_up(
    alone: Alone, clock: ManualClock
) -> None:
    alone.begin(DIRECTORY, b"late")
    alone.doubt(DIRECTORY)
    alone.end(DIRECTORY)
    make(alone, clock, b"a", 5, 1)
    assert not alone.is_absent(DIRECTORY, b"late")
    assert not alone.is_absent(DIRECTORY, b"x")

    alone.begin(ANOTHER, b"a")
    alone.made(ANOTHER, clock.monotonic(), DirectoryRecord(1, 1, TOLD_MS))
    alone.end(ANOTHER)
    assert alone.is_absent(ANOTHER, b"x")


def test_doubt_about_a_name_of_a_known_directory_is_of_that_name_only(
    alone: Alone, clock: ManualClock
) -> None:
    make(alone, clock, b"a", 5, 1)
    alone.begin(DIRECTORY, b"late")
    alone.doubt(DIRECTORY)
    alone.end(DIRECTORY)
    make(alone, clock, b"b", 6, 2)

    assert not alone.is_absent(DIRECTORY, b"late")
    assert alone.is_absent(DIRECTORY, b"x")


# --------------------------------------------------------------------------- gaps, and others


def test_after_a_gap_in_which_nobody_changed_it_the_directory_is_known_again(
    alone: Alone, clock: ManualClock
) -> None:
    make(alone, clock, b"a", 5, 1)
    make(alone, clock, b"b", 6, 2)
    clock.advance(100)
    assert not alone.is_absent(DIRECTORY, b"x")
    make(alone, clock, b"c", 7, 3)

    assert alone.is_absent(DIRECTORY, b"x")
    for name in (b"a", b"b", b"c"):
        assert not alone.is_absent(DIRECTORY, name)


@pytest.mark.parametrize("entries", [2, 3, 1], ids=["renamed", "made", "made-and-removed"])
def test_after_a_gap_in_which_somebody_changed_it_nothing_is_known_of_it(
    alone: Alone, clock: ManualClock, entries: int
) -> None:
    make(alone, clock, b"a", 5, 1)
    clock.advance(TOLD_SECONDS)
    make(alone, clock, b"b", 7, entries)
    assert not alone.is_absent(DIRECTORY, b"x")

    make(alone, clock, b"c", 8, entries + 1)
    assert not alone.is_absent(DIRECTORY, b"x")


def test_of_a_node_that_started_again_nothing_is_known_though_the_counter_fits(
    alone: Alone, clock: ManualClock
) -> None:
    make(alone, clock, b"a", 5, 1, started_ns=1)
    make(alone, clock, b"lost", 6, 2, started_ns=1)  # and 6 was somebody else's then
    clock.advance(TOLD_SECONDS)
    make(alone, clock, b"c", 7, 3, started_ns=2)

    assert not alone.is_absent(DIRECTORY, b"x")


def test_without_a_gap_its_own_other_changes_do_not_matter(
    alone: Alone, clock: ManualClock
) -> None:
    make(alone, clock, b"a", 5, 1)
    make(alone, clock, b"b", 9, 2)  # something was removed, or renamed

    assert alone.is_absent(DIRECTORY, b"x")


def test_reordered_answers_after_a_gap_make_nothing_known_too_early(
    alone: Alone, clock: ManualClock
) -> None:
    make(alone, clock, b"a", 5, 1)
    clock.advance(TOLD_SECONDS)
    asked = clock.monotonic()
    alone.begin(DIRECTORY, b"b")
    alone.begin(DIRECTORY, b"c")
    alone.made(DIRECTORY, asked, DirectoryRecord(7, 3, TOLD_MS))  # 6 may be of somebody else
    alone.end(DIRECTORY)
    assert not alone.is_absent(DIRECTORY, b"x")
    alone.made(DIRECTORY, asked, DirectoryRecord(6, 2, TOLD_MS))
    alone.end(DIRECTORY)

    assert not alone.is_absent(DIRECTORY, b"b")
    assert not alone.is_absent(DIRECTORY, b"c")


def test_the_answer_of_the_first_file_may_come_last(alone: Alone, clock: ManualClock) -> None:
    asked = clock.monotonic()
    alone.begin(DIRECTORY, b"first")
    alone.begin(DIRECTORY, b"second")
    alone.made(DIRECTORY, asked, DirectoryRecord(6, 2, TOLD_MS))
    alone.end(DIRECTORY)
    assert not alone.is_absent(DIRECTORY, b"x")
    alone.made(DIRECTORY, asked, DirectoryRecord(5, 1, TOLD_MS))
    alone.end(DIRECTORY)

    assert alone.is_absent(DIRECTORY, b"x")
    assert not alone.is_absent(DIRECTORY, b"first")
    assert not alone.is_absent(DIRECTORY, b"second")


def test_an_answer_from_before_the_first_file_does_not_count(
    alone: Alone, clock: ManualClock
) -> None:
    asked = clock.monotonic()
    alone.begin(DIRECTORY, b"old")  # made, removed, answered late
    make(alone, clock, b"a", 5, 1)
    alone.made(DIRECTORY, asked, DirectoryRecord(3, 1, TOLD_MS))
    alone.end(DIRECTORY)
    clock.advance(TOLD_SECONDS)
    make(alone, clock, b"b", 7, 3)  # 6 was somebody else

    assert not alone.is_absent(DIRECTORY, b"x")


# --------------------------------------------------------------------------- limits


def test_what_is_forgotten_is_not_known(alone: Alone, clock: ManualClock) -> None:
    make(alone, clock, b"a", 5, 1)
    alone.forget(DIRECTORY)
    alone.forget(ANOTHER)
    assert not alone.is_absent(DIRECTORY, b"x")
    make(alone, clock, b"b", 6, 2)
    assert not alone.is_absent(DIRECTORY, b"x")


def test_a_directory_may_be_forgotten_while_names_are_made_in_it(
    alone: Alone, clock: ManualClock
) -> None:
    make(alone, clock, b"a", 5, 1)
    alone.begin(DIRECTORY, b"b")
    alone.forget(DIRECTORY)
    alone.made(DIRECTORY, clock.monotonic(), DirectoryRecord(6, 2, TOLD_MS))
    alone.end(DIRECTORY)

    assert not alone.is_absent(DIRECTORY, b"x")


def test_with_too_many_names_everything_is_forgotten(
    alone: Alone, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NAMES_MOST", 10)
    for number in range(10):
        make(alone, clock, b"%d" % number, 1 + number, 1 + number)
    assert alone.is_absent(DIRECTORY, b"x")
    make(alone, clock, b"10", 11, 11)
    assert not alone.is_absent(DIRECTORY, b"x")

    alone.begin(ANOTHER, b"a")  # others are taken up as before
    alone.made(ANOTHER, clock.monotonic(), DirectoryRecord(1, 1, TOLD_MS))
    alone.end(ANOTHER)
    assert alone.is_absent(ANOTHER, b"x")


def test_names_that_are_forgotten_do_not_count(
    alone: Alone, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NAMES_MOST", 10)
    for _ in range(5):
        for number in range(8):
            make(alone, clock, b"%d" % number, 1 + number, 1 + number)
        assert alone.is_absent(DIRECTORY, b"x")
        alone.forget(DIRECTORY)


@pytest.mark.parametrize(("under_way", "is_known"), [(2, True), (3, False), (9, False)])
def test_with_too_many_names_under_way_a_directory_is_not_taken_up(
    alone: Alone,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    under_way: int,
    is_known: bool,
) -> None:
    monkeypatch.setattr(module, "UNDER_WAY_MOST", 4)
    for number in range(under_way):
        alone.begin(DIRECTORY, b"%d" % number)
    make(alone, clock, b"a", 5, 1)

    assert alone.is_absent(DIRECTORY, b"x") is is_known
    for number in range(under_way):
        assert not alone.is_absent(DIRECTORY, b"%d" % number)


def test_with_too_many_doubtful_directories_none_is_taken_up(
    alone: Alone, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DOUBTFUL_MOST", 2)
    for directory in (20, 21, 22):
        alone.begin(directory, b"late")
        alone.doubt(directory)
        alone.end(directory)
    make(alone, clock, b"a", 5, 1)

    assert not alone.is_absent(DIRECTORY, b"x")
