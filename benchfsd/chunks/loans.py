"""Chunks lent to clients on this host: a shared page of stamps, one of which backs each loan.

A client reads a chunk's file by itself as long as the loan's cell still holds the loan's stamp;
it looks before and after. The store changes the stamp **before** it changes the chunk. Stamps
only grow, so a loan that ended never becomes valid again. The board is memory that clients map:
it is sealed, so they cannot write to it, nor change its size.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections import OrderedDict
from typing import NamedTuple

CELLS = 8192
CELL_BYTES = 8
_SEAL_FUTURE_WRITE = 0x0010  # of linux/fcntl.h; Python's fcntl does not name it

Key = tuple[int, int]


class Loan(NamedTuple):
    """What a client gets. The caller closes `descriptor` once it is passed on."""

    cell: int
    stamp: int
    descriptor: int  # of the chunk's file, read-only
    version: int
    length: int  # bytes
    checks: bytes  # 8 a block, the last block's covers up to `length`


class LoanBoard:
    """`cells` stamps of 8 bytes, shared with clients. A cell backs one loan or none.

    With all cells in use, the loan that was asked for longest ago ends for the next one.
    """

    def __init__(self, cells: int = CELLS) -> None:
        self.cells = cells
        descriptor = os.memfd_create("benchfs-loans", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, cells * CELL_BYTES)
            self._map = mmap.mmap(descriptor, cells * CELL_BYTES)
            seals = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | _SEAL_FUTURE_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
            self._descriptor = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(descriptor)
        # An aligned store of eight bytes is one store: a client never sees half a stamp.
        self._stamps = memoryview(self._map).cast("Q")
        self._last_stamp = 0
        self._free = list(range(cells - 1, -1, -1))
        self._lent: OrderedDict[Key, int] = OrderedDict()

    @property
    def descriptor(self) -> int:
        """Read-only, of the board; owned by the board."""
        return self._descriptor

    def __len__(self) -> int:
        return len(self._lent)

    def __contains__(self, key: Key) -> bool:
        return key in self._lent

    def lend(self, key: Key) -> tuple[int, int]:
        """The cell and the stamp of a loan of the chunk `key`.

        All loans of a chunk share one stamp, since they end together.
        """
        cell = self._lent.get(key)
        if cell is not None:
            self._lent.move_to_end(key)
            return cell, self._stamps[cell]
        cell = self._free.pop() if self._free else self._lent.popitem(last=False)[1]
        self._lent[key] = cell
        return cell, self._restamp(cell)

    def revoke(self, key: Key) -> None:
        """End all loans of the chunk `key`, if there are any."""
        cell = self._lent.pop(key, None)
        if cell is not None:
            self._restamp(cell)
            self._free.append(cell)

    def close(self) -> None:
        """End all loans. Who has the board mapped sees that; twice is harmless."""
        if self._descriptor < 0:
            return
        for key in list(self._lent):
            self.revoke(key)
        self._stamps.release()
        self._map.close()
        os.close(self._descriptor)
        self._descriptor = -1

    def _restamp(self, cell: int) -> int:
        self._last_stamp += 1
        self._stamps[cell] = self._last_stamp
        return self._last_stamp
