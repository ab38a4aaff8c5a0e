"""Rows in memory, for tests of the metadata logic: what a Database does, without its batches."""

import bisect
from collections.abc import Iterator


class MemoryRows:
    """The same get, put, delete and scan as `benchfsd.database.Database`.

    `snapshot` shows all there is, so that a test can tell whether anything was written.
    """

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        return self._values.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        assert isinstance(key, bytes)
        assert isinstance(value, bytes)
        if key not in self._values:
            bisect.insort(self._keys, key)
        self._values[key] = value

    def delete(self, key: bytes) -> bool:
        if self._values.pop(key, None) is None:
            return False
        self._keys.remove(key)
        return True

    def scan(
        self, prefix: bytes, after: bytes = b"", reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        keys = self._keys
        first = last = bisect.bisect_left(keys, prefix)
        while last < len(keys) and keys[last].startswith(prefix):
            last += 1
        found = keys[first:last]  # what comes and goes while somebody scans is another matter
        for key in reversed(found) if reverse else found:
            within = not after or (key < after if reverse else key > after)
            if within and key in self._values:
                yield key, self._values[key]

    def snapshot(self) -> dict[bytes, bytes]:
        return dict(self._values)
