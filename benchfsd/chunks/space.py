"""How much may still be written: the file system's free bytes above a reserve.

The reserve keeps room for what must always work, deletes and cuts among it. Asking the file
system costs a system call, so the answer is kept for a moment, less what was written since:
with other writers on the same file system it may be wrong by what they write in that moment.
"""

from __future__ import annotations

from collections.abc import Callable

from benchfs.env import Clock
from benchfsd.chunks.files import Space

GIB = 1024**3
LEAST_RESERVE = 4 * 1024**2
KEEP_SECONDS = 0.1
PAGE = 4096


def default_reserve(total: int) -> int:
    """Bytes kept free of a file system of `total` bytes: 5 %, but not over 1 GiB."""
    return max(min(GIB, total // 20), LEAST_RESERVE)


class SpaceBudget:
    """Grants bytes above the reserve. `reserve` in bytes; None: `default_reserve`."""

    def __init__(self, ask: Callable[[], Space], clock: Clock, reserve: int | None) -> None:
        self._ask = ask
        self._clock = clock
        self._wanted_reserve = reserve
        self._left = 0
        self._asked_at = -KEEP_SECONDS
        self.total = 0
        self.reserve = 0

    def grant(self, size: int) -> bool:
        """Whether `size` more bytes may be written; if so, they count as written."""
        rounded = size + PAGE - 1 & -PAGE
        if not self._has(rounded):
            return False
        self._left -= rounded
        return True

    def is_left(self) -> bool:
        """Whether any byte may be written."""
        return self._has(1)

    def free(self) -> int:
        """Bytes that may still be written, as of now."""
        self._refresh()
        return max(self._left, 0)

    def _has(self, size: int) -> bool:
        if self._clock.monotonic() - self._asked_at >= KEEP_SECONDS:
            self._refresh()
        if size > self._left:
            self._refresh()  # never refuse because of what was true a moment ago
        return size <= self._left

    def _refresh(self) -> None:
        space = self._ask()
        self.total = space.total
        wanted = self._wanted_reserve
        self.reserve = default_reserve(space.total) if wanted is None else wanted
        self._left = space.free - self.reserve
        self._asked_at = self._clock.monotonic()
