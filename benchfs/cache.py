"""The chunk cache: segments of chunks, least recently used go first, bounded in bytes.

A segment is a 1 MiB part of a chunk at an aligned offset. What is cached of a file is good
for the change counter it was read under: opening the file asks the metadata, and `admit`
drops what moved. Writes through this client drop what they touch. The cache holds bytes and
knows no node; it is filled by `benchfs/reading.py`.
"""

from __future__ import annotations

from typing import NamedTuple

from lru import LRU

SEGMENT_BYTES = 1024 * 1024


class SegmentKey(NamedTuple):
    """A part of a chunk: `segment` counts SEGMENT_BYTES from the chunk's start."""

    ino: int
    chunk: int
    segment: int


class ChunkCache:
    """`capacity` in bytes; 0 caches nothing."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        # lru-dict bounds the number of items; the bound in bytes is kept here, item by item
        self._segments: LRU[SegmentKey, memoryview] = LRU(max(1, capacity // 1024))
        self._of_file: dict[int, set[SegmentKey]] = {}
        self._changes: dict[int, int] = {}

    def admit(self, ino: int, change: int) -> None:
        """The file is opened with this change counter: what was read under another is dropped."""
        if self._changes.get(ino, change) != change:
            self.drop_file(ino)
        if ino in self._of_file:
            self._changes[ino] = change

    def get(self, key: SegmentKey) -> memoryview | None:
        """The segment's bytes; fewer than SEGMENT_BYTES at the end of the file."""
        found = self._segments.get(key)
        if found is None:
            self.misses += 1
        else:
            self.hits += 1
        return found

    def has(self, key: SegmentKey) -> bool:
        """Whether the segment is cached, without counting as a use."""
        return key in self._of_file.get(key.ino, ())

    def put(self, key: SegmentKey, data: memoryview, change: int) -> None:
        """Keep a segment that was read under the change counter `change`."""
        if len(data) > self.capacity or self._changes.get(key.ino, change) != change:
            return
        self._remove(key)
        while self._segments and self.bytes + len(data) > self.capacity:
            oldest = self._segments.peek_last_item()
            assert oldest is not None
            self._remove(oldest[0])
        self._segments[key] = data
        self.bytes += len(data)
        self._of_file.setdefault(key.ino, set()).add(key)
        self._changes[key.ino] = change

    def drop_range(self, ino: int, chunk: int, offset: int, length: int) -> None:
        """Forget the segments that a write to this part of a chunk touches."""
        if ino in self._of_file and length:
            last = (offset + length - 1) // SEGMENT_BYTES
            for segment in range(offset // SEGMENT_BYTES, last + 1):
                self._remove(SegmentKey(ino, chunk, segment))

    def drop_file(self, ino: int) -> None:
        """Forget a file."""
        for key in list(self._of_file.get(ino, ())):
            self._remove(key)
        self._changes.pop(ino, None)

    def _remove(self, key: SegmentKey) -> None:
        data = self._segments.pop(key, None)
        if data is None:
            return
        self.bytes -= len(data)
        keys = self._of_file[key.ino]
        keys.discard(key)
        if not keys:
            del self._of_file[key.ino]
            self._changes.pop(key.ino, None)
