"""What was written to a file and is on its way to nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from benchfs.gathering import Extent


class Sending(NamedTuple):
    """Extents of one chunk on their way."""

    extents: list[Extent]
    start: int  # of the first byte, in the file
    end: int  # of the last one
    task: asyncio.Future[tuple[int, int]]  # the end that was written, and its truncation epoch

    def overlaps(self, start: int, end: int) -> bool:
        """Whether some of the bytes from `start` up to `end` are among them."""
        if self.start >= end or start >= self.end:
            return False
        return any(extent.start < end and start < extent.end for extent in self.extents)


def bounds(extents: Sequence[Extent]) -> tuple[int, int]:
    """Where the first byte of extents is, and where the last one ends."""
    return min([extent.start for extent in extents]), max([extent.end for extent in extents])


def overlapping(
    sendings: Sequence[Sending], extents: Sequence[Extent]
) -> list[asyncio.Future[tuple[int, int]]]:
    """What is on its way to some of the same places."""
    start, end = bounds(extents)
    return [
        sending.task
        for sending in sendings
        if sending.start < end
        and start < sending.end
        and any(sending.overlaps(extent.start, extent.end) for extent in extents)
    ]
