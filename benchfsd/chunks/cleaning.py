"""From dirty to clean: the checks of what was written become known, then safe, then final.

A chunk that was written is marked dirty in the database first (see `store.py`). Here its checks
are computed where they are unknown, and its record is put without the mark. In mode durable the
disk has the file before: a mark that was taken away early would leave a clean record beside old
bytes. A write that comes meanwhile keeps the mark, and loses nothing by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio.to_thread

from benchfsd.chunks.blocks import BlockReader
from benchfsd.chunks.files import ChunkFiles
from benchfsd.chunks.state import ChunkState
from benchfsd.chunks.table import ChunkTable
from benchfsd.database import FatalStorageError
from benchfsd.mode import Mode

IDLE_SECONDS = 2.0
_FETCHES = 3  # then the loop waits for the disk: bytes come and go faster than they are hashed


class Cleaner:
    """Cleans chunks of `table`. `on_fatal` is called if the database cannot be flushed."""

    def __init__(
        self,
        table: ChunkTable,
        files: ChunkFiles,
        blocks: BlockReader,
        mode: Mode,
        on_fatal: Callable[[FatalStorageError], object],
    ) -> None:
        self._table = table
        self._files = files
        self._blocks = blocks
        self._durable = mode is Mode.DURABLE
        self._on_fatal = on_fatal

    async def sync(self, ino: int) -> None:
        """Return when the file's acknowledged bytes are as safe as the mode promises."""
        states = self._table.dirty_of(ino)
        if not states:
            return
        if self._durable:
            await asyncio.gather(*map(self.clean, states))
        else:
            for state in states:
                await self.clean(state)
        await self.committed()
        if self._durable:
            await self.flush()

    async def clean_idle(self, now: float) -> None:
        """Clean what was not written for a while, and what is too much to keep in memory."""
        table = self._table
        idle = [state for state in table.dirty.values() if now - state.last_write >= IDLE_SECONDS]
        excess = len(table.dirty) - len(idle) - table.capacity
        if excess > 0:
            idle += [s for s in table.dirty.values() if now - s.last_write < IDLE_SECONDS][:excess]
        for state in idle:
            await self.clean(state)

    async def clean_all(self) -> None:
        """Clean every chunk, for a clean stop. Nothing may be written meanwhile."""
        for state in list(self._table.dirty.values()):
            await self.clean(state)
        await self.committed()
        if self._durable:
            await self.flush()

    async def clean(self, state: ChunkState) -> None:
        """Put the chunk's clean record, unless a write comes between and keeps it dirty."""
        version = state.version
        if self._durable:
            await self._files.sync(state.ino, state.index)
            if state.version != version:
                return
        hashed = bool(state.unknown)
        if hashed:
            await self.complete(state)
        written = self._durable and state.version != version  # since the disk had it
        if state.dirty and not written and self._table.is_current(state):
            self._table.settle(state)
        if hashed:
            await asyncio.sleep(0)  # hashing a chunk takes a millisecond: let others work

    async def harden(self, state: ChunkState) -> None:
        """Return when the chunk's file is as safe as the mode promises. It may have changed on."""
        if self._durable:
            await self._files.sync(state.ino, state.index)

    def clean_now(self, state: ChunkState) -> None:
        """Clean a chunk at once, waiting for the disk if need be. Not in mode durable."""
        assert not self._durable
        self._blocks.complete(state, wait=True)
        self._table.settle(state)

    async def complete(self, state: ChunkState) -> None:
        """Make all checks of a chunk known. They are when this returns, before anything else."""
        for _ in range(_FETCHES):
            try:
                self._blocks.complete(state, wait=False)
            except BlockingIOError:
                await self._blocks.fetch_unknown(state)
            else:
                return
        self._blocks.complete(state, wait=True)

    async def committed(self) -> None:
        """Return when all that was put into the database so far is committed."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not done.done():  # whoever waited may have been cancelled
                done.set_result(None)

        self._table.database.on_commit(wake)
        await done

    async def flush(self) -> None:
        """Return when the disk has all that was committed. Raises FatalStorageError."""
        try:
            await anyio.to_thread.run_sync(self._table.database.flush_to_disk)
        except FatalStorageError as failure:
            self._on_fatal(failure)
            raise
