"""Chunk arithmetic, against the same thing done byte by byte."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchfs.layout import (
    BLOCK_SIZE,
    DEFAULT_CHUNK_SIZE,
    MAX_CHUNK_SIZE,
    MAX_FILE_SIZE,
    MAX_GROUPS,
    MAX_STRIPE,
    Layout,
    block_pieces,
    chunk_group,
    pieces,
    shared_layout,
)

CHUNK_SIZES = st.integers(1, MAX_CHUNK_SIZE // BLOCK_SIZE).map(lambda blocks: blocks * BLOCK_SIZE)
OFFSETS = st.integers(0, 2**40) | st.integers(0, 2**24).map(lambda n: n * BLOCK_SIZE)
LENGTHS = st.integers(0, 2**26)


@given(OFFSETS, LENGTHS, CHUNK_SIZES)
@example(0, 0, DEFAULT_CHUNK_SIZE)
@example(DEFAULT_CHUNK_SIZE - 1, 2, DEFAULT_CHUNK_SIZE)
@example(DEFAULT_CHUNK_SIZE, DEFAULT_CHUNK_SIZE, DEFAULT_CHUNK_SIZE)
def test_pieces_cover_the_range_once_in_order(offset: int, length: int, chunk_size: int) -> None:
    covered = 0
    for piece in pieces(offset, length, chunk_size):
        assert piece.position == covered
        assert piece.index * chunk_size + piece.offset == offset + covered
        assert piece.length > 0
        assert piece.offset + piece.length <= chunk_size
        covered += piece.length
    assert covered == length


def test_there_are_no_more_pieces_than_chunks_touched() -> None:
    got = list(pieces(100, 2 * BLOCK_SIZE, BLOCK_SIZE))

    assert got == [
        (0, 100, BLOCK_SIZE - 100, 0),
        (1, 0, BLOCK_SIZE, BLOCK_SIZE - 100),
        (2, 0, 100, 2 * BLOCK_SIZE - 100),
    ]


def test_last_byte_of_the_largest_file_has_an_index_of_32_bits() -> None:
    [piece] = pieces(MAX_FILE_SIZE - 1, 1, BLOCK_SIZE)

    assert piece.index == 2**32 - 1


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1), (MAX_FILE_SIZE, 1)])
def test_ranges_outside_of_any_file_are_refused_at_once(offset: int, length: int) -> None:
    with pytest.raises(ValueError):
        pieces(offset, length, DEFAULT_CHUNK_SIZE)


@given(OFFSETS, st.integers(0, 2**21))
def test_block_pieces_are_cut_at_absolute_boundaries(offset: int, length: int) -> None:
    at = offset
    for start, size in block_pieces(offset, length):
        assert start == at
        assert size > 0
        assert start // BLOCK_SIZE == (start + size - 1) // BLOCK_SIZE
        at += size
        assert at == offset + length or at % BLOCK_SIZE == 0
    assert at == offset + length


def test_chunks_go_round_all_groups_from_the_first() -> None:
    layout = Layout(first=254)

    assert [chunk_group(layout, index, 256) for index in range(4)] == [254, 255, 0, 1]


def test_chunks_go_round_the_stripe() -> None:
    layout = Layout(first=1, stripe=(9, 4, 7))

    assert [chunk_group(layout, index, 256) for index in range(4)] == [4, 7, 9, 4]


@given(st.integers(0, MAX_GROUPS - 1), st.integers(0, 16).map(lambda bits: 2**bits))
def test_consecutive_chunks_use_every_group_equally(first: int, group_count: int) -> None:
    layout = Layout(first=first)
    rounds = 2 if group_count <= 256 else 1

    groups = [chunk_group(layout, index, group_count) for index in range(rounds * group_count)]

    assert sorted(groups) == sorted(list(range(group_count)) * rounds)


@pytest.mark.parametrize("size", [0, 1, BLOCK_SIZE - 1, BLOCK_SIZE + 1, 2 * MAX_CHUNK_SIZE, -1])
def test_chunk_sizes_outside_of_the_rules_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="chunk size"):
        Layout(chunk_size=size)


@pytest.mark.parametrize(
    ("first", "stripe"),
    [(-1, ()), (MAX_GROUPS, ()), (0, (1, MAX_GROUPS)), (0, (-1,)), (0, (0,) * (MAX_STRIPE + 1))],
)
def test_layouts_that_could_not_be_sent_are_refused(first: int, stripe: tuple[int, ...]) -> None:
    with pytest.raises(ValueError):
        Layout(first=first, stripe=stripe)
    with pytest.raises(ValueError):
        shared_layout(DEFAULT_CHUNK_SIZE, first, stripe)


@pytest.mark.parametrize("stripe", [(), (3, 1)])
def test_a_shared_layout_is_as_any_other(stripe: tuple[int, ...]) -> None:
    for _ in range(2):
        assert shared_layout(BLOCK_SIZE, 7, stripe) == Layout(BLOCK_SIZE, 7, stripe)


@pytest.mark.parametrize("size", [BLOCK_SIZE, 3 * BLOCK_SIZE, MAX_CHUNK_SIZE])
def test_chunk_sizes_within_the_rules_are_taken(size: int) -> None:
    assert Layout(size).chunk_size == size
