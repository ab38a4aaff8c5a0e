"""Operations that ask several groups about a directory, or one node about many inodes."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable
from typing import cast

from benchfs.inode import home_group
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    Attributes,
    AttributesReply,
    Empty,
    GetManyAttributes,
    GetPart,
    GetParts,
    ManyAttributesReply,
    MarkInodes,
    Op,
    PartsReply,
    SetAttributes,
    SetPart,
)
from benchfs.rpc.server import Call as Request
from benchfs.rpc.server import Handler, Reply
from benchfsd.handlers import quotas
from benchfsd.handlers.changes import Changes
from benchfsd.namespace import ENTRY_BYTES, PAGE_BYTES
from benchfsd.node import Node
from benchfsd.parts import NO_MTIME, merged

RETRY_FIRST_SECONDS = 0.1
RETRY_MOST_SECONDS = 5.0


def table(
    node: Node, changes: Changes, keeper: quotas.AllowanceKeeper, plain: dict[Op, Handler]
) -> dict[Op, Handler]:
    """Operation to handler; `plain` has the handlers that know one group only."""

    def get_parts(request: Request) -> Reply:
        group = request.envelope.group
        node.require(group, request.envelope.epoch)
        names, ino = node.namespace(group), cast(GetParts, request.message).ino
        names.inodes.get(ino)
        return Reply(PartsReply((group, *names.parts.used(ino))))

    def get_many(request: Request) -> Reply:
        return Reply(_many(node, cast(GetManyAttributes, request.message).inos))

    def get_attributes(request: Request) -> Reply | Awaitable[Reply]:
        reply = plain[Op.GET_ATTRIBUTES](request)
        if isinstance(reply, Reply):
            found = cast(AttributesReply, reply.message).attributes
            if found.fanout > 1:
                return whole(request.envelope.group, found)
        return reply

    async def whole(group: int, home: Attributes) -> Reply:
        parts = await _ask_parts(changes, group, home.ino, GetPart(home.ino))
        found = [cast(AttributesReply, part).attributes for part in parts]
        return Reply(AttributesReply(merged(home, found)))

    def set_attributes(request: Request) -> Reply | Awaitable[Reply]:
        reply = plain[Op.SET_ATTRIBUTES](request)
        if isinstance(reply, Reply):
            changed = cast(AttributesReply, reply.message).attributes
            if changed.fanout > 1:  # a repetition comes here too: the parts are told again
                wanted = cast(SetAttributes, request.message)
                if wanted.mtime_ns is None and not wanted.mtime_now:
                    changed = changed._replace(mtime_ns=NO_MTIME)
                return tell(request.envelope.group, changed, reply)
        return reply

    async def tell(group: int, changed: Attributes, reply: Reply) -> Reply:
        await changes.stored()
        try:
            await _ask_parts(changes, group, changed.ino, SetPart(changed))
        except RemoteError:
            node.spawn(_keep_telling(changes, group, changed.ino), "rights")
            raise
        return reply

    def mark(request: Request) -> Reply | Awaitable[Reply]:
        reply = quotas.mark_inodes(node, keeper, request)
        inodes = changes.namespace(request.envelope.group).inodes
        found = [inodes.find(ino) for ino in cast(MarkInodes, request.message).inos]
        wide = [inode for inode in found if inode is not None and inode.fanout > 1]
        return tell_all(request.envelope.group, wide, Reply(reply)) if wide else Reply(reply)

    async def tell_all(group: int, marked: list[Attributes], reply: Reply) -> Reply:
        for inode in marked:
            await tell(group, inode, reply)
        return reply

    return {
        Op.MARK_INODES: mark,
        Op.GET_PARTS: get_parts,
        Op.GET_MANY_ATTRIBUTES: get_many,
        Op.GET_ATTRIBUTES: get_attributes,
        Op.SET_ATTRIBUTES: set_attributes,
    }


def resume(node: Node, changes: Changes, group: int) -> None:
    """Tell the parts of wide directories what rights these have: a crash may have kept it back."""
    for ino in node.namespace(group).parts.directories():
        node.spawn(_keep_telling(changes, group, ino), "rights")


async def _keep_telling(changes: Changes, group: int, ino: int) -> None:
    """Tell all parts of a directory its rights, however long the node of one is away."""
    delay = RETRY_FIRST_SECONDS
    while True:
        directory = changes.namespace(group).inodes.find(ino)
        if directory is None:
            return
        try:
            await _ask_parts(changes, group, ino, SetPart(directory._replace(mtime_ns=NO_MTIME)))
            return
        except RemoteError:
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_MOST_SECONDS)


async def _ask_parts(
    changes: Changes, group: int, ino: int, request: GetPart | SetPart
) -> list[tuple[object, ...]]:
    """The answers of all parts of a directory; of one that was not made yet there is none."""

    async def one(part: int) -> tuple[object, ...] | None:
        try:
            if isinstance(request, GetPart):
                return await changes.ask(part, request, AttributesReply)
            return await changes.ask(part, request, Empty)
        except RemoteError as exc:
            if exc.code != errno.ENOENT:
                raise
            return None

    parts = changes.namespace(group).parts.used(ino)
    answers = await asyncio.gather(*[one(part) for part in parts], return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if isinstance(answer, tuple)]


def _many(node: Node, inos: tuple[int, ...]) -> ManyAttributesReply:
    """What fits in a reply, without what is not led here, gone, or kept in several groups."""
    found: list[Attributes] = []
    used = 0
    for number, ino in enumerate(inos):
        group = home_group(ino)
        inode = None
        if group < node.map.group_count and node.leads(group):
            inode = node.namespace(group).inodes.find(ino)
        if inode is None or inode.fanout > 1:
            continue
        used += ENTRY_BYTES + 3 * len(inode.layout.stripe)
        if found and used > PAGE_BYTES:
            return ManyAttributesReply(number, tuple(found))
        found.append(inode)
    return ManyAttributesReply(len(inos), tuple(found))
