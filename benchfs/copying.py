"""Copying between files without the bytes coming to the client: the nodes fetch them.

Each request names a part of one chunk of the target and where its bytes are; the target's node
copies them from its own disk, or asks the source's node. Holes of the source become holes.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchfs.cluster import Intent
from benchfs.inode_handle import InodeHandle
from benchfs.layout import Piece, pieces
from benchfs.rpc.messages import CopyChunk
from benchfs.sparse import SparseFile

MOST_BYTES = 64 * 1024 * 1024
"""Of one call, so that it ends in time."""


class RangeCopy:
    """A copy from one open file to another, or within one."""

    def __init__(
        self, source: SparseFile, source_inode: InodeHandle, target: SparseFile, inode: InodeHandle
    ) -> None:
        self._source = source
        self._source_inode = source_inode
        self._target = target
        self._inode = inode

    async def run(self, intent: Intent, source_start: int, target_start: int, count: int) -> None:
        """Copy `count` bytes. Raises BenchFSError; part of it may be copied then."""
        shift = target_start - source_start
        at = source_start
        end = source_start + count
        async for extent in self._source.extents(intent, source_start, end):
            if extent.start > at:
                await self._target.punch(intent, at + shift, extent.start + shift)
            await self._copy(intent, extent.start, extent.end, shift)
            at = extent.end
        if at < end:
            await self._target.punch(intent, at + shift, end + shift)

    async def _copy(self, intent: Intent, start: int, end: int, shift: int) -> None:
        source = self._source_inode
        chunk_size = self._inode.layout.chunk_size

        def request(piece: Piece, truncation: int) -> CopyChunk:
            at = piece.index * chunk_size + piece.offset - shift
            index, offset = divmod(at, source.layout.chunk_size)
            return CopyChunk(
                self._inode.ino,
                piece.index,
                truncation,
                piece.offset,
                piece.length,
                source.group_of(index),
                source.ino,
                index,
                offset,
            )

        await self._target.change(intent, self._pieces(start, end, shift), request)

    def _pieces(self, start: int, end: int, shift: int) -> Iterator[Piece]:
        """Parts of the target's chunks, each of which comes from one chunk of the source."""
        for part in pieces(start, end - start, self._source_inode.layout.chunk_size):
            at = start + part.position + shift
            yield from pieces(at, part.length, self._inode.layout.chunk_size)
