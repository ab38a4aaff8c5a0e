"""How every change of a chunk begins, and what is left of one that fails.

A chunk's file is made before its record is, the dirty mark is committed before any byte changes,
and after a failure nothing is believed of the bytes in between.

A chunk whose first write is small has no file: the bytes are in its record, so one transaction is
all that the write takes. With its next change, which tells that it is not that kind of file, it
gets a file; until the dirty mark is committed the record still has the bytes.
"""

from __future__ import annotations

import errno

from benchfs.env import Clock
from benchfs.layout import SMALL_BYTES
from benchfs.rpc.errors import RemoteError
from benchfsd.chunks import refusals
from benchfsd.chunks.cleaning import Cleaner
from benchfsd.chunks.files import ChunkFiles
from benchfsd.chunks.record import ChunkRecord
from benchfsd.chunks.removal import Remover
from benchfsd.chunks.space import SpaceBudget
from benchfsd.chunks.state import ChunkState
from benchfsd.chunks.table import NO_RECORD, ChunkTable
from benchfsd.database import Database

# Of small chunks, in one transaction: it has to fit what the database has allocated ahead.
_BATCH_BYTES = 1024 * 1024
_DATABASE_SHARE = 0.5  # of what the database can grow to; beyond it even small chunks are files


class Changer:
    """Begins and undoes changes of one store's chunks."""

    def __init__(  # noqa: PLR0917 (one argument a collaborator)
        self,
        table: ChunkTable,
        files: ChunkFiles,
        database: Database,
        space: SpaceBudget,
        cleaner: Cleaner,
        remover: Remover,
        clock: Clock,
        *,
        durable: bool,
        node_id: str,
        small_bytes: int = SMALL_BYTES,
    ) -> None:
        self._small_bytes = small_bytes
        self._table = table
        self._files = files
        self._database = database
        self._space = space
        self._cleaner = cleaner
        self._remover = remover
        self._clock = clock
        self._durable = durable
        self._node_id = node_id

    def create(self, group: int, ino: int, index: int, truncation: int) -> ChunkState:
        """A new, empty chunk. Its file is made before its record is.

        So a record without its file is damage, whatever happened when.
        """
        self._require_alone(group, ino, index)
        self._make_room_in_memory()
        try:
            self._make_file(ino, index)
        except OSError as problem:
            raise self.refusal(ino, index, problem) from problem
        state = ChunkState(group, ino, index, NO_RECORD._replace(truncation=truncation))
        self._table.add(state)
        return state

    def is_small(self, size: int) -> bool:
        """Whether a new chunk of so many bytes is to be kept in its record."""
        database = self._database
        return (
            size <= self._small_bytes
            and database.has_headroom
            and database.used_bytes < _DATABASE_SHARE * database.map_bytes
        )

    def create_small(  # noqa: PLR0917 (the fields of the record)
        self, group: int, ino: int, index: int, truncation: int, data: bytes, checks: bytes
    ) -> ChunkState:
        """A new chunk with its bytes, which are safe with the next commit."""
        self._require_alone(group, ino, index)
        if self._database.batch_bytes >= _BATCH_BYTES:
            self._database.commit()
        version = self._table.next_version()
        record = ChunkRecord(version, truncation, len(data), False, checks, data)
        state = ChunkState(group, ino, index, record)
        self._table.add(state)
        self._table.put(state)
        return state

    def _make_file(self, ino: int, index: int) -> None:
        self._remover.make_way(ino, index)
        try:
            self._files.create(ino, index)
        except FileExistsError:  # left by a crash
            self._files.remove(ino, index)
            self._files.create(ino, index)

    def _move_to_file(self, state: ChunkState) -> None:
        """Give a small chunk a file. Its record is to be put after that: until then it is whole.

        In mode durable the disk has the file first, since the record will not have the bytes.
        """
        ino, index = state.ino, state.index
        try:
            self._make_file(ino, index)
            try:
                self._files.write(ino, index, 0, state.data)
            except OSError:
                self._files.remove(ino, index)
                raise
        except OSError as problem:
            raise self.refusal(ino, index, problem) from problem
        if self._durable:
            self._files.sync_now(ino, index)
        state.data = b""

    def _require_alone(self, group: int, ino: int, index: int) -> None:
        """A request with a wrong group must not take the place of another group's chunk."""
        for other in self._table.file(ino).groups:
            if other != group and self._table.row(other, ino, index) is not None:
                raise refusals.invalid(ino, index, f"is in group {other}, not in {group}")

    def activate(self, state: ChunkState, truncation: int) -> None:
        """Commit the dirty mark, and the epoch with it, before any byte changes."""
        if not state.dirty:
            self._make_room_in_memory()
            if state.data:
                self._move_to_file(state)
            else:
                self._check_file(state)
        state.truncation = truncation
        self._table.mark(state)
        self._database.commit()

    def _check_file(self, state: ChunkState) -> None:
        size = self._files.size(state.ino, state.index)
        if size is None or size < state.length:
            why = "the chunk's file is " + ("missing" if size is None else f"cut to {size}")
            raise refusals.damaged(state.ino, state.index, size or 0, state.length, why)
        if size > state.length:  # left by a write that failed: it would show up in a hole
            self._files.truncate(state.ino, state.index, state.length)

    def undo(self, state: ChunkState, offset: int, end: int, problem: OSError) -> RemoteError:
        """After a failed write: the old length, and nothing believed of the bytes in between."""
        if end > state.length:
            try:
                self._files.truncate(state.ino, state.index, state.length)
            except OSError:
                pass  # bytes after the length, which are never read
        state.disturbed(offset, end)
        state.last_write = self._clock.monotonic()
        return self.refusal(state.ino, state.index, problem)

    def refusal(self, ino: int, index: int, problem: OSError) -> RemoteError:
        """The error that a client gets for one of the disk."""
        if problem.errno in {errno.ENOSPC, errno.EDQUOT}:
            return self.no_space(ino, index)
        if isinstance(problem, FileNotFoundError):
            return refusals.damaged(ino, index, 0, 0, "the chunk's file is missing")
        text = f"{refusals.chunk_name(ino, index)} cannot be written: {problem}"
        return RemoteError(errno.EIO, text, node=self._node_id)

    def no_space(self, ino: int, index: int) -> RemoteError:
        """The disk is full, to its reserve."""
        return refusals.no_space(ino, index, self._node_id, self._space.reserve)

    def _make_room_in_memory(self) -> None:
        """Bound what the dirty chunks take. In mode durable `clean_idle` has to keep up."""
        table = self._table
        if len(table.dirty) >= table.capacity and not self._durable:
            self._cleaner.clean_now(next(iter(table.dirty.values())))
