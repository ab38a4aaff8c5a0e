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

SPAN = 1_048_573  # a prime, so that places a power of two apart have different bytes
CLIENT_STEP = 7919
PACKETS = ("t", "o", "i")
WORD_BYTES = 8
MOST = 1 << 64


class Pattern:
    """Transfers of at most `transfer` bytes, of a packet type and a signature."""

    def __init__(self, transfer: int, packet: str = "i", signature: int = 0) -> None:
        self._transfer = transfer
        self._step = 0 if packet == "o" else CLIENT_STEP
        self._bytes = _stretch(SPAN + transfer, packet, signature)
        self._view = memoryview(self._bytes)

    def at(self, rank: int, offset: int) -> memoryview:
        """What client `rank` writes at `offset` of its file."""
        shift = self._shift(rank, offset)
        return self._view[shift : shift + self._transfer]

    def holds(self, found: bytearray, rank: int, offset: int) -> bool:
        """Whether these are the bytes of that place."""
        shift = self._shift(rank, offset)
        # bytes, copied, compare 40 times as fast as a memoryview: 60 µs a MiB
        return found == self._bytes[shift : shift + self._transfer]

    def _shift(self, rank: int, offset: int) -> int:
        return (offset + rank * self._step) % SPAN


def _stretch(length: int, packet: str, signature: int) -> bytes:
    if packet == "i":
        return random.Random(signature).randbytes(length)
    words = range(length // WORD_BYTES + 1)
    if packet == "o":
        counted = array("Q", words)
    else:
        counted = array("Q", [(word if word % 2 else signature) % MOST for word in words])
    return counted.tobytes()[:length]
