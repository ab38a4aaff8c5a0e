"""One chunk in memory: its length and its blocks' checks, and how writes and cuts change them.

Pure: it says which blocks must be looked at before a change, and keeps the books after it;
reading, hashing and writing bytes is done by its callers. Sets of blocks are bit masks.

A block's check is known, or *unknown*: a write covered only a part of the block, and the check
is computed from the file when somebody needs it. Putting that off makes a small write three
times faster, and a block that gets many of them is hashed once. A block that was written since
the chunk was last clean is *fresh*; a check that is not fresh stands for bytes that lay on a
disk, and is verified before a part of the block is overwritten: hashing it anew would declare
rotten bytes good.
"""

from __future__ import annotations

import xxhash

from benchfs.checks import CHECK_SIZE
from benchfs.layout import BLOCK_SIZE
from benchfsd.chunks.record import ChunkRecord, block_count

_digest = xxhash.xxh3_64_digest

ZERO_BLOCK_CHECK = _digest(bytes(BLOCK_SIZE))[::-1]
"""The check of a whole block of a hole."""

BAD_CHECK = bytes(CHECK_SIZE)
"""What no block's check is in practice: stored for a block whose bytes were lost."""


def check_of(view: bytes | bytearray | memoryview) -> bytes:
    """The check of one piece, as `benchfs.checks.piece_checks` makes it of a piece alone."""
    return _digest(view)[::-1]  # the digest is big endian


def block_bits(offset: int, end: int) -> int:
    """The mask of the blocks that the bytes from `offset` up to `end` touch."""
    if end <= offset:
        return 0
    return (1 << (end - 1) // BLOCK_SIZE + 1) - (1 << offset // BLOCK_SIZE)


def blocks_of(mask: int) -> list[int]:
    """The numbers of the blocks in a mask, ascending."""
    blocks = []
    while mask:
        lowest = mask & -mask
        blocks.append(lowest.bit_length() - 1)
        mask ^= lowest
    return blocks


class ChunkState:
    """What the store knows of a chunk while it is in use. `dirty`, `data` as in ChunkRecord."""

    __slots__ = (
        "checks",
        "data",
        "dirty",
        "fresh",
        "group",
        "index",
        "ino",
        "last_write",
        "length",
        "lent",
        "truncation",
        "unknown",
        "version",
    )

    def __init__(
        self, group: int, ino: int, index: int, record: ChunkRecord, *, lent: bool = False
    ) -> None:
        self.group = group
        self.ino = ino
        self.index = index
        self.version = record.version
        self.truncation = record.truncation
        self.length = record.length
        self.dirty = record.dirty
        self.checks = bytearray(record.checks)
        self.data = record.data
        self.unknown = 0
        self.fresh = 0
        self.lent = lent
        self.last_write = 0.0  # seconds, monotonic

    def record(self) -> ChunkRecord:
        """The chunk as it is now. Its checks count only where they are known."""
        return ChunkRecord(
            self.version, self.truncation, self.length, self.dirty, bytes(self.checks), self.data
        )

    def block_end(self, block: int) -> int:
        """The offset where the block's bytes end: at its own end or at the chunk's."""
        return min((block + 1) * BLOCK_SIZE, self.length)

    def check(self, block: int) -> bytes:
        """The check of a block that is not unknown."""
        return bytes(self.checks[CHECK_SIZE * block : CHECK_SIZE * block + CHECK_SIZE])

    def set_check(self, block: int, check: bytes) -> None:
        """The block's check is known now. The block must not change before this is called."""
        self.checks[CHECK_SIZE * block : CHECK_SIZE * block + CHECK_SIZE] = check
        self.unknown &= ~(1 << block)

    def to_verify(self, offset: int, end: int) -> int:
        """Blocks to verify before the bytes from `offset` up to `end` are written.

        They hold bytes that stay, and will be hashed together with the new ones.
        """
        length = self.length
        if not length:
            return 0
        kept = 0
        if offset < length:
            if offset % BLOCK_SIZE:
                kept = 1 << offset // BLOCK_SIZE
            if end < length and end % BLOCK_SIZE:
                kept |= 1 << end // BLOCK_SIZE
        elif length % BLOCK_SIZE:  # the chunk's last block is filled up with zeros at least
            kept = 1 << length // BLOCK_SIZE
        return kept & ~self.fresh & ~self.unknown

    def written(self, offset: int, end: int, checks: bytes) -> None:
        """Note that the bytes from `offset` up to `end` were written; `checks` are theirs."""
        length = self.length
        first = offset // BLOCK_SIZE
        last = (end - 1) // BLOCK_SIZE
        unknown = self.unknown
        fresh = self.fresh
        if end > length:
            if offset > length:  # a hole: zeros after the old end
                fresh |= block_bits(length, offset)
                if length % BLOCK_SIZE:
                    unknown |= 1 << length // BLOCK_SIZE
            missing = last + 1 - len(self.checks) // CHECK_SIZE
            if missing > 0:
                self.checks += ZERO_BLOCK_CHECK * missing
            self.length = end
        self.checks[CHECK_SIZE * first : CHECK_SIZE * (last + 1)] = checks
        touched = (1 << last + 1) - (1 << first)
        unknown &= ~touched
        if offset % BLOCK_SIZE:
            unknown |= 1 << first
        if end < length and end % BLOCK_SIZE:
            unknown |= 1 << last
        self.unknown = unknown
        self.fresh = fresh | touched

    def disturbed(self, offset: int, end: int) -> None:
        """Note that some of these bytes may have changed; the length has not."""
        touched = block_bits(offset, min(end, self.length))
        self.unknown |= touched
        self.fresh |= touched

    def cut(self, length: int) -> None:
        """Note that the chunk was cut to `length` bytes, fewer than it had."""
        del self.checks[CHECK_SIZE * block_count(length) :]
        self.length = length
        kept = (1 << block_count(length)) - 1
        self.unknown &= kept
        self.fresh &= kept
        if length % BLOCK_SIZE:
            self.unknown |= 1 << length // BLOCK_SIZE
            self.fresh |= 1 << length // BLOCK_SIZE

    def cut_small(self, length: int) -> None:
        """The same of a small chunk, whose checks are known and match."""
        self.data = self.data[:length]
        self.length = length
        self.checks = bytearray(check_of(self.data))

    def forget_checks(self, length: int) -> None:
        """Take the file as it is: `length` bytes, of which nothing else is known."""
        self.length = length
        self.checks = bytearray(CHECK_SIZE * block_count(length))
        self.unknown = self.fresh = block_bits(0, length)

    def cleaned(self) -> None:
        """Note that the record matches the file."""
        assert not self.unknown
        self.dirty = False
        self.fresh = 0
