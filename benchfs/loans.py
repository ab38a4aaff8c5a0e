"""Local reads: chunk files that a node on this host lends, read without asking again.

A node passes the descriptor of a chunk file, read-only, over its unix socket, together with
the checks of its blocks. The loan is good while its cell on the node's board (shared memory)
holds the stamp it was given under; the node changes the cell *before* the chunk changes. So:
look at the cell, read the page cache, hold the bytes against the checks, look again. If the
cell moved, or the bytes are not in memory, the node is asked as usual.
"""

from __future__ import annotations

import asyncio
import errno
import mmap
import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from lru import LRU

from benchfs.checks import CHECK_SIZE, verify_pieces
from benchfs.cluster import Cluster, Intent
from benchfs.errors import BenchFSError, NotFoundError
from benchfs.layout import BLOCK_SIZE
from benchfs.rpc.messages import LendBoard, LendBoardReply, LendChunk, LendChunkReply

LOANS_MOST = 256  # descriptors held; a process may have 1,024
# After a loan was called back, and after a node could not lend: how long not to ask again.
PAUSE_SECONDS = 1.0


class _Loan(NamedTuple):
    descriptor: int
    board: memoryview
    cell: int
    stamp: int
    length: int  # bytes of the chunk
    checks: bytes

    def good(self) -> bool:
        """Whether the chunk is still what it was when it was lent."""
        return bool(self.board[self.cell] == self.stamp)


