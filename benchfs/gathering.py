"""What was written to a file and waits to be sent: runs of bytes that lie next to each other.

Pure: it keeps bytes, and sends nothing. Writers that interleave in one file, or go backwards, come
out as few long runs. Large writes of bytes are kept as they are and never copied: a run is a list
of buffers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import NamedTuple

from benchfs.layout import pieces

Data = bytes | bytearray | memoryview

# A run of so many bytes is worth sending, up to a multiple of it: nodes keep a check for each block
# of 64 KiB, and blocks that are written whole cost them nothing more.
WHOLE_BYTES = 1024 * 1024
# What waits for its neighbours is not more than this, in not more runs: then the oldest has to go.
# Two processes that wrote one file in turns were 30 to 60 writes of 47,008 bytes apart.
WAITING_BYTES = 8 * 1024 * 1024
WAITING_RUNS = 256
# Bytes from this size on are kept, smaller ones joined: a copy of it takes 1.5 µs, a buffer more to
# send and to check 1.
KEPT_BYTES = 16 * 1024


class Extent(NamedTuple):
    """Bytes that belong at `start` of a file: `size` of them in `parts`, which do not change."""

    start: int
    size: int
    parts: list[Data]

    @property
    def end(self) -> int:
        """Where they end in the file."""
        return self.start + self.size

    def cut(self, size: int) -> tuple[Extent, Extent]:
        """The first `size` bytes, and the others."""
        head: list[Data] = []
        left = size
        for number, part in enumerate(self.parts):
            if left < len(part):
                view = memoryview(part)
                if left:
                    head.append(view[:left])
                tail: list[Data] = [view[left:], *self.parts[number + 1 :]]
                break
            head.append(part)
            left -= len(part)
        else:
            tail = []
        return Extent(self.start, size, head), Extent(self.start + size, self.size - size, tail)


class Batch(NamedTuple):
    """Extents of one chunk."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    extents: list[Extent]


def by_chunk(extents: list[Extent], chunk_bytes: int, most: int) -> list[Batch]:
    """The extents cut at chunks, `most` of one chunk together."""
    found: dict[int, Batch] = {}
    full = []
    for extent in extents:
        rest = extent
        for piece in pieces(extent.start, extent.size, chunk_bytes):
            head, rest = rest.cut(piece.length)
            batch = found.setdefault(piece.index, Batch(piece.index, []))
            batch.extents.append(head)
            if len(batch.extents) == most:
                full.append(found.pop(piece.index))
    return [*full, *found.values()]


class _Run:
    """An extent that grows."""

    __slots__ = ("end", "parts", "start")

    def __init__(self, start: int, end: int, parts: list[Data]) -> None:
        self.start = start
        self.end = end
        self.parts = parts

    def append(self, data: Data) -> None:
        """`data` comes next; it may change afterwards."""
        size = len(data)
        self.end += size
        if size >= KEPT_BYTES:
            self.parts.append(data if type(data) is bytes else bytes(data))
            return
        last = self.parts[-1] if self.parts else None
        if type(last) is bytearray and len(last) < WHOLE_BYTES:
            last += data
        else:
            self.parts.append(bytearray(data))

    def join(self, after: _Run) -> None:
        """Take over what comes next."""
        self.end = after.end
        last, first = self.parts[-1], after.parts[0]
        if type(last) is bytearray and len(first) < KEPT_BYTES:
            last += first
            del after.parts[0]
        self.parts += after.parts


class Gathering:
    """The runs of one file: no two of them overlap or touch."""

    def __init__(self) -> None:
        self.size = 0  # of all, in bytes
        self._runs: dict[int, _Run] = {}  # by start; the oldest comes first
        self._starts: list[int] = []  # ascending
        self._whole = False  # whether a run is long enough

    def __bool__(self) -> bool:
        return bool(self._runs)

    @property
    def end(self) -> int:
        """Where the last run ends; 0 without any."""
        return self._runs[self._starts[-1]].end if self._starts else 0

    @property
    def is_due(self) -> bool:
        """Whether `take_due` would give something."""
        return self._whole or self.size > WAITING_BYTES or len(self._starts) > WAITING_RUNS

    def overlaps(self, start: int, end: int) -> bool:
        """Whether some of the bytes from `start` up to `end` are here."""
        before = bisect_left(self._starts, end)
        return before > 0 and self._runs[self._starts[before - 1]].end > start

    def touches(self, start: int, end: int) -> bool:
        """Whether a run ends or begins where these bytes begin or end."""
        return self.overlaps(start - 1, end + 1)

    def add(self, data: Data, offset: int) -> None:
        """Take over bytes that overlap nothing here."""
        assert len(data)
        self.size += len(data)
        position = bisect_right(self._starts, offset)
        run = self._runs[self._starts[position - 1]] if position else None
        if run is None or run.end != offset:
            run = self._runs[offset] = _Run(offset, offset, [])
            self._starts.insert(position, offset)
            position += 1
        run.append(data)
        if position < len(self._starts) and self._starts[position] == run.end:
            run.join(self._runs.pop(self._starts.pop(position)))
        if run.end - run.start >= WHOLE_BYTES:
            self._whole = True

    def take_due(self) -> list[Extent]:
        """What is long enough, to a multiple of WHOLE_BYTES; and the oldest if it is too much."""
        taken = []
        if self._whole:
            self._whole = False
            for run in list(self._runs.values()):
                if run.end - run.start >= WHOLE_BYTES:
                    whole, rest = self._take(run).cut(run.end - run.end % WHOLE_BYTES - run.start)
                    taken.append(whole)
                    if rest.size:
                        self._put_back(rest)
        if self.is_due:  # half of it: what lies in one chunk is sent at once
            while self.size > WAITING_BYTES // 2 or len(self._starts) > WAITING_RUNS // 2:
                taken.append(self._take(next(iter(self._runs.values()))))
        return taken

    def take_all(self) -> list[Extent]:
        """Everything, in ascending order."""
        self._whole = False
        runs = [self._runs[start] for start in self._starts]
        return [self._take(run) for run in runs]

    def take_single(self, chunk_bytes: int) -> Extent | None:
        """Everything, if that is part of one chunk and has no gaps."""
        if len(self._starts) != 1:
            return None
        (run,) = self._runs.values()
        if run.start // chunk_bytes != (run.end - 1) // chunk_bytes:
            return None
        self._whole = False
        return self._take(run)

    def _take(self, run: _Run) -> Extent:
        del self._runs[run.start]
        del self._starts[bisect_left(self._starts, run.start)]
        self.size -= run.end - run.start
        return Extent(run.start, run.end - run.start, run.parts)

    def _put_back(self, extent: Extent) -> None:
        self._runs[extent.start] = _Run(extent.start, extent.start + extent.size, extent.parts)
        insort(self._starts, extent.start)
        self.size += extent.size
