"""Inode numbers and the shards of directories."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchfs.inode import ROOT_INO, FileType, home_group, make_ino, shard_group, shard_of

U16 = st.integers(0, 2**16 - 1)
INOS = st.builds(make_ino, U16, U16, st.integers(1, 2**32 - 1))


def test_the_root_is_the_first_inode_of_group_zero() -> None:
    assert make_ino(0, 0, 1) == ROOT_INO
    assert home_group(ROOT_INO) == 0


def test_the_parts_of_a_number_do_not_touch() -> None:
    assert make_ino(0xABCD, 0x1234, 0x89ABCDEF) == 0xABCD_1234_89AB_CDEF


@given(U16, U16, st.integers(1, 2**32 - 1))
def test_a_number_has_64_bits_and_tells_its_group(group: int, chance: int, counter: int) -> None:
    ino = make_ino(group, chance, counter)

    assert 0 < ino < 2**64
    assert home_group(ino) == group


@given(st.tuples(U16, U16, st.integers(1, 9)), st.tuples(U16, U16, st.integers(1, 9)))
def test_different_parts_make_different_numbers(
    first: tuple[int, int, int], second: tuple[int, int, int]
) -> None:
    assert (make_ino(*first) == make_ino(*second)) == (first == second)


@pytest.mark.parametrize(
    "parts", [(2**16, 0, 1), (-1, 0, 1), (0, 2**16, 1), (0, -1, 1), (0, 0, 2**32), (0, 0, 0)]
)
def test_parts_that_do_not_fit_are_refused(parts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError):
        make_ino(*parts)


def test_stored_numbers_of_types_stay() -> None:
    assert [(kind.name, kind.value) for kind in FileType] == [
        ("FILE", 1),
        ("DIRECTORY", 2),
        ("SYMLINK", 3),
        ("FIFO", 4),
        ("SOCKET", 5),
    ]


@given(st.binary(min_size=1, max_size=255), st.integers(1, 65_535))
def test_a_name_is_in_one_of_the_shards(name: bytes, fanout: int) -> None:
    assert 0 <= shard_of(name, fanout) < fanout


def test_names_spread_over_the_shards() -> None:
    counts = Counter(shard_of(b"file.%06d" % number, 16) for number in range(16_000))

    assert len(counts) == 16
    assert max(counts.values()) < 1200  # mean 1000; 6 standard deviations


def test_where_names_and_shards_are_kept_never_changes() -> None:
    """Stored directories depend on it."""
    assert [shard_of(name, 1000) for name in (b"a", b"b", b"\xff")] == [955, 555, 364]
    assert [shard_group(ROOT_INO, shard, 256) for shard in range(4)] == [0, 38, 215, 66]


@given(INOS, st.integers(0, 65_534), st.integers(0, 16).map(lambda bits: 2**bits))
def test_every_shard_has_a_group(ino: int, shard: int, group_count: int) -> None:
    group = shard_group(ino, shard, group_count)

    assert group == home_group(ino) if shard == 0 else 0 <= group < group_count


def test_shards_of_one_directory_spread_over_the_groups() -> None:
    groups = {shard_group(make_ino(5, 6, 7), shard, 256) for shard in range(1, 65)}

    assert len(groups) > 48
