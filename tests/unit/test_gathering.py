"""Writes that wait to be sent: which runs they come to, and what is given out when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchfs.gathering import (
    KEPT_BYTES,
    WAITING_BYTES,
    WAITING_RUNS,
    WHOLE_BYTES,
    Extent,
    Gathering,
    by_chunk,
)

HARD = 47_008  # of IOR hard: neither pages nor blocks fit
writes = st.lists(
    st.tuples(
        st.integers(0, 60) | st.integers(0, 12 * KEPT_BYTES),
        st.sampled_from([1, 2, 7, KEPT_BYTES - 1, KEPT_BYTES, 3 * KEPT_BYTES]),
        st.sampled_from([bytes, bytearray, memoryview]),
    ),
    max_size=40,
)


def extents(found: list[Extent]) -> list[tuple[int, bytes]]:
    for extent in found:
        assert extent.size == sum(map(len, extent.parts)) > 0
    return [(extent.start, b"".join(extent.parts)) for extent in found]


@given(writes)
def test_whatever_is_written_comes_out_as_runs_with_gaps_between(
    given_writes: list[tuple[int, int, type]],
) -> None:
    gathered, content = Gathering(), bytearray(16 * KEPT_BYTES)
    written = bytearray(len(content))
    for number, (offset, size, kind) in enumerate(given_writes):
        end = offset + size
        assert gathered.overlaps(offset, end) == any(written[offset:end])
        if any(written[offset:end]):
            continue
        given_bytes = bytearray([number + 1]) * size
        gathered.add(kind(given_bytes), offset)
        content[offset:end] = given_bytes
        written[offset:end] = b"\1" * size
        given_bytes[:] = bytes(size)  # it may change
        assert gathered.size == sum(written)
        assert gathered.end == written.rfind(1) + 1

    found = extents(gathered.take_all())

    assert not gathered
    assert gathered.size == 0
    came = bytearray(len(content))
    last_end = -1
    for start, data in found:
        assert start > last_end
        last_end = start + len(data)
        assert bytes(content[start:last_end]) == data
        came[start:last_end] = b"\1" * len(data)
    assert came == written


def test_two_writers_that_take_turns_come_to_whole_runs() -> None:
    gathered, data = Gathering(), bytes(HARD)
    found = []
    for step in range(130):
        if step < 100:
            gathered.add(data, (2 * step + 1) * HARD)
        if step >= 30:  # the other writer is so much slower
            gathered.add(data, 2 * (step - 30) * HARD)
        if gathered.is_due:
            found += gathered.take_due()

    assert [extent.start for extent in found] == [n * WHOLE_BYTES for n in range(len(found))]
    assert {extent.size for extent in found} == {WHOLE_BYTES}
    assert len(found) == 200 * HARD // WHOLE_BYTES


def test_a_long_run_goes_to_a_multiple_and_its_rest_stays() -> None:
    gathered = Gathering()
    gathered.add(bytes(WHOLE_BYTES - 200), 300)
    assert not gathered.is_due
    gathered.add(b"x" * 400, WHOLE_BYTES + 100)
    assert gathered.is_due

    assert extents(gathered.take_due()) == [(300, bytes(WHOLE_BYTES - 300))]
    assert not gathered.is_due
    assert extents(gathered.take_all()) == [(WHOLE_BYTES, bytes(100) + b"x" * 400)]


def test_of_too_many_bytes_the_older_half_goes() -> None:
    gathered, size = Gathering(), WAITING_BYTES // 16
    starts = [number * 2 * size for number in reversed(range(17))]
    for start in starts:
        assert gathered.take_due() == []
        gathered.add(bytes(size), start)

    assert [extent.start for extent in gathered.take_due()] == starts[:9]
    assert gathered.size == WAITING_BYTES // 2
    assert not gathered.is_due


def test_of_too_many_runs_the_older_half_goes() -> None:
    gathered = Gathering()
    for number in range(WAITING_RUNS + 1):
        assert gathered.take_due() == []
        gathered.add(b"x", 2 * number)

    gone = WAITING_RUNS // 2 + 1
    assert extents(gathered.take_due()) == [(2 * number, b"x") for number in range(gone)]
    assert not gathered.is_due


def test_extents_are_cut_at_chunks_and_so_many_of_one_are_together() -> None:
    found = by_chunk(
        [
            Extent(90, 25, [b"a" * 15, b"b" * 10]),
            Extent(210, 5, [b"c" * 5]),
            Extent(50, 5, [b"d" * 5]),
            Extent(0, 5, [b"e" * 5]),
        ],
        chunk_bytes=100,
        most=2,
    )

    assert [(index, extents(parts)) for index, parts in found] == [
        (0, [(90, b"a" * 10), (50, b"d" * 5)]),
        (1, [(100, b"a" * 5 + b"b" * 10)]),
        (2, [(210, b"c" * 5)]),
        (0, [(0, b"e" * 5)]),
    ]


def test_large_bytes_are_kept_as_they_are() -> None:
    gathered, data = Gathering(), bytes(KEPT_BYTES)
    gathered.add(data, 0)
    assert gathered.take_all()[0].parts[0] is data


def test_small_writes_are_joined_in_whatever_order_they_come() -> None:
    for order in (range(4000), reversed(range(4000))):
        gathered = Gathering()
        for number in order:
            gathered.add(b"x" * 64, 64 * number)
        (extent,) = gathered.take_all()
        assert len(extent.parts) <= 1 + 4000 * 64 // KEPT_BYTES
        assert extent.size == 4000 * 64


def test_only_what_is_in_one_chunk_and_whole_is_single() -> None:
    gathered = Gathering()
    gathered.add(b"abc", 99)
    assert gathered.take_single(100) is None
    gathered.add(b"x", 300)
    assert gathered.take_single(1000) is None
    assert [extent.start for extent in gathered.take_all()] == [99, 300]
    gathered.add(b"abc", 97)
    single = gathered.take_single(100)
    assert single is not None
    assert extents([single]) == [(97, b"abc")]
    assert not gathered
