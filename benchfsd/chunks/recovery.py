"""What happens to chunks when a daemon starts: after a clean stop, after kill -9, after a reboot.

Clean stop: nothing. Processes ended, the machine did not: the page cache has every byte that was
acknowledged, so a dirty chunk is what its file says. The machine ended, and mode is not durable:
nobody knows what the disk got, so nothing is believed that no check confirms. In mode durable
the second rule holds for both, since acknowledged means flushed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

from benchfs.layout import BLOCK_SIZE, MAX_CHUNK_SIZE
from benchfs.rpc.errors import RemoteError
from benchfsd.chunks.blocks import BlockReader
from benchfsd.chunks.files import ChunkFiles
from benchfsd.chunks.record import ChunkRecord, block_count
from benchfsd.chunks.state import BAD_CHECK, ChunkState
from benchfsd.chunks.table import ChunkTable
from benchfsd.chunks.walk import chunk_records

MAX_LISTED = 1000


@dataclass(frozen=True, slots=True)
class Damage:
    """A block that does not match its check, or a chunk whose record is damaged."""

    ino: int
    index: int
    offset: int  # of the block in the chunk; bytes


class VerifyReport(NamedTuple):
    """What `verify_all` found. `damaged` lists the first MAX_LISTED of `damaged_blocks`."""

    chunks: int
    bytes: int
    damaged_blocks: int
    damaged: tuple[Damage, ...]


class Recovery:
    """Takes up the chunks of an earlier process. Used before anything else is."""

    def __init__(
        self, table: ChunkTable, files: ChunkFiles, blocks: BlockReader, *, durable: bool
    ) -> None:
        self._table = table
        self._files = files
        self._blocks = blocks
        self._durable = durable

    def recover(self, *, clean_stop: bool) -> int:
        """Make the table ready for use; return the number of chunks that were left dirty.

        Their checks are computed when they are needed, or when the chunks are cleaned, so this
        takes the time of a walk over the records, and after a clean stop no time at all.
        """
        table = self._table
        last = table.start()
        if clean_stop and last is not None and last.counted:
            table.chunks, table.bytes = last.chunks, last.bytes
            return 0
        left = 0
        for (group, ino, index), record in chunk_records(self._table):
            if record is None:
                table.chunks += 1
                continue
            state = self._take_up(group, ino, index, record) if record.dirty else None
            left += state is not None
            table.chunks += 1
            table.bytes += record.length if state is None else state.length
        return left

    def _take_up(self, group: int, ino: int, index: int, record: ChunkRecord) -> ChunkState:
        """The state of a chunk that was being written: what its file says, with a new version.

        The version that it had in memory is not known, and caches may hold bytes under it.
        """
        state = ChunkState(group, ino, index, record)
        state.version = self._table.next_version()
        size = self._files.size(ino, index)
        if size is not None:
            state.forget_checks(min(size, MAX_CHUNK_SIZE))
        # Without a file, reads will say so: the file is made before the record, so it was lost.
        self._table.keep_dirty(state)
        return state

    async def verify_all(self) -> VerifyReport:
        """Hold every chunk against its checks, and say which bytes are damaged.

        They stay unreadable until they are overwritten or removed. Dirty chunks become clean:
        what their last checks do not confirm is damaged, but in mode durable their files are
        taken as they are. Call it before `recover`.
        """
        table = self._table
        table.start()
        chunks = size = 0
        damaged: list[Damage] = []
        for (group, ino, index), record in chunk_records(self._table):
            chunks += 1
            if record is None:
                damaged.append(Damage(ino, index, 0))
                continue
            state = ChunkState(group, ino, index, record)
            found = self._files.size(ino, index) or 0
            if record.dirty:
                if self._durable:
                    state.forget_checks(min(found, MAX_CHUNK_SIZE))
                else:
                    _doubt(state, min(found, MAX_CHUNK_SIZE))
            await self._blocks.fetch(state, 0, state.length)
            bad = self._bad_blocks(state)
            damaged += [Damage(ino, index, block * BLOCK_SIZE) for block in bad]
            size += state.length
            if record.dirty:
                for block in bad:
                    state.set_check(block, BAD_CHECK)
                state.cleaned()
                state.version = table.next_version()
                table.put(state)
            await asyncio.sleep(0)
        table.database.commit()
        return VerifyReport(chunks, size, len(damaged), tuple(damaged[:MAX_LISTED]))

    def _bad_blocks(self, state: ChunkState) -> list[int]:
        bad = []
        for block in range(block_count(state.length)):
            try:
                self._blocks.verify(state, 1 << block, wait=True)
            except RemoteError:
                bad.append(block)
        return bad


def _doubt(state: ChunkState, size: int) -> None:
    """Believe no byte of a file of `size` bytes that the chunk's last checks do not cover."""
    confirmed = state.length
    state.length = max(confirmed, size)
    missing = block_count(state.length) - block_count(confirmed)
    state.checks += BAD_CHECK * missing
    if confirmed % BLOCK_SIZE and size > confirmed:
        state.set_check(confirmed // BLOCK_SIZE, BAD_CHECK)
