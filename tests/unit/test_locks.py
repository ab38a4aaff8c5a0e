"""Locks: ranges that are joined and split, conflicts, waiting in order, circles, claims."""

import errno
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchfs.lockranges import END, LockRange, LockRanges
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import Code, LockRecord
from benchfsd.locks import RANGES_MOST, LockTable, Owner, Waiter

ALICE, BOB, CAROL = (Owner(name * 16, 1) for name in (b"a", b"b", b"c"))
FILE, OTHER = 7, 8

spans = st.tuples(st.integers(0, 30), st.integers(1, 12), st.sampled_from(["shared", "x", "none"]))


@pytest.fixture
def table() -> LockTable:
    return LockTable()


def lock(
    table: LockTable,
    owner: Owner,
    start: int = 0,
    end: int = END,
    *,
    exclusive: bool = True,
    ino: int = FILE,
    number: int = 1,
) -> list[Owner]:
    """Who is in the way; nobody: it is locked."""
    wanted = LockRange(start, end, exclusive)
    return table.lock(ino, owner, whole=False, lock=wanted, number=number)


def unlock(table: LockTable, owner: Owner, start: int = 0, end: int = END, number: int = 1) -> None:
    table.unlock(FILE, owner, whole=False, start=start, end=end, number=number)


def wait(table: LockTable, owner: Owner, log: list[Owner], *, ino: int = FILE) -> Waiter:
    def offer() -> bool:
        log.append(owner)
        return True

    waiter = Waiter(owner, LockRange(0, END, True), offer)
    table.wait(ino, waiter, whole=False)
    return waiter


@given(st.lists(spans))
def test_ranges_are_what_was_last_said_of_each_byte(changes: list[tuple[int, int, str]]) -> None:
    ranges, oracle = LockRanges(), ["none"] * 50
    for start, length, kind in changes:
        if kind == "none":
            ranges.clear(start, start + length)
        else:
            ranges.set(LockRange(start, start + length, kind == "x"))
        oracle[start : start + length] = [kind] * length
    bytes_of = ["none"] * 50
    parts = list(ranges)
    for part in parts:
        bytes_of[part.start : part.end] = ["x" if part.exclusive else "shared"] * (
            part.end - part.start
        )
    assert bytes_of == oracle
    for before, after in itertools.pairwise(parts):
        apart = before.end < after.start or before.exclusive != after.exclusive
        assert before.end <= after.start
        assert apart
    for part in parts:
        assert ranges.covers(part)
        assert not ranges.covers(part._replace(end=50))


def test_shared_locks_go_together_and_exclusive_ones_do_not(table: LockTable) -> None:
    assert lock(table, ALICE, 0, 10, exclusive=False) == []
    assert lock(table, BOB, 5, 15, exclusive=False) == []
    assert lock(table, CAROL, 9, 12) == [ALICE, BOB]
    assert lock(table, CAROL, 15, 20) == []
    assert lock(table, ALICE, 19, 20, exclusive=False) == [CAROL]


def test_two_open_files_of_one_session_exclude_each_other(table: LockTable) -> None:
    assert lock(table, ALICE) == []
    assert lock(table, ALICE._replace(handle=2)) == [ALICE]
    assert lock(table, ALICE) == []  # its own, again


def test_those_who_wait_are_let_in_in_their_order(table: LockTable) -> None:
    log: list[Owner] = []
    lock(table, ALICE)
    wait(table, BOB, log)
    wait(table, CAROL, log)

    unlock(table, ALICE)
    assert log == [BOB]
    unlock(table, BOB)
    assert log == [BOB, CAROL]


def test_who_has_given_up_is_passed_over(table: LockTable) -> None:
    log: list[Owner] = []
    lock(table, ALICE)
    refusing = Waiter(BOB, LockRange(0, END, True), lambda: False)
    table.wait(FILE, refusing, whole=False)
    gone = wait(table, BOB, log)
    table.stop_waiting(FILE, gone, whole=False)
    wait(table, CAROL, log)

    unlock(table, ALICE)

    assert log == [CAROL]


def test_a_wait_that_closes_a_circle_is_refused(table: LockTable) -> None:
    lock(table, ALICE, ino=FILE)
    lock(table, BOB, ino=OTHER)
    assert lock(table, BOB, ino=FILE) == [ALICE]
    wait(table, BOB, [], ino=FILE)
    assert lock(table, ALICE, ino=OTHER) == [BOB]

    with pytest.raises(RemoteError) as caught:
        wait(table, ALICE, [], ino=OTHER)

    assert caught.value.code == errno.EDEADLK


def test_waiting_for_ones_own_other_file_is_no_circle(table: LockTable) -> None:
    lock(table, ALICE)
    log: list[Owner] = []
    second = ALICE._replace(handle=2)
    assert lock(table, second) == [ALICE]
    wait(table, second, log)
    unlock(table, ALICE)
    assert log == [second]


def test_a_lock_that_an_unlocking_overtook_is_refused(table: LockTable) -> None:
    unlock(table, ALICE, number=5)

    with pytest.raises(RemoteError) as caught:
        lock(table, ALICE, number=4)

    assert caught.value.code == Code.STALE_SEQUENCE
    assert lock(table, BOB, number=1) == []


def test_a_session_that_is_over_leaves_no_locks_and_lets_others_in(table: LockTable) -> None:
    log: list[Owner] = []
    lock(table, ALICE)
    lock(table, ALICE, ino=OTHER)
    wait(table, BOB, log)

    table.drop(ALICE.session)

    assert log == [BOB]
    assert lock(table, CAROL, ino=OTHER) == []


def test_closing_a_file_drops_its_locks_only(table: LockTable) -> None:
    lock(table, ALICE)
    lock(table, ALICE, ino=OTHER)

    table.drop(ALICE.session, [FILE])

    assert lock(table, BOB) == []
    assert lock(table, BOB, ino=OTHER) == [ALICE]


def record(owner: Owner, ino: int = FILE) -> LockRecord:
    return LockRecord(ino, owner.handle, False, True, 0, END)


def test_claims_are_believed_after_a_restart_only(table: LockTable) -> None:
    assert table.claim(ALICE.session, [record(ALICE)], trust=True) == set()
    assert lock(table, BOB) == [ALICE]
    assert table.claim(BOB.session, [record(BOB)], trust=True) == {FILE}
    assert table.claim(ALICE.session, [record(ALICE)], trust=False) == set()
    assert table.claim(ALICE.session, [record(ALICE, OTHER)], trust=False) == {OTHER}


def test_one_file_has_a_limited_number_of_ranges(table: LockTable) -> None:
    for number in range(RANGES_MOST):
        lock(table, ALICE, 2 * number, 2 * number + 1)

    with pytest.raises(RemoteError) as caught:
        lock(table, ALICE, 10**6, 10**6 + 1)

    assert caught.value.code == errno.ENOLCK
