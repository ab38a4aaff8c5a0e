"""COPY_CHUNK: bytes from a chunk of this node or of another one into a chunk of this one."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import cast

from benchfs.checks import piece_checks, verify_pieces
from benchfs.inode import READ, WRITE
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import Code, CopyChunk, Op, ReadChunk, ReadChunkReply
from benchfs.rpc.server import Call as Request
from benchfs.rpc.server import Handler, Reply
from benchfsd.handlers.chunks import READ_MOST_BYTES, once_in_memory
from benchfsd.node import Node


def table(node: Node) -> dict[Op, Handler]:
    """Operation to handler."""

    async def copy(request: Request) -> Reply:
        group, message = request.envelope.group, cast(CopyChunk, request.message)
        node.require(group, request.envelope.epoch)
        node.guard.chunk(request, message.ino, WRITE)
        node.guard.chunk(request, message.source_ino, READ)
        if message.length > READ_MOST_BYTES:
            raise RemoteError(Code.BAD_MESSAGE, f"no copy of {message.length} bytes")
        buffer = node.buffers.take(message.length)
        try:
            data = buffer[: message.length]
            await _fetch(node, message, data)
            checks = piece_checks(data, message.offset)
            reply = once_in_memory(
                node,
                request,
                lambda: node.store.write(
                    group,
                    message.ino,
                    message.index,
                    message.truncation,
                    message.offset,
                    data,
                    checks,
                ),
            )
            data.release()
            return reply
        finally:
            node.buffers.give(buffer)

    return {Op.COPY_CHUNK: copy}


async def _fetch(node: Node, message: CopyChunk, into: memoryview) -> None:
    """Fill `into` with the source's bytes, zeros where it has none. Raises RemoteError."""
    group, ino = message.source_group, message.source_ino
    index, offset, length = message.source_index, message.source_offset, message.length
    if node.leads(group):
        found = node.store.read(group, ino, index, offset, length, into)
        result = await found if isinstance(found, Awaitable) else found
        count, checks = result.count, result.checks
    else:
        answer = await node.call_group(group, ReadChunk(ino, index, offset, length), into=into)
        count = 0 if answer.payload is None else len(answer.payload)
        checks = cast(ReadChunkReply, answer.message).checks
    bad = verify_pieces(into[:count], offset, checks)
    if bad is not None:
        text = f"chunk {index} of inode {ino:016x}, bytes from {bad}: failed their check"
        raise RemoteError(Code.UNAVAILABLE, text)
    if count < length:
        into[count:] = bytes(length - count)
