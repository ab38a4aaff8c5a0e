"""What every registry can do: read, compare and swap, list and watch keys with revisions.

Agreement comes from compare-and-swap alone. There are no locks, since a lock whose holder was
paused excludes nobody; and there is no delete, so that a revision never means two values. Keys
are text such as "group/42": parts between slashes, none of them empty.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple, Protocol

MAX_VALUE = 1024 * 1024
"""Bytes of one value, at the most: entries are small, and read often."""


class Versioned(NamedTuple):
    """A value and the number of swaps that led to it."""

    revision: int  # 1 for the first value of a key; 0: there is none yet
    value: bytes


ABSENT = Versioned(0, b"")
"""What is read of a key that nobody has written."""


class Registry(Protocol):
    """The verbs. All raise ValueError for a key that is none, and OSError if it cannot be done.

    A cancelled call may still take effect: as after an error of `cas`, only reading the key
    tells.
    """

    async def read(self, key: str) -> Versioned:
        """The newest value of the key, or ABSENT. It may be newer already when this returns."""
        ...

    async def cas(self, key: str, revision: int, value: bytes) -> bool:
        """Make `value` the revision after `revision`; False if there is a later one already.

        `revision` is what the decision was based on: 0 for a key without a value. Of all calls
        with the same key and revision, one returns True at the most. ValueError if the value is
        larger than MAX_VALUE.
        """
        ...

    async def list(self, prefix: str) -> Sequence[str]:
        """All keys with a value that begin with `prefix`, sorted."""
        ...

    def watch(self, prefix: str) -> AsyncGenerator[str, None]:
        """Keys that begin with `prefix`: first all that have a value, then each that changed.

        Never ends by itself. Several changes of a key may be told as one; the last is told
        always. Told is the key only: read it. Close it when done (`contextlib.aclosing`).
        """
        ...
