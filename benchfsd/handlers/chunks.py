"""Operations on chunks: read, write, sync, cut, purge, lend."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from typing import cast

from benchfs.checks import CHECK_SIZE, piece_count
from benchfs.inode import READ, WRITE
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    Code,
    CutFile,
    Empty,
    FileEnd,
    FileEndReply,
    LendBoardReply,
    LendChunk,
    LendChunkReply,
    Op,
    Present,
    PurgeFiles,
    ReadChunk,
    ReadChunkReply,
    SyncFile,
    WriteChunk,
    WriteChunkReply,
    WriteExtents,
)
from benchfs.rpc.server import Call as Request
from benchfs.rpc.server import Handler, Reply
from benchfsd.chunks import ChunkStore, ReadResult
from benchfsd.guard import between_nodes
from benchfsd.node import Node

READ_MOST_BYTES = 16 * 1024 * 1024


class ChunkHandlers:
    """The handlers of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def table(self) -> dict[Op, Handler]:
        """Operation to handler."""
        return {
            Op.PRESENT: self.present,
            Op.READ_CHUNK: self.read,
            Op.WRITE_CHUNK: self.write,
            Op.WRITE_EXTENTS: self.write_extents,
            Op.SYNC_FILE: self.sync,
            Op.CUT_FILE: between_nodes(self.cut),
            Op.PURGE_FILES: between_nodes(self.purge),
            Op.FILE_END: between_nodes(self.file_end),
            Op.LEND_CHUNK: self.lend,
            Op.LEND_BOARD: self.lend_board,
        }

    def present(self, request: Request) -> Reply:
        """PRESENT."""
        self._node.guard.present(request, cast(Present, request.message))
        return Reply(Empty())

    def read(self, request: Request) -> Reply | Awaitable[Reply]:
        """READ_CHUNK, at once when the bytes are in memory."""
        node, group = self._node, request.envelope.group
        node.require(group, request.envelope.epoch)
        ino, index, offset, length, capability = cast(ReadChunk, request.message)
        if capability:
            node.guard.present(request, Present(ino, capability))
        node.guard.chunk(request, ino, READ)
        if length > READ_MOST_BYTES:
            raise RemoteError(errno.EINVAL, f"no read of {length} bytes")
        buffer = node.buffers.take(length)
        try:
            found = node.store.read(group, ino, index, offset, length, buffer)
        except BaseException:
            node.buffers.give(buffer)
            raise
        if isinstance(found, ReadResult):
            return self._reply(found, buffer)
        return self._read_later(found, buffer)

    async def _read_later(self, found: Awaitable[ReadResult], buffer: memoryview) -> Reply:
        try:
            result = await found
        except BaseException:
            self._node.buffers.give(buffer)
            raise
        return self._reply(result, buffer)

    def _reply(self, found: ReadResult, buffer: memoryview) -> Reply:
        reply = ReadChunkReply(found.version, found.checks)
        if not found.count:
            self._node.buffers.give(buffer)
            return Reply(reply)
        part = buffer[: found.count]

        def done() -> None:
            part.release()
            self._node.buffers.give(buffer)

        return Reply(reply, (part,), done=done)

    def write(self, request: Request) -> Reply:
        """WRITE_CHUNK."""
        node, envelope = self._node, request.envelope
        node.require(envelope.group, envelope.epoch)
        ino, index, truncation, offset, checks, capability = cast(WriteChunk, request.message)
        if capability:
            node.guard.present(request, Present(ino, capability))
        node.guard.chunk(request, ino, WRITE)
        payload = request.payload
        if payload is None:
            raise RemoteError(Code.BAD_MESSAGE, "a write without a payload")
        return once_in_memory(
            node,
            request,
            lambda: node.store.write(
                envelope.group, ino, index, truncation, offset, payload, checks
            ),
        )

    def write_extents(self, request: Request) -> Reply:
        """WRITE_EXTENTS."""
        node, envelope = self._node, request.envelope
        node.require(envelope.group, envelope.epoch)
        message = cast(WriteExtents, request.message)
        if message.capability:
            node.guard.present(request, Present(message.ino, message.capability))
        node.guard.chunk(request, message.ino, WRITE)
        payload = request.payload
        if payload is None or len(payload) != sum(extent.length for extent in message.extents):
            raise RemoteError(Code.BAD_MESSAGE, "the extents are not those of the payload")
        return once_in_memory(
            node, request, lambda: _write_all(node.store, envelope.group, message, payload)
        )

    async def sync(self, request: Request) -> Reply:
        """SYNC_FILE."""
        await self._node.store.sync(cast(SyncFile, request.message).ino)
        return Reply(Empty())

    async def cut(self, request: Request) -> Reply:
        """CUT_FILE."""
        await self._node.store.cut(*cast(CutFile, request.message))
        return Reply(Empty())

    async def purge(self, request: Request) -> Reply:
        """PURGE_FILES."""
        await self._node.store.purge(cast(PurgeFiles, request.message).inos)
        return Reply(Empty())

    def file_end(self, request: Request) -> Reply:
        """FILE_END."""
        return Reply(FileEndReply(*self._node.store.end_of(*cast(FileEnd, request.message))))

    async def lend(self, request: Request) -> Reply:
        """LEND_CHUNK, only where a descriptor can be passed."""
        group = request.envelope.group
        self._node.require(group, request.envelope.epoch)
        _require_descriptors(request)
        message = cast(LendChunk, request.message)
        self._node.guard.chunk(request, message.ino, READ)
        loan = await self._node.store.lend(group, message.ino, message.index)
        reply = LendChunkReply(loan.cell, loan.stamp, loan.version, loan.length, loan.checks)
        return Reply(reply, descriptors=(loan.descriptor,))

    def lend_board(self, request: Request) -> Reply:
        """LEND_BOARD, only where a descriptor can be passed."""
        _require_descriptors(request)
        board = self._node.store.board
        return Reply(LendBoardReply(board.cells), descriptors=(os.dup(board.descriptor),))


def once_in_memory(node: Node, request: Request, act: Callable[[], int]) -> Reply:
    """The answer to a change of a chunk: `act` does it, once, and returns the new version.

    The slot's answer is kept in memory only: a row for each write would cost more than the
    write. After kill -9 a repetition is executed again; nobody was told of the first time,
    so it is as if the write had taken place now.
    """
    sequence = request.envelope.sequence
    if not sequence:
        return Reply(WriteChunkReply(act()))
    key = (request.caller.session, request.envelope.slot)
    last, version = node.writes.get(key, (0, 0))
    if last == sequence:
        return Reply(WriteChunkReply(version))
    if last > sequence:
        raise RemoteError(Code.STALE_SEQUENCE, "the slot has answered a later call")
    version = act()
    node.remember_write(key, sequence, version)
    return Reply(WriteChunkReply(version))


def _write_all(store: ChunkStore, group: int, message: WriteExtents, payload: memoryview) -> int:
    """Write the extents one by one; returns the chunk's version after the last one."""
    ino, index, truncation, extents, checks, _ = message
    version = position = checked = 0
    for offset, length in extents:
        after = checked + CHECK_SIZE * piece_count(offset, length)
        part = payload[position : position + length]
        version = store.write(group, ino, index, truncation, offset, part, checks[checked:after])
        position, checked = position + length, after
    return version


def _require_descriptors(request: Request) -> None:
    if request.caller.purpose != "descriptors":
        raise RemoteError(errno.EOPNOTSUPP, "descriptors need a connection made for them")
