"""Checks: any changed byte is noticed, and the place is named."""

import itertools

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from benchfs.checks import CHECK_SIZE, joined_checks, piece_checks, verify_pieces
from benchfs.layout import BLOCK_SIZE, block_pieces

# Enough bytes for three blocks, none of them like another.
DATA = bytearray(xxhash.xxh3_64_digest(b"%d" % (at // 8))[at % 8] for at in range(3 * BLOCK_SIZE))
OFFSETS = st.integers(0, 2**24)
LENGTHS = st.integers(0, len(DATA))


@given(OFFSETS, LENGTHS)
def test_each_piece_has_the_xxh3_of_its_bytes(offset: int, length: int) -> None:
    got = piece_checks(memoryview(DATA)[:length], offset)

    assert got == b"".join(
        xxhash.xxh3_64_intdigest(DATA[start - offset : start - offset + size]).to_bytes(8, "little")
        for start, size in block_pieces(offset, length)
    )


@given(OFFSETS, st.lists(LENGTHS, min_size=1))
def test_the_checks_do_not_depend_on_how_the_bytes_lie_in_buffers(
    offset: int, cuts: list[int]
) -> None:
    cuts = sorted({0, *cuts})
    parts = [memoryview(DATA)[start:end] for start, end in itertools.pairwise(cuts)]

    assert joined_checks(parts, offset) == piece_checks(DATA[: cuts[-1]], offset)


def test_the_hash_is_the_published_one() -> None:
    """A node written in another language must come to the same number."""
    assert piece_checks(b"", 0) == b""
    assert piece_checks(b"benchfs", 0).hex() == "27a4e68496587b89"
    assert piece_checks(bytes(BLOCK_SIZE), 0).hex() == "aa5cb602d302b233"


@given(OFFSETS, LENGTHS)
def test_untouched_bytes_verify(offset: int, length: int) -> None:
    view = memoryview(DATA)[:length]

    assert verify_pieces(view, offset, piece_checks(view, offset)) is None


@given(OFFSETS, st.integers(1, len(DATA)), st.data())
def test_one_flipped_bit_is_found_in_its_piece(
    offset: int, length: int, data: st.DataObject
) -> None:
    view = bytearray(DATA[:length])
    checks = piece_checks(view, offset)
    at = data.draw(st.integers(0, length - 1))

    view[at] ^= 1 << data.draw(st.integers(0, 7))

    bad = verify_pieces(view, offset, checks)
    assert bad is not None
    piece = next(
        start for start, size in block_pieces(offset, length) if offset + at < start + size
    )
    assert bad == piece


def test_of_two_bad_pieces_the_first_is_named() -> None:
    view = bytearray(DATA)
    checks = piece_checks(view, 0)
    view[BLOCK_SIZE] ^= 1
    view[2 * BLOCK_SIZE] ^= 1

    assert verify_pieces(view, 0, checks) == BLOCK_SIZE


@pytest.mark.parametrize("change", [-CHECK_SIZE, -1, 1, CHECK_SIZE])
def test_a_wrong_number_of_checks_verifies_nothing(change: int) -> None:
    checks = piece_checks(DATA, 5)
    wrong = checks[:change] if change < 0 else checks + bytes(change)

    assert verify_pieces(DATA, 5, wrong) == 5


def test_checks_of_nothing_are_not_taken_for_checks_of_something() -> None:
    assert verify_pieces(b"", 0, b"") is None
    assert verify_pieces(b"", 7, bytes(CHECK_SIZE)) == 7
    assert verify_pieces(b"a", 7, b"") == 7


def test_views_of_wider_items_count_in_bytes() -> None:
    words = memoryview(DATA).cast("Q")

    assert piece_checks(words, 3) == piece_checks(DATA, 3)
