"""What phases record: durations and amounts over time, bounded and summed over ranks."""

from __future__ import annotations

import cffi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchfs.bench.aligned import ALIGNMENT, aligned
from benchfs.bench.pattern import PACKETS, Pattern
from benchfs.bench.samples import FIRST_SLOT_SECONDS, MOST_SLOTS, Latencies, Timeline

FFI = cffi.FFI()


@given(st.lists(st.floats(1e-8, 1e4), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_quantile_is_within_a_bucket_of_the_true_one(
    durations: list[float], share: float
) -> None:
    found = Latencies()
    for seconds in durations:
        found.add(seconds)

    ordered = sorted(durations)
    true = next(d for i, d in enumerate(ordered, 1) if i >= share * len(ordered))
    assert true * 0.999 <= found.quantile(share) <= true * 1.1


def test_there_is_no_quantile_of_nothing() -> None:
    with pytest.raises(ValueError):
        Latencies().quantile(0.5)


@given(st.lists(st.tuples(st.floats(0, 5000), st.floats(0, 1e9)), max_size=100))
def test_a_timeline_is_bounded_and_loses_nothing(moved: list[tuple[float, float]]) -> None:
    found = Timeline()
    for at, amount in moved:
        found.add(at, amount)

    assert len(found.slots) <= MOST_SLOTS
    total = sum(rate * found.slot_seconds for _, rate in found.rates())
    assert total == pytest.approx(sum(amount for _, amount in moved))


def test_timelines_of_a_short_and_a_long_rank_are_added_up() -> None:
    short, long = Timeline(), Timeline()
    short.add(0.0, 5.0)
    long.add(FIRST_SLOT_SECONDS * MOST_SLOTS * 3, 7.0)

    total = Timeline.sum([short, long])

    assert total.slot_seconds == long.slot_seconds
    assert sum(total.slots) == pytest.approx(12.0)
    assert total.slots[0] == pytest.approx(5.0)


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("packet", PACKETS)
def test_bytes_of_another_place_are_seen_whatever_the_packet(packet: str, lines: bool) -> None:
    pattern = Pattern(4096, packet, 7, aligned=lines)

    pieces = {bytes(pattern.at(0, offset)) for offset in range(0, 1 << 20, 4096)}

    assert len(pieces) == 256
    assert pattern.holds(pattern.at(0, 8192), 0, 8192)
    assert not pattern.holds(pattern.at(0, 4096), 0, 8192)


@pytest.mark.parametrize("packet", ["t", "i"])
def test_another_signature_writes_other_bytes(packet: str) -> None:
    assert bytes(Pattern(64, packet, 1).at(0, 0)) != bytes(Pattern(64, packet, 2).at(0, 0))
    assert bytes(Pattern(64, packet, 1).at(1, 0)) != bytes(Pattern(64, packet, 1).at(0, 0))


def test_the_offset_packet_is_the_same_from_every_client_and_run() -> None:
    assert bytes(Pattern(64, "o", 1).at(0, 64)) == bytes(Pattern(64, "o", 2).at(3, 64))


def test_what_is_aligned_begins_at_a_line_of_the_caches() -> None:
    pattern = Pattern(47_008, aligned=True)
    pieces = [pattern.at(rank, 47_008 * number) for rank in range(2) for number in range(9)]

    assert {_address(piece) % ALIGNMENT for piece in [aligned(1), aligned(47_008)]} == {0}
    assert {_address(piece) % ALIGNMENT for piece in pieces} == {0}
    assert len(set(map(bytes, pieces))) == 18


def _address(memory: memoryview) -> int:
    """Where it begins, read-only or not."""
    return int(FFI.cast("uintptr_t", FFI.from_buffer(memory)))
