"""What benchmarks write: bytes that tell which client wrote them where.

Every place of every client gets its own part of one stretch of bytes, the same in every process,
so bytes that come back from a wrong place, or from another client, are seen as wrong. What the
stretch is made of is IOR's packet type:

    t  timestamp       words of the signature and a counter; compressible, as IOR's are
    o  offset          words of a counter: the same from every client and in every run
    i  incompressible  noise of the signature
"""

from __future__ import annotations

import random
from array import array

from benchfs.bench.aligned import ALIGNMENT, first_aligned

SPAN = 1_048_573  # a prime, so that places a power of two apart have different bytes
ALIGNED_PLACES = 16_381  # the same, of places in the stretch that are multiples of ALIGNMENT
CLIENT_STEP = 7919
PACKETS = ("t", "o", "i")
WORD_BYTES = 8
MOST = 1 << 64


class Pattern:
    """Transfers of at most `transfer` bytes, of a packet type and a signature.

    `aligned`: all begin at multiples of ALIGNMENT in memory, and fewer of them are different.
    """

    def __init__(
        self, transfer: int, packet: str = "i", signature: int = 0, *, aligned: bool = False
    ) -> None:
        self._places, self._apart = (ALIGNED_PLACES, ALIGNMENT) if aligned else (SPAN, 1)
        self._transfer = transfer
        self._step = 0 if packet == "o" else CLIENT_STEP
        self._memory = bytearray(ALIGNMENT + SPAN + transfer)
        self._first = first_aligned(self._memory)
        self._view = memoryview(self._memory)
        stretch = _stretch(SPAN + transfer, packet, signature)
        self._view[self._first : self._first + len(stretch)] = stretch
        self._view = self._view.toreadonly()

    def at(self, rank: int, offset: int) -> memoryview:
        """What client `rank` writes at `offset` of its file."""
        start = self._start(rank, offset)
        return self._view[start : start + self._transfer]

    def holds(self, found: memoryview, rank: int, offset: int) -> bool:
        """Whether these are the bytes of that place, as many of them as `found` has."""
        # Comparing memoryviews takes 40 times as long.
        return self._memory.startswith(found, self._start(rank, offset))

    def _start(self, rank: int, offset: int) -> int:
        place = (offset + rank * self._step) % self._places
        return self._first + place * self._apart


def _stretch(length: int, packet: str, signature: int) -> bytes:
    if packet == "i":
        return random.Random(signature).randbytes(length)
    words = range(length // WORD_BYTES + 1)
    if packet == "o":
        counted = array("Q", words)
    else:
        counted = array("Q", [(word if word % 2 else signature) % MOST for word in words])
    return counted.tobytes()[:length]
