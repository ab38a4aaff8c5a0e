"""The byte ranges that one owner has locked in one file, as POSIX joins and splits them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

END = 2**63
"""The end of a lock that reaches to the end of the file, however it grows."""


class LockRange(NamedTuple):
    """Bytes from `start` up to `end`, shared with other readers or exclusive."""

    start: int
    end: int
    exclusive: bool


class LockRanges:
    """Ranges that do not overlap, ascending; those that touch and are alike are one."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[LockRange] = []

    def __iter__(self) -> Iterator[LockRange]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def set(self, lock: LockRange) -> None:
        """Lock a range; what was locked of it before is replaced."""
        self.clear(lock.start, lock.end)
        joined: list[LockRange] = []
        for part in sorted([*self._parts, lock]):
            before = joined[-1] if joined else None
            if before and before.end == part.start and before.exclusive == part.exclusive:
                joined[-1] = LockRange(before.start, part.end, part.exclusive)
            else:
                joined.append(part)
        self._parts = joined

    def clear(self, start: int, end: int) -> None:
        """Unlock a range."""
        kept: list[LockRange] = []
        for part in self._parts:
            if part.end <= start or end <= part.start:
                kept.append(part)
                continue
            if part.start < start:
                kept.append(part._replace(end=start))
            if end < part.end:
                kept.append(part._replace(start=end))
        self._parts = kept

    def conflicts(self, lock: LockRange) -> bool:
        """Whether another owner may not have `lock` beside these."""
        return any(
            part.start < lock.end and lock.start < part.end and (part.exclusive or lock.exclusive)
            for part in self._parts
        )

    def covers(self, lock: LockRange) -> bool:
        """Whether all of `lock` is locked, as strictly."""
        at = lock.start
        for part in self._parts:
            if part.start <= at < part.end and (part.exclusive or not lock.exclusive):
                at = part.end
        return at >= lock.end