class LocalChunks:
    """The chunks lent to one client by nodes on its host."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._loop = asyncio.get_running_loop()
        self._loans: LRU[tuple[int, int], _Loan] = LRU(LOANS_MOST, callback=_close_loan)
        self._boards: dict[str, memoryview] = {}
        self._opening: dict[str, asyncio.Task[memoryview | None]] = {}
        self._paused: LRU[object, float] = LRU(4096)
        self._scratch = memoryview(bytearray(BLOCK_SIZE))
        self.hits = 0

    def read(self, ino: int, index: int, offset: int, into: memoryview) -> int | None:
        """Bytes of the chunk put into `into`, from a loan that is there; None: ask the node."""
        loan = self._loans.get((ino, index))
        if loan is None:
            return None
        if not loan.good():
            self._drop((ino, index))
            return None
        count = min(len(into), max(0, loan.length - offset))
        if count and not self._copy(loan, offset, into[:count]):
            return None
        if not loan.good():
            self._drop((ino, index))
            return None
        self.hits += 1
        return count

    def may_borrow(self, group: int, ino: int, index: int) -> bool:
        """Whether the chunk is lent, or its node may be asked to lend it."""
        node_id = self._cluster.map.primary(group)
        return self._may_ask(node_id) and self._may_ask((ino, index))

    async def borrow(self, intent: Intent, group: int, ino: int, index: int) -> bool:
        """Ask the chunk's node to lend it. False if that is not possible now."""
        node_id = self._cluster.map.primary(group)
        if not self._may_ask(node_id) or not self._may_ask((ino, index)):
            return False
        board = self._boards.get(node_id)
        if board is None:
            board = await self._open_board(intent, node_id)
            if board is None:
                return False
        try:
            answer = await self._cluster.call(
                intent, group, LendChunk(ino, index), purpose="descriptors"
            )
        except NotFoundError:
            self._pause((ino, index))  # a hole, or so small that it has no file
            return False
        except BenchFSError:
            self._pause(node_id)
            return False
        reply = answer.message
        if answer.descriptor is None or not isinstance(reply, LendChunkReply):
            self._pause(node_id)
            return False
        self._drop((ino, index), pause=False)
        self._loans[ino, index] = _Loan(
            answer.descriptor, board, reply.cell, reply.stamp, reply.length, reply.checks
        )
        return True

    def close(self) -> None:
        """Give everything back."""
        for loan in self._loans.values():
            os.close(loan.descriptor)
        self._loans.clear()
        self._boards.clear()

    # ------------------------------------------------------------ reading

    def _copy(self, loan: _Loan, offset: int, into: memoryview) -> bool:
        """Read and verify: whole blocks into place, parts of blocks by way of a whole one."""
        end = offset + len(into)
        first = -(-offset // BLOCK_SIZE) * BLOCK_SIZE
        last = end if end == loan.length else end // BLOCK_SIZE * BLOCK_SIZE
        if first >= last:
            return all(
                self._copy_part(loan, start, into[start - offset : stop - offset])
                for start, stop in _block_ranges(offset, end)
            )
        if offset < first and not self._copy_part(loan, offset, into[: first - offset]):
            return False
        middle = into[first - offset : last - offset]
        if not self._fill(loan, first, middle):
            return False
        return last == end or self._copy_part(loan, last, into[last - offset :])

    def _copy_part(self, loan: _Loan, offset: int, into: memoryview) -> bool:
        base = offset // BLOCK_SIZE * BLOCK_SIZE
        block = self._scratch[: min(BLOCK_SIZE, loan.length - base)]
        if not self._fill(loan, base, block):
            return False
        into[:] = block[offset - base : offset - base + len(into)]
        return True

    def _fill(self, loan: _Loan, offset: int, into: memoryview) -> bool:
        """Read whole blocks at `offset`; False if they are not in memory or do not verify."""
        done = 0
        flags = os.RWF_NOWAIT
        while done < len(into):
            try:
                count = os.preadv(loan.descriptor, [into[done:]], offset + done, flags)
            except BlockingIOError:
                return False  # the disk has to be waited for: the node does that
            except OSError as exc:
                if exc.errno != errno.EOPNOTSUPP or not flags:
                    return False  # the node finds out what is wrong, and says so
                flags = 0  # a file system in memory: there is nothing to wait for
                continue
            if not count:
                return False
            done += count
        number = offset // BLOCK_SIZE * CHECK_SIZE
        size = -(-len(into) // BLOCK_SIZE) * CHECK_SIZE
        return verify_pieces(into, offset, loan.checks[number : number + size]) is None

    # ------------------------------------------------------------ borrowing

    async def _open_board(self, intent: Intent, node_id: str) -> memoryview | None:
        task = self._opening.get(node_id)
        if task is None:
            task = self._loop.create_task(self._map_board(intent, node_id))
            self._opening[node_id] = task
            task.add_done_callback(lambda _: self._opening.pop(node_id, None))
        return await asyncio.shield(task)

    async def _map_board(self, intent: Intent, node_id: str) -> memoryview | None:
        if not self._is_here(node_id):
            self._pause(node_id, 30.0)
            return None
        try:
            answer = await self._cluster.call_node(intent, node_id, LendBoard(), "descriptors")
        except BenchFSError:
            self._pause(node_id)
            return None
        if answer.descriptor is None or not isinstance(answer.message, LendBoardReply):
            self._pause(node_id)
            return None
        try:
            board = mmap.mmap(answer.descriptor, answer.message.cells * 8, prot=mmap.PROT_READ)
        finally:
            os.close(answer.descriptor)
        self._boards[node_id] = memoryview(board).cast("Q")
        return self._boards[node_id]

    def _is_here(self, node_id: str) -> bool:
        try:
            addresses = self._cluster.map.node(node_id).addresses
        except KeyError:
            return False
        return any(
            urlsplit(address).scheme == "unix" and Path(urlsplit(address).path).exists()
            for address in addresses
        )

    def _may_ask(self, whom: object) -> bool:
        return self._loop.time() >= self._paused.get(whom, 0.0)

    def _pause(self, whom: object, seconds: float = PAUSE_SECONDS) -> None:
        self._paused[whom] = self._loop.time() + seconds

    def _drop(self, chunk: tuple[int, int], *, pause: bool = True) -> None:
        loan = self._loans.pop(chunk, None)
        if loan is not None:
            os.close(loan.descriptor)
            if pause:
                self._pause(chunk)


def _block_ranges(offset: int, end: int) -> list[tuple[int, int]]:
    ranges = []
    while offset < end:
        stop = min(end, (offset // BLOCK_SIZE + 1) * BLOCK_SIZE)
        ranges.append((offset, stop))
        offset = stop
    return ranges


def _close_loan(_chunk: tuple[int, int], loan: _Loan) -> None:
    os.close(loan.descriptor)
