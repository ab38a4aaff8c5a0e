"""A pool of large buffers: payloads are received and read into memory that is already mapped.

A fresh 1 MiB bytearray costs 256 page faults; a buffer that was used before costs none.
Buffers below 64 KiB are not worth keeping. The pool keeps a bounded number of bytes.
"""

from __future__ import annotations

LEAST_POOLED_BYTES = 64 * 1024
KEPT_BYTES = 32 * 1024 * 1024


class BufferPool:
    """Gives and takes back buffers, by power-of-two size classes."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._free: dict[int, list[bytearray]] = {}
        self._kept = 0
        self._kept_most = kept_bytes

    def take(self, size: int) -> memoryview:
        """A writable view of exactly `size` bytes, of unspecified content."""
        if size < LEAST_POOLED_BYTES:
            return memoryview(bytearray(size))
        capacity = 1 << (size - 1).bit_length()
        free = self._free.get(capacity)
        if free:
            self._kept -= capacity
            return memoryview(free.pop())[:size]
        return memoryview(bytearray(capacity))[:size]

    def give(self, view: memoryview) -> None:
        """Take back a view that `take` gave; nobody may use it any more."""
        whole = view.obj
        view.release()
        if not isinstance(whole, bytearray) or len(whole) < LEAST_POOLED_BYTES:
            return
        if self._kept + len(whole) <= self._kept_most:
            self._kept += len(whole)
            self._free.setdefault(len(whole), []).append(whole)
