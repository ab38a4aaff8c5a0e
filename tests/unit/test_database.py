"""The database on real LMDB files: batches, acknowledgement, scans."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchfsd.database import (
    MAX_KEY_BYTES,
    Database,
)
from tests.unit.databases import Turn, reopen

MIB = 1024 * 1024


@pytest.fixture
def turn() -> Turn:
    return Turn()


@pytest.fixture
def database(tmp_path: Path, turn: Turn) -> Iterator[Database]:
    opened = Database(tmp_path / "db", sync=False, schedule=turn.call_soon)
    yield opened
    opened.close()


def test_its_directory_is_for_its_owner_who_need_not_be_root(
    tmp_path: Path, database: Database
) -> None:
    assert (tmp_path / "db").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "db/data.mdb").stat().st_mode & 0o777 == 0o600


def test_a_row_is_seen_at_once_and_stays_after_the_commit(database: Database) -> None:
    database.put(b"key", b"value")
    before = database.get(b"key")
    database.commit()

    assert before == b"value"
    assert database.get(b"key") == b"value"


def test_a_missing_row_is_none_inside_and_outside_a_batch(database: Database) -> None:
    assert database.get(b"key") is None
    database.put(b"other", b"")
    assert database.get(b"key") is None
    assert database.get(b"other") == b""


def test_get_sees_each_commit_and_not_an_older_one(database: Database) -> None:
    for number in range(3):
        database.put(b"key", b"%d" % number)
        database.commit()
        assert database.get(b"key") == b"%d" % number


def test_delete_tells_whether_there_was_a_row(database: Database) -> None:
    database.put(b"key", b"value")
    database.commit()

    assert database.delete(b"key") is True
    assert database.delete(b"key") is False
    assert database.get(b"key") is None
    database.commit()
    assert database.get(b"key") is None


def test_one_turn_is_one_batch_committed_by_what_was_scheduled(
    database: Database, turn: Turn
) -> None:
    database.put(b"a", b"1")
    database.put(b"b", b"2")
    database.delete(b"a")

    assert len(turn.scheduled) == 1
    assert database.batch_open
    turn.run()
    assert not database.batch_open


def test_reading_opens_no_batch(database: Database, turn: Turn) -> None:
    database.get(b"key")
    list(database.scan(b""))

    assert not database.batch_open
    assert turn.scheduled == []


def test_a_commit_by_hand_leaves_the_next_batch_to_its_own_turn(
    database: Database, turn: Turn
) -> None:
    database.put(b"a", b"1")
    database.commit()
    turn.run()  # the first batch's: nothing is open any more
    database.put(b"b", b"2")

    assert database.batch_open
    assert len(turn.scheduled) == 1


def test_callbacks_run_after_the_commit_in_their_order(database: Database, turn: Turn) -> None:
    seen: list[tuple[int, bool]] = []
    database.put(b"a", b"1")
    for number in range(3):
        database.on_commit(lambda number=number: seen.append((number, database.batch_open)))

    assert seen == []
    turn.run()
    assert seen == [(0, False), (1, False), (2, False)]


def test_without_a_batch_a_callback_runs_at_once(database: Database) -> None:
    seen: list[str] = []

    database.on_commit(lambda: seen.append("now"))

    assert seen == ["now"]


def test_a_callback_may_begin_the_next_batch(database: Database, turn: Turn) -> None:
    seen: list[str] = []

    def again() -> None:
        database.put(b"b", b"2")
        database.on_commit(lambda: seen.append("second batch"))

    database.put(b"a", b"1")
    database.on_commit(again)
    database.on_commit(lambda: seen.append("first batch"))
    turn.run()

    assert seen == ["first batch"]
    assert database.batch_open
    turn.run()
    assert seen == ["first batch", "second batch"]


def test_a_callback_that_raises_does_not_silence_the_others(database: Database, turn: Turn) -> None:
    seen: list[str] = []
    database.put(b"a", b"1")
    database.on_commit(lambda: 1 // 0)
    database.on_commit(lambda: seen.append("called"))

    with pytest.raises(ZeroDivisionError):
        turn.run()
    turn.run()

    assert seen == ["called"]


@pytest.mark.parametrize("key", [b"", b"k" * (MAX_KEY_BYTES + 1)])
def test_impossible_keys_are_refused_and_harm_nothing(database: Database, key: bytes) -> None:
    with pytest.raises(ValueError, match="a key of"):
        database.put(key, b"")

    database.put(b"k" * MAX_KEY_BYTES, b"value")
    database.commit()
    assert database.get(b"k" * MAX_KEY_BYTES) == b"value"


@pytest.mark.parametrize("key", [b"", b"k" * (MAX_KEY_BYTES + 1)])
def test_asking_for_an_impossible_key_is_not_fatal(database: Database, key: bytes) -> None:
    database.put(b"k" * MAX_KEY_BYTES, b"value")

    for _ in range(2):
        assert database.get(key) is None
        assert database.delete(key) is False
        if key:
            assert list(database.scan(key)) == []
            assert list(database.scan(key, key * 2, reverse=True)) == []
            assert database.count(key) == 0
            assert list(database.scan(b"k", key)) == []
        database.commit()
    assert database.get(b"k" * MAX_KEY_BYTES) == b"value"


# ------------------------------------------------------------------------------- scans


def short_bytes(least: int) -> st.SearchStrategy[bytes]:
    """Of few letters, so that keys share prefixes; 255 has no next letter."""
    letters = st.sampled_from([b"\x00", b"a", b"b", b"\xff"])
    return st.lists(letters, min_size=least, max_size=4).map(b"".join)


@given(
    keys=st.sets(short_bytes(1), max_size=40),
    prefix=short_bytes(0),
    after=short_bytes(0),
    reverse=st.booleans(),
    committed=st.booleans(),
)
@example(keys={b"a", b"b", b"c"}, prefix=b"b", after=b"d", reverse=True, committed=True)
@example(keys={b"a", b"b", b"c"}, prefix=b"b", after=b"a", reverse=False, committed=True)
def test_a_scan_gives_what_sorting_gives(
    tmp_path_factory: pytest.TempPathFactory,
    *,
    keys: set[bytes],
    prefix: bytes,
    after: bytes,
    reverse: bool,
    committed: bool,
) -> None:
    path = tmp_path_factory.mktemp("scan")
    database = reopen(path)
    for key in keys:
        database.put(key, key * 2)
    if committed:
        database.commit()

    found = list(database.scan(prefix, after, reverse))
    counted = database.count(prefix)
    database.close()

    within = [key for key in sorted(keys, reverse=reverse) if key.startswith(prefix)]
    if after:
        within = [key for key in within if (key < after if reverse else key > after)]
    assert found == [(key, key * 2) for key in within]
    assert counted == sum(key.startswith(prefix) for key in keys)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_goes_through_many_pages(database: Database, reverse: bool) -> None:
    keys = [b"k%04d" % number for number in range(1000)]
    for key in keys:
        database.put(key, b"")

    found = [key for key, _ in database.scan(b"k", reverse=reverse)]

    assert found == sorted(keys, reverse=reverse)


def test_a_scan_may_be_abandoned_or_mixed_with_changes_and_commits(
    database: Database, turn: Turn
) -> None:
    keys = [b"k%04d" % number for number in range(600)]
    for key in keys:
        database.put(key, b"old")
    abandoned = database.scan(b"k")
    next(abandoned)

    seen = []
    for key, _ in database.scan(b"k"):
        seen.append(key)
        database.delete(key)
        if len(seen) % 50 == 0:
            turn.run()

    assert seen == keys
    assert list(database.scan(b"k")) == []
    del abandoned
    database.put(b"k", b"still works")
    turn.run()
    assert database.get(b"k") == b"still works"


# ----------------------------------------------------------------------------- figures


def test_figures_follow_the_rows(database: Database) -> None:
    empty = database.used_bytes
    for number in range(1000):
        database.put(b"key%d" % number, bytes(100))
    database.commit()

    assert database.entries() == 1000
    assert database.used_bytes >= empty + 100_000
    assert database.map_bytes == 64 * 1024 * MIB


def test_flush_to_disk_works_beside_an_open_batch(database: Database) -> None:
    database.put(b"key", b"value")
    database.flush_to_disk()

    assert database.batch_open


def test_the_file_takes_disk_as_rows_come_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    database = reopen(tmp_path)
    database.close()

    file = os.stat(tmp_path / "db" / "data.mdb")
    assert file.st_blocks * 512 < MIB
    assert file.st_mode & 0o077 == 0
