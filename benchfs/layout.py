"""Chunk arithmetic: how the bytes of a file are cut, and which group each chunk belongs to.

A layout is part of a file's inode, and fixed when the file is created; but a small file that is
written at once begins in its inode's group (decision 012). Chunk i of a file belongs to
group `stripe[(first + i) mod len(stripe)]`; an empty stripe stands for all groups of the
cluster. Which node leads a group is not known here: see `benchfs/placement.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

BLOCK_SIZE = 64 * 1024
"""Bytes that have one check together (see `benchfs/checks.py`)."""

SMALL_BYTES = 4096
"""A file of up to so many bytes that is written at once is stored where its inode is.

A chunk of no more is kept in its record: two pages of the node's database at the most. A file on
its disk costs a directory's entry, an inode and a page, and ext4 takes 70 to 600 µs to make one.
"""

MIN_CHUNK_SIZE = BLOCK_SIZE
MAX_CHUNK_SIZE = 16 * 1024 * 1024  # a chunk fits into one payload of the protocol
DEFAULT_CHUNK_SIZE = 4 * 1024 * 1024

MAX_FILE_SIZE = MIN_CHUNK_SIZE * 2**32
"""Bytes, 256 TiB: the index of the last chunk fits 32 bits whatever the chunk size."""

MAX_STRIPE = 4096  # groups listed in one layout; more make the inode too large for its row
MAX_GROUPS = 65_536  # a group's number fits 16 bits


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a file's chunks live.

    `chunk_size` in bytes, a multiple of BLOCK_SIZE; `first` is added to every chunk's index,
    so that files begin in different groups; `stripe` lists the groups used, empty: all.
    Raises ValueError if a value is outside its limits.
    """

    chunk_size: int = DEFAULT_CHUNK_SIZE
    first: int = 0
    stripe: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_chunk_size(self.chunk_size)
        if not 0 <= self.first < MAX_GROUPS:
            raise ValueError(f"layout starts at {self.first}: not within 0..{MAX_GROUPS - 1}")
        if len(self.stripe) > MAX_STRIPE:
            raise ValueError(f"stripe of {len(self.stripe)} groups: more than {MAX_STRIPE}")
        if any(not 0 <= group < MAX_GROUPS for group in self.stripe):
            raise ValueError(f"stripe names a group outside 0..{MAX_GROUPS - 1}")


def shared_layout(chunk_size: int, first: int, stripe: tuple[int, ...]) -> Layout:
    """The layout with these values. ValueError.

    For what meets the same few over and over, as every open does: without a list of groups they
    are made and checked once.
    """
    return Layout(chunk_size, first, stripe) if stripe else _layout_over_all(chunk_size, first)


@lru_cache(maxsize=4096)
def _layout_over_all(chunk_size: int, first: int) -> Layout:
    return Layout(chunk_size, first)


class Piece(NamedTuple):
    """The part of a byte range that falls into the chunk `index`. The rest is in bytes."""

    # Hides tuple.index, which nobody calls on a Piece; the protocol has the same name for it.
    index: int  # type: ignore[assignment]
    offset: int  # within the chunk
    length: int
    position: int  # within the range: where the piece is in the caller's buffer


def check_chunk_size(chunk_size: int) -> None:
    """Raise ValueError unless `chunk_size` bytes are a size that chunks may have."""
    if not MIN_CHUNK_SIZE <= chunk_size <= MAX_CHUNK_SIZE or chunk_size % BLOCK_SIZE:
        raise ValueError(
            f"chunk size {chunk_size}: must be a multiple of {BLOCK_SIZE} "
            f"from {MIN_CHUNK_SIZE} to {MAX_CHUNK_SIZE} bytes"
        )


def chunk_group(layout: Layout, index: int, group_count: int) -> int:
    """The group of chunk `index` of a file, in a cluster of `group_count` groups."""
    stripe = layout.stripe
    if stripe:
        return stripe[(layout.first + index) % len(stripe)]
    return (layout.first + index) % group_count


def pieces(offset: int, length: int, chunk_size: int) -> Iterator[Piece]:
    """The range of `length` bytes at `offset` of a file, chunk by chunk, in ascending order.

    An empty range has no pieces. Raises ValueError, at once, if the range is negative or goes
    beyond MAX_FILE_SIZE.
    """
    if offset < 0 or length < 0:
        raise ValueError(f"negative range: {length} bytes at {offset}")
    if offset + length > MAX_FILE_SIZE:
        raise ValueError(f"range ends at {offset + length}, beyond {MAX_FILE_SIZE} bytes")
    return _pieces(offset, length, chunk_size)


def _pieces(offset: int, length: int, chunk_size: int) -> Iterator[Piece]:
    index, start = divmod(offset, chunk_size)
    position = 0
    while position < length:
        size = min(chunk_size - start, length - position)
        yield Piece(index, start, size, position)
        index, start, position = index + 1, 0, position + size


def block_pieces(offset: int, length: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of each part of a range cut at multiples of BLOCK_SIZE, ascending.

    Chunks begin at multiples of BLOCK_SIZE, so the cuts are the same whether `offset` counts
    from the start of the chunk or of the file.
    """
    end = offset + length
    while offset < end:
        stop = min(offset - offset % BLOCK_SIZE + BLOCK_SIZE, end)
        yield offset, stop - offset
        offset = stop
