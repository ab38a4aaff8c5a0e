"""The board of loans: stamps that only grow, in memory that clients read and cannot change."""

import mmap
import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchfsd.chunks.loans import LoanBoard


@pytest.fixture
def board() -> Iterator[LoanBoard]:
    made = LoanBoard(cells=2)
    yield made
    made.close()


def stamps(board: LoanBoard) -> list[int]:
    """What a client sees that mapped the board."""
    with mmap.mmap(board.descriptor, 8 * board.cells, access=mmap.ACCESS_READ) as seen:
        return list(memoryview(seen[:]).cast("Q"))


def test_a_loan_is_good_until_it_is_revoked(board: LoanBoard) -> None:
    cell, stamp = board.lend((1, 0))
    assert stamps(board)[cell] == stamp
    assert (1, 0) in board

    board.revoke((1, 0))

    assert stamps(board)[cell] != stamp
    assert (1, 0) not in board


def test_loans_of_one_chunk_share_a_stamp(board: LoanBoard) -> None:
    assert board.lend((1, 0)) == board.lend((1, 0))
    assert len(board) == 1


def test_with_all_cells_in_use_the_one_asked_for_longest_ago_ends(board: LoanBoard) -> None:
    first = board.lend((1, 0))
    second = board.lend((2, 0))
    board.lend((1, 0))

    board.lend((3, 0))

    assert stamps(board)[first[0]] == first[1]
    assert stamps(board)[second[0]] != second[1]


def test_what_is_not_lent_can_be_revoked(board: LoanBoard) -> None:
    board.revoke((9, 9))

    assert len(board) == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=60))
def test_a_loan_that_ended_never_becomes_good_again(steps: list[tuple[bool, int]]) -> None:
    board = LoanBoard(cells=3)
    good: dict[int, tuple[int, int]] = {}
    ended: list[tuple[int, int]] = []
    for lends, chunk in steps:
        if lends:
            loan = board.lend((chunk, 0))
            if chunk in good:
                assert good[chunk] == loan
            good[chunk] = loan
        else:
            board.revoke((chunk, 0))
        seen = stamps(board)
        ended += [good.pop(key) for key in list(good) if (key, 0) not in board]
        assert all(seen[cell] == stamp for cell, stamp in good.values())
        assert all(seen[cell] != stamp for cell, stamp in ended)
        assert len(good) == len(board) <= 3
    board.close()


def test_clients_can_not_write_to_the_board(board: LoanBoard) -> None:
    with pytest.raises(OSError):
        os.write(board.descriptor, bytes(8))
    # Whoever has a descriptor can open the same memory for writing, but for the seal.
    again = os.open(f"/proc/self/fd/{board.descriptor}", os.O_RDWR)
    try:
        with pytest.raises(PermissionError):
            os.write(again, bytes(8))
        with pytest.raises(PermissionError):
            mmap.mmap(again, 8 * board.cells)
        with pytest.raises(PermissionError):
            os.ftruncate(again, 0)
    finally:
        os.close(again)


def test_closing_ends_all_loans_for_those_who_still_look() -> None:
    board = LoanBoard(cells=2)
    cell, stamp = board.lend((1, 0))
    kept = os.dup(board.descriptor)

    board.close()
    board.close()

    try:
        assert memoryview(os.pread(kept, 16, 0)).cast("Q")[cell] != stamp
    finally:
        os.close(kept)
