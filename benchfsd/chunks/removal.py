"""Cutting files, removing them, and getting rid of files that no record speaks of.

A chunk's record goes first, and its file only when that is committed: after a crash there may be
a file without a record, which `sweep` removes, and never a record without its file, which would
be damage. Both need no space that is not there: they work on a full disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from benchfs.layout import BLOCK_SIZE
from benchfs.rpc.errors import RemoteError
from benchfsd.chunks.blocks import BlockReader
from benchfsd.chunks.cleaning import Cleaner
from benchfsd.chunks.files import ChunkFiles
from benchfsd.chunks.loans import LoanBoard
from benchfsd.chunks.record import ChunkRecord
from benchfsd.chunks.state import BAD_CHECK, ChunkState
from benchfsd.chunks.table import ChunkTable, Key

_AT_ONCE = 64  # chunks between two breaks for other work: about a millisecond


class Remover:
    """Removes chunks of `table`, and ends their loans before."""

    def __init__(
        self,
        table: ChunkTable,
        files: ChunkFiles,
        blocks: BlockReader,
        cleaner: Cleaner,
        board: LoanBoard,
    ) -> None:
        self._table = table
        self._files = files
        self._blocks = blocks
        self._cleaner = cleaner
        self._board = board
        self._doomed: dict[Key, None] = {}  # their records are deleted, but that not committed
        self._garbage: dict[Key, None] = {}  # that is committed, and the files can go

    async def cut(self, ino: int, truncation: int, size: int, chunk_size: int) -> None:
        """Cut the file's chunks to a file size of `size` under the epoch `truncation`.

        From the first step on writes under older epochs are refused. A chunk that was changed
        under this epoch, or a newer one, is left alone: done twice this does nothing, and
        neither does it if it comes late.
        """
        table = self._table
        file = table.file(ino)
        if truncation < file.truncation or table.is_purged(ino):
            return
        if truncation > file.truncation:
            table.put_file(ino, file._replace(truncation=truncation))
        boundary, kept = divmod(size, chunk_size)
        for count, (group, index, record) in enumerate(table.rows_of(ino, boundary)):
            state = table.active((ino, index))
            if (state or record).truncation >= truncation:
                continue
            if index > boundary or not kept:
                self._remove(group, ino, index, record)
            elif (state or record).length > kept:
                await self._shorten(group, ino, index, truncation, kept)
            if count % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
        await self._cleaner.committed()
        await self.discard()

    async def _shorten(
        self, group: int, ino: int, index: int, truncation: int, length: int
    ) -> None:
        table = self._table
        state = table.find(group, ino, index)
        assert state is not None
        damaged = False
        partial = 1 << length // BLOCK_SIZE if length % BLOCK_SIZE else 0
        try:
            self._blocks.verify(state, partial & ~state.fresh & ~state.unknown, wait=True)
        except RemoteError:
            damaged = True  # it stays what it is, and shorter
        if state.data:
            self._shorten_small(state, truncation, length, damaged)
            return
        self._end_loans(state)
        if not state.dirty:
            table.mark(state)
            table.database.commit()
        try:
            self._files.truncate(ino, index, length)
        except FileNotFoundError:
            damaged = True
        table.bytes += length - state.length
        state.cut(length)
        if damaged and partial:
            state.set_check(length // BLOCK_SIZE, BAD_CHECK)
        state.version = table.next_version()
        # The new epoch only when the file is cut for good: until then it still has to be.
        await self._cleaner.harden(state)
        if table.is_current(state):
            state.truncation = max(state.truncation, truncation)
            table.mark(state)

    def _shorten_small(
        self, state: ChunkState, truncation: int, length: int, damaged: bool
    ) -> None:
        """Its bytes and their check change with one row."""
        table = self._table
        table.bytes += length - state.length
        state.cut_small(length)
        if damaged:
            state.set_check(0, BAD_CHECK)
        state.version = table.next_version()
        state.truncation = max(state.truncation, truncation)
        table.put(state)

    async def purge(self, inos: Iterable[int]) -> None:
        """Remove all chunks of these files, for good: late writes to them are refused."""
        table = self._table
        count = 0
        for ino in inos:
            table.note_purged(ino)
            for group, index, record in table.rows_of(ino):
                self._remove(group, ino, index, record)
                count += 1
                if count % _AT_ONCE == 0:
                    await asyncio.sleep(0)
            table.drop_file(ino)
        await self._cleaner.committed()
        await self.discard()

    def _remove(self, group: int, ino: int, index: int, record: ChunkRecord) -> None:
        state = self._table.active((ino, index))
        if state is not None:
            self._end_loans(state)
        else:
            self._board.revoke((ino, index))
        self._table.remove(group, ino, index, record)
        if (state or record).data:
            return
        if not self._doomed:
            self._table.database.on_commit(self._bury)
        self._doomed[ino, index] = None

    def _bury(self) -> None:
        self._garbage.update(self._doomed)
        self._doomed.clear()

    def _end_loans(self, state: ChunkState) -> None:
        if state.lent:
            state.lent = False
            self._board.revoke((state.ino, state.index))

    # ---------------------------------------------------------------- files without records

    @property
    def has_garbage(self) -> bool:
        """Whether `discard` would find work."""
        return bool(self._garbage)

    def make_way(self, ino: int, index: int) -> None:
        """Called before the file of a chunk is made: the one of a removed chunk goes now."""
        if (ino, index) in self._doomed:
            self._table.database.commit()
        if self._garbage.pop((ino, index), 0) is None:
            self._files.remove(ino, index)

    async def discard(self) -> None:
        """Remove the files of removed chunks. Who is cancelled leaves the rest to the next."""
        count = 0
        while self._garbage:
            ino, index = next(iter(self._garbage))
            self._files.remove(ino, index)
            del self._garbage[ino, index]
            count += 1
            if count % _AT_ONCE == 0:
                await asyncio.sleep(0)

    async def sweep(self) -> int:
        """Remove files that no record speaks of, and return how many there were.

        They are what an unclean stop leaves behind; removing them is no hurry.
        """
        count = 0
        for keys in self._files.listing():
            of_file: dict[int, list[int]] = {}
            for ino, index in keys:
                of_file.setdefault(ino, []).append(index)
            for ino, indexes in of_file.items():
                rows = self._table.rows_of(ino)
                known = {index for _group, index, record in rows if not record.data}
                for index in indexes:
                    if index not in known and (ino, index) not in self._doomed:
                        self._garbage.pop((ino, index), None)
                        self._files.remove(ino, index)
                        count += 1
                await asyncio.sleep(0)
        return count
