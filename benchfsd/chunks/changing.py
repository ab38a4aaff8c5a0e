"""How every change of a chunk begins, and what is left of one that fails.

A chunk's file is made before its record is, the dirty mark is committed before any byte changes,
and after a failure nothing is believed of the bytes in between.
"""

from __future__ import annotations

import errno

from benchfs.env import Clock
from benchfs.rpc.errors import RemoteError
from benchfsd.chunks import refusals
from benchfsd.chunks.cleaning import Cleaner
from benchfsd.chunks.files import ChunkFiles
from benchfsd.chunks.removal import Remover
from benchfsd.chunks.space import SpaceBudget
from benchfsd.chunks.state import ChunkState
from benchfsd.chunks.table import NO_RECORD, ChunkTable
from benchfsd.database import Database


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
    ) -> None:
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
        self._make_room_in_memory()
        self._remover.make_way(ino, index)
        try:
            try:
                self._files.create(ino, index)
            except FileExistsError:
                self._check_leftover(group, ino, index)
                self._files.remove(ino, index)
                self._files.create(ino, index)
        except OSError as problem:
            raise self.refusal(ino, index, problem) from problem
        state = ChunkState(group, ino, index, NO_RECORD._replace(truncation=truncation))
        self._table.add(state)
        return state

    def _check_leftover(self, group: int, ino: int, index: int) -> None:
        """Of a crash, or another group's: that a request with a wrong group must not destroy."""
        for other in self._table.file(ino).groups:
            if self._table.row(other, ino, index) is not None:
                raise refusals.invalid(ino, index, f"is in group {other}, not in {group}")

    def activate(self, state: ChunkState, truncation: int) -> None:
        """Commit the dirty mark, and the epoch with it, before any byte changes."""
        if not state.dirty:
            self._make_room_in_memory()
            size = self._files.size(state.ino, state.index)
            if size is None or size < state.length:
                why = "the chunk's file is " + ("missing" if size is None else f"cut to {size}")
                raise refusals.damaged(state.ino, state.index, size or 0, state.length, why)
            if size > state.length:  # left by a write that failed: it would show up in a hole
                self._files.truncate(state.ino, state.index, state.length)
        state.truncation = truncation
        self._table.mark(state)
        self._database.commit()

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
