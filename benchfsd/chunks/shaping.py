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
from typing import TYPE_CHECKING

from benchfs.layout import BLOCK_SIZE, MAX_CHUNK_SIZE, block_pieces
from benchfs.rpc.errors import RemoteError
from benchfsd.chunks import refusals
from benchfsd.chunks.record import ChunkRecord
from benchfsd.chunks.state import ZERO_BLOCK_CHECK, check_of

if TYPE_CHECKING:
    from benchfsd.chunks.store import ChunkStore

CHUNKS_AT_ONCE = 512  # looked at for one answer
EXTENTS_MOST = 16_384  # of one answer, but for those of its last chunk
_BREAK = 32  # chunks between two breaks for other work


class Shaper:
    """Acts on the chunks of a store, of which it is a part."""

    def __init__(self, store: ChunkStore) -> None:
        self._store = store

    def punch(  # noqa: PLR0917 (the request's fields)
        self, group: int, ino: int, index: int, truncation: int, offset: int, length: int
    ) -> int:
        """Make bytes of a chunk a hole; returns its new version, 0 if there is no such chunk.

        Raises RemoteError as `ChunkStore.write` does.
        """
        store, table = self._store, self._store._table
        self._require(ino, index, truncation, offset, length)
        state = table.find(group, ino, index)
        if state is None:
            return 0
        end = min(offset + length, state.length)
        if end <= offset:
            return state.version
        if kept := state.to_verify(offset, end):
            store._blocks.verify(state, kept, wait=True)
        state.version = table.next_version()
        if not state.dirty or truncation > state.truncation:
            store._activate(state, truncation)
        if state.lent:
            state.lent = False
            store.board.revoke((ino, index))
        try:
            store._files.punch(ino, index, offset, end - offset)
        except OSError as problem:
            raise store._undo(state, offset, end, problem) from problem
        state.written(offset, end, zero_checks(offset, end))
        state.last_write = store._clock.monotonic()
        return state.version

    def allocate(  # noqa: PLR0917 (the request's fields)
        self, group: int, ino: int, index: int, truncation: int, offset: int, length: int
    ) -> int:
        """Have space for bytes of a chunk, which is made if it is missing; returns its version.

        Raises RemoteError: ENOSPC, EOPNOTSUPP, ESTALE, STALE_TRUNCATION.
        """
        store = self._store
        self._require(ino, index, truncation, offset, length)
        if not store._space.grant(length):
            raise store._no_space(ino, index)
        state = store._table.find(group, ino, index)
        if state is None:
            state = store._create(group, ino, index, truncation)
            state.version = store._table.next_version()
            store._activate(state, truncation)
            state.last_write = store._clock.monotonic()
        try:
            store._files.allocate(ino, index, offset, length)
        except OSError as problem:
            if problem.errno == errno.EOPNOTSUPP:
                raise RemoteError(errno.EOPNOTSUPP, "the file system cannot allocate") from problem
            raise store._refusal(ino, index, problem) from problem
        return state.version

    async def map_data(
        self, ino: int, chunk_size: int, offset: int
    ) -> tuple[list[tuple[int, int]], int | None]:
        """Where the file has data on this node from `offset` on, and up to where that is all.

        Extents in bytes of the file, ascending; None: it is all there is.
        """
        store = self._store
        extents: list[tuple[int, int]] = []
        for count, (index, record) in enumerate(self._chunks(ino, offset // chunk_size)):
            base = index * chunk_size
            if count == CHUNKS_AT_ONCE or len(extents) >= EXTENTS_MOST:
                return extents, base
            state = store._table.active((ino, index))
            length = (state or record).length
            try:
                ranges = store._files.data_ranges(ino, index, length)
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
        table = self._store._table
        of_groups = [table.rows_of_group(group, ino, first) for group in table.file(ino).groups]
        for _, index, record in heapq.merge(*of_groups, key=lambda row: row[1]):
            yield index, record

    def _require(self, ino: int, index: int, truncation: int, offset: int, length: int) -> None:
        """Raise what a write raises before it looks at its bytes."""
        table = self._store._table
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
