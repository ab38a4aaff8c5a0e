"""Looking at the chunks of a node that serves: pages of their records, and of their bytes.

Bytes are read as for a reader, from memory where they are there, and held against their checks
a mebibyte at a turn of the loop. Blocks whose checks are unknown yet, since they are being
written, are passed over. Nothing changes: damaged blocks stay unreadable until they are
overwritten or removed.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import NamedTuple

from benchfs.layout import BLOCK_SIZE
from benchfs.rpc.errors import RemoteError
from benchfsd.chunks.blocks import BlockReader
from benchfsd.chunks.record import ChunkRecord, block_count
from benchfsd.chunks.state import ChunkState
from benchfsd.chunks.table import ChunkTable
from benchfsd.chunks.walk import Position, chunk_records

BLOCKS_AT_ONCE = 16
RANGES_MOST = 2048  # in a page; a chunk has no more than half of that


class SeenChunk(NamedTuple):
    """A chunk as it is now; `length` and `truncation` are -1 if its record is damaged."""

    position: Position
    length: int  # bytes
    truncation: int


class DamagedRange(NamedTuple):
    """Bytes that fail their check, or cannot be read; of no length: the record is damaged."""

    position: Position
    offset: int  # in the chunk
    length: int


class Verified(NamedTuple):
    """What was verified. `next`: where to go on, None at the end."""

    chunks: int
    bytes: int
    damaged: list[DamagedRange]
    next: Position | None


class Scrubber:
    """Looks at the chunks of `table`."""

    def __init__(self, table: ChunkTable, blocks: BlockReader) -> None:
        self._table = table
        self._blocks = blocks

    def chunks(self, after: Position | None, most: int) -> list[SeenChunk]:
        """Up to `most` chunks after a position, or from the first."""
        found = []
        for position, record in islice(chunk_records(self._table, after), most):
            state = self._table.active((position.ino, position.chunk))
            if state is not None and state.group == position.group:
                found.append(SeenChunk(position, state.length, state.truncation))
            elif record is not None:
                found.append(SeenChunk(position, record.length, record.truncation))
            else:
                found.append(SeenChunk(position, -1, -1))
        return found

    async def verify(self, after: Position | None, most_bytes: int) -> Verified:
        """Verify the next chunks, at least one, until there were `most_bytes` bytes."""
        chunks = size = 0
        damaged: list[DamagedRange] = []
        while True:
            found = next(chunk_records(self._table, after), None)
            if found is None:
                return Verified(chunks, size, damaged, None)
            after, record = found
            chunks += 1
            if record is None:
                damaged.append(DamagedRange(after, 0, 0))
            else:
                length, ranges = await self._verify_chunk(after, record)
                size += length
                damaged += ranges
            if size >= most_bytes or len(damaged) >= RANGES_MOST:
                return Verified(chunks, size, damaged, after)
            await asyncio.sleep(0)

    async def _verify_chunk(
        self, position: Position, record: ChunkRecord
    ) -> tuple[int, list[DamagedRange]]:
        await self._blocks.fetch(ChunkState(*position, record), 0, record.length)
        bad: list[tuple[int, int]] = []
        first, length = 0, record.length
        while True:
            state = self._state(position)
            if state is None:
                return length, []  # it was removed meanwhile
            length = state.length
            end = min(first + BLOCKS_AT_ONCE, block_count(length))
            bad += [
                (block * BLOCK_SIZE, state.block_end(block))
                for block in range(first, end)
                if not state.unknown >> block & 1 and not self._is_good(state, block)
            ]
            if end == block_count(length):
                return length, [
                    DamagedRange(position, start, stop - start) for start, stop in _joined(bad)
                ]
            first = end
            await asyncio.sleep(0)

    def _state(self, position: Position) -> ChunkState | None:
        """The chunk now; what was not in use is not taken into memory."""
        group, ino, index = position
        state = self._table.active((ino, index))
        if state is not None and state.group == group:
            return state
        try:
            record = self._table.row(group, ino, index)
        except RemoteError:
            return None  # the next walk says that it is damaged
        return None if record is None else ChunkState(group, ino, index, record)

    def _is_good(self, state: ChunkState, block: int) -> bool:
        try:
            self._blocks.verify(state, 1 << block, wait=True)
        except RemoteError:
            return False
        return True


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same bytes in as few ranges as can be."""
    joined: list[tuple[int, int]] = []
    for start, stop in ranges:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return joined
