"""Chunks with holes: punching them, allocating space, and telling where data is.

To punch is to write zeros that take no space: the same rules hold as for a write (dirty mark
before the change, kept parts of blocks verified, loans ended before), and the checks are those of
zeros. Allocated space changes no byte, and no length.
"""

from __future__ import annotations

import asyncio
import errno
import heapq
from collections.abc import Iterator

from benchfs.env import Clock
from benchfs.layout import BLOCK_SIZE, MAX_CHUNK_SIZE, block_pieces
from benchfs.rpc.errors import RemoteError
from benchfsd.chunks import refusals
from benchfsd.chunks.blocks import BlockReader
from benchfsd.chunks.changing import Changer
from benchfsd.chunks.files import ChunkFiles
from benchfsd.chunks.loans import LoanBoard
from benchfsd.chunks.record import ChunkRecord
from benchfsd.chunks.space import SpaceBudget
from benchfsd.chunks.state import ZERO_BLOCK_CHECK, check_of
from benchfsd.chunks.table import ChunkTable

CHUNKS_AT_ONCE = 512  # looked at for one answer
EXTENTS_MOST = 16_384  # of one answer, but for those of its last chunk
_BREAK = 32  # chunks between two breaks for other work


class Shaper:
    """Acts on the chunks of a store, of which it is a part."""

    def __init__(  # noqa: PLR0917 (one argument a collaborator)
        self,
        table: ChunkTable,
        files: ChunkFiles,
        space: SpaceBudget,
        blocks: BlockReader,
        changer: Changer,
        board: LoanBoard,
        clock: Clock,
    ) -> None:
        self._table = table
        self._files = files
        self._space = space
        self._blocks = blocks
        self._changer = changer
        self._board = board
        self._clock = clock

    def punch(  # noqa: PLR0917 (the request's fields)
        self, group: int, ino: int, index: int, truncation: int, offset: int, length: int
    ) -> int:
        """Make bytes of a chunk a hole; returns its new version, 0 if there is no such chunk.

        Raises RemoteError as `ChunkStore.write` does.
        """
        table, changer = self._table, self._changer
        self._require(ino, index, truncation, offset, length)
        state = table.find(group, ino, index)
        if state is None:
            return 0
        end = min(offset + length, state.length)
        if end <= offset:
            return state.version
        if kept := state.to_verify(offset, end):
            self._blocks.verify(state, kept, wait=True)
        state.version = table.next_version()
        if not state.dirty or truncation > state.truncation:
            changer.activate(state, truncation)
        if state.lent:
            state.lent = False
            self._board.revoke((ino, index))
        try:
            self._files.punch(ino, index, offset, end - offset)
        except OSError as problem:
            raise changer.undo(state, offset, end, problem) from problem
        state.written(offset, end, zero_checks(offset, end))
        state.last_write = self._clock.monotonic()
        return state.version

    def allocate(  # noqa: PLR0917 (the request's fields)
        self, group: int, ino: int, index: int, truncation: int, offset: int, length: int
    ) -> int:
        """Have space for bytes of a chunk, which is made if it is missing; returns its version.

        Raises RemoteError: ENOSPC, EOPNOTSUPP, ESTALE, STALE_TRUNCATION.
        """
        changer = self._changer
        self._require(ino, index, truncation, offset, length)
        if not self._space.grant(length):
            raise changer.no_space(ino, index)
        state = self._table.find(group, ino, index)
        if state is None:
            state = changer.create(group, ino, index, truncation)
            state.version = self._table.next_version()
            changer.activate(state, truncation)
            state.last_write = self._clock.monotonic()
        elif state.data:
            changer.activate(state, max(truncation, state.truncation))
            state.last_write = self._clock.monotonic()
        try:
            self._files.allocate(ino, index, offset, length)
        except OSError as problem:
            if problem.errno == errno.EOPNOTSUPP:
                raise RemoteError(errno.EOPNOTSUPP, "the file system cannot allocate") from problem
            raise changer.refusal(ino, index, problem) from problem
        return state.version

    async def map_data(
        self, ino: int, chunk_size: int, offset: int
    ) -> tuple[list[tuple[int, int]], int | None]:
        """Where the file has data on this node from `offset` on, and up to where that is all.

        Extents in bytes of the file, ascending; None: it is all there is.
        """
        extents: list[tuple[int, int]] = []
        for count, (index, record) in enumerate(self._chunks(ino, offset // chunk_size)):
            base = index * chunk_size
            if count == CHUNKS_AT_ONCE or len(extents) >= EXTENTS_MOST:
                return extents, base
            state = self._table.active((ino, index))
            length = (state or record).length
            try:
                if (state or record).data:
                    ranges = [(0, length)]
                else:
                    ranges = self._files.data_ranges(ino, index, length)
            except FileNotFoundError:
                ranges = [(0, length)]  # damage: whoever reads there is told
            for start, end in ranges:
                if base + end > offset:
                    _add(extents, max(base + start, offset), base + end)
            if count % _BREAK == _BREAK - 1:
                await asyncio.sleep(0)
        return extents, None

    # ------------------------------------------------------------ inside

    def _chunks(self, ino: int, first: int) -> Iterator[tuple[int, ChunkRecord]]:
        """(index, record) of the file's chunks on this node, in the order of the file."""
        table = self._table
        of_groups = [table.rows_of_group(group, ino, first) for group in table.file(ino).groups]
        for _, index, record in heapq.merge(*of_groups, key=lambda row: row[1]):
            yield index, record

    def _require(self, ino: int, index: int, truncation: int, offset: int, length: int) -> None:
        """Raise what a write raises before it looks at its bytes."""
        table = self._table
        if not length or offset + length > MAX_CHUNK_SIZE:
            raise refusals.invalid(ino, index, f"no range of {length} bytes at {offset}")
        if table.is_purged(ino):
            raise refusals.removed(ino, index)
        file = table.file(ino)
        if truncation < file.truncation:
            raise refusals.stale_truncation(ino, index, truncation, file.truncation)
        if truncation > file.truncation:
            table.put_file(ino, file._replace(truncation=truncation))


def zero_checks(offset: int, end: int) -> bytes:
    """The checks of zeros from `offset` up to `end` of a chunk, cut at blocks."""
    checks = b""
    for _, length in block_pieces(offset, end - offset):
        checks += ZERO_BLOCK_CHECK if length == BLOCK_SIZE else check_of(bytes(length))
    return checks


def _add(extents: list[tuple[int, int]], start: int, end: int) -> None:
    if extents and extents[-1][1] == start:
        extents[-1] = (extents[-1][0], end)
    else:
        extents.append((start, end))
