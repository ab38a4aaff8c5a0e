"""Operations on holes: where data is, allocating space, punching."""

from __future__ import annotations

from typing import cast

from benchfs.inode import WRITE
from benchfs.rpc.messages import (
    AllocateChunk,
    ExtentRecord,
    MapData,
    MapDataReply,
    Op,
    PunchChunk,
)
from benchfs.rpc.server import Call as Request
from benchfs.rpc.server import Handler, Reply
from benchfsd.handlers.chunks import once_in_memory
from benchfsd.node import Node

NO_END = 2**64 - 1


def table(node: Node) -> dict[Op, Handler]:
    """Operation to handler."""
    shaper = node.store.shaper

    async def map_data(request: Request) -> Reply:
        message = cast(MapData, request.message)
        node.guard.either(request, message.ino)
        extents, until = await shaper.map_data(*message)
        records = tuple(ExtentRecord(*extent) for extent in extents)
        return Reply(MapDataReply(records, NO_END if until is None else until))

    def allocate(request: Request) -> Reply:
        group, message = request.envelope.group, cast(AllocateChunk, request.message)
        node.require(group, request.envelope.epoch)
        node.guard.chunk(request, message.ino, WRITE)
        return once_in_memory(node, request, lambda: shaper.allocate(group, *message))

    def punch(request: Request) -> Reply:
        group, message = request.envelope.group, cast(PunchChunk, request.message)
        node.require(group, request.envelope.epoch)
        node.guard.chunk(request, message.ino, WRITE)
        return once_in_memory(node, request, lambda: shaper.punch(group, *message))

    return {Op.MAP_DATA: map_data, Op.ALLOCATE_CHUNK: allocate, Op.PUNCH_CHUNK: punch}
