"""Checks of stored and sent bytes: xxh3_64 of every 64 KiB block, cut at absolute offsets.

The writer computes them, the node verifies and stores them, the reader verifies again: bytes
that changed on the way or on the disk are noticed, whoever changed them. They are no defence
against somebody who means to change data. xxh3_64 (xxHash 0.8, which picks AVX2 by itself)
was chosen for speed: through this module, on one core of the 2-core development machine, 50
GB/s over 4 MiB, 36 over one 64 KiB block, 0.8 µs for 4 KiB.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import xxhash

from benchfs.layout import BLOCK_SIZE

CHECK_SIZE = 8
"""Bytes of one check: a little-endian 64-bit number."""


def piece_count(offset: int, length: int) -> int:
    """How many pieces the bytes at `offset` have: so many checks."""
    return (offset + length - 1) // BLOCK_SIZE - offset // BLOCK_SIZE + 1 if length else 0


def piece_checks(view: bytes | bytearray | memoryview, offset: int) -> bytes:
    """The checks of the bytes in `view`, which belong at `offset` of their chunk or file.

    The bytes are cut at multiples of BLOCK_SIZE; the first and the last piece may be shorter.
    Eight bytes a piece, in ascending order; no bytes, no checks.
    """
    digests = _digests(view, offset)
    return struct.pack(f"<{len(digests)}Q", *digests)


def joined_checks(parts: Sequence[bytes | bytearray | memoryview], offset: int) -> bytes:
    """As `piece_checks`, of bytes that lie in several buffers."""
    if len(parts) == 1:
        return piece_checks(parts[0], offset)
    digests: list[int] = []
    digest = xxhash.xxh3_64()
    left = BLOCK_SIZE - offset % BLOCK_SIZE  # of the block
    begun = False
    for part in parts:
        size = len(part)
        if size < left:
            digest.update(part)
            left -= size
            begun = begun or size > 0
            continue
        view = memoryview(part)
        digest.update(view[:left])
        digests.append(digest.intdigest())
        whole = left + (size - left) // BLOCK_SIZE * BLOCK_SIZE
        digests += [
            xxhash.xxh3_64_intdigest(view[at : at + BLOCK_SIZE])
            for at in range(left, whole, BLOCK_SIZE)
        ]
        digest.reset()
        digest.update(view[whole:])
        left = BLOCK_SIZE - (size - whole)
        begun = whole < size
    if begun:
        digests.append(digest.intdigest())
    return struct.pack(f"<{len(digests)}Q", *digests)


def verify_pieces(
    view: bytes | bytearray | memoryview, offset: int, checks: bytes | bytearray | memoryview
) -> int | None:
    """The absolute offset of the first piece of `view` that does not match, None if all do.

    `checks` are those of exactly these bytes, as `piece_checks` makes them. If their number is
    not the number of pieces, they say nothing about any, and `offset` is returned.
    """
    digests = _digests(view, offset)
    if len(checks) != CHECK_SIZE * len(digests):
        return offset
    expected = struct.unpack(f"<{len(digests)}Q", checks)
    if expected == tuple(digests):
        return None
    bad = next(i for i, digest in enumerate(digests) if digest != expected[i])
    return offset if bad == 0 else offset - offset % BLOCK_SIZE + bad * BLOCK_SIZE


def _digests(view: bytes | bytearray | memoryview, offset: int) -> list[int]:
    data = memoryview(view)
    if data.itemsize != 1 or data.ndim != 1:
        data = data.cast("B")
    digest = xxhash.xxh3_64_intdigest
    first = BLOCK_SIZE - offset % BLOCK_SIZE
    size = len(data)
    if size <= first:  # the common small read or write
        return [digest(data)] if size else []
    digests = [digest(data[:first])]
    digests += [digest(data[at : at + BLOCK_SIZE]) for at in range(first, size, BLOCK_SIZE)]
    return digests
