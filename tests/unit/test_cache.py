"""The chunk cache: bounded in bytes, least recently used first, dropped by change and by write."""

from __future__ import annotations

from benchfs.cache import SEGMENT_BYTES, ChunkCache, SegmentKey

KIB = 1024


def segment(size: int = KIB) -> memoryview:
    return memoryview(bytearray(size))


def test_what_was_put_is_found_again() -> None:
    cache = ChunkCache(10 * KIB)
    data = segment()
    cache.put(SegmentKey(1, 0, 0), data, change=1)
    assert cache.get(SegmentKey(1, 0, 0)) is data
    assert cache.get(SegmentKey(1, 0, 1)) is None
    assert (cache.hits, cache.misses) == (1, 1)


def test_the_least_recently_used_goes_when_the_bytes_are_full() -> None:
    cache = ChunkCache(3 * KIB)
    for number in range(3):
        cache.put(SegmentKey(1, number, 0), segment(), change=1)
    cache.get(SegmentKey(1, 0, 0))
    cache.put(SegmentKey(1, 3, 0), segment(), change=1)
    assert cache.has(SegmentKey(1, 0, 0))
    assert not cache.has(SegmentKey(1, 1, 0))
    assert cache.bytes == 3 * KIB


def test_a_segment_larger_than_the_cache_is_not_kept() -> None:
    cache = ChunkCache(KIB)
    cache.put(SegmentKey(1, 0, 0), segment(2 * KIB), change=1)
    assert cache.bytes == 0
    assert not cache.has(SegmentKey(1, 0, 0))


def test_opening_with_another_change_counter_drops_the_file() -> None:
    cache = ChunkCache(10 * KIB)
    cache.put(SegmentKey(1, 0, 0), segment(), change=1)
    cache.put(SegmentKey(2, 0, 0), segment(), change=1)
    cache.admit(1, 1)
    assert cache.has(SegmentKey(1, 0, 0))
    cache.admit(1, 2)
    assert not cache.has(SegmentKey(1, 0, 0))
    assert cache.has(SegmentKey(2, 0, 0))


def test_a_segment_read_under_an_old_change_counter_is_not_kept() -> None:
    cache = ChunkCache(10 * KIB)
    cache.put(SegmentKey(1, 0, 0), segment(), change=2)
    cache.put(SegmentKey(1, 0, 1), segment(), change=1)
    assert not cache.has(SegmentKey(1, 0, 1))


def test_a_write_drops_just_the_segments_it_touches() -> None:
    cache = ChunkCache(10 * SEGMENT_BYTES)
    for number in range(3):
        cache.put(SegmentKey(1, 0, number), segment(), change=1)
    cache.drop_range(1, 0, SEGMENT_BYTES - 1, 2)
    assert [cache.has(SegmentKey(1, 0, number)) for number in range(3)] == [False, False, True]
    cache.drop_range(1, 0, 2 * SEGMENT_BYTES, 0)
    assert cache.has(SegmentKey(1, 0, 2))


def test_a_dropped_file_leaves_no_bytes() -> None:
    cache = ChunkCache(10 * KIB)
    for number in range(3):
        cache.put(SegmentKey(1, number, 0), segment(), change=1)
    cache.drop_file(1)
    assert cache.bytes == 0
