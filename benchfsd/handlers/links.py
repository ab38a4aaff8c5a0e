"""Operations on links: make and read symbolic ones, make and remove names of files elsewhere.

The steps of a hard link across groups are said in `benchfsd/links.py`; here they are put together,
also after a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import cast

from benchfs.inode import FileType, home_group
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    Attributes,
    AttributesReply,
    ChangeLinks,
    ChangeLinksReply,
    Code,
    Empty,
    GetAttributes,
    Link,
    MakeSpecial,
    MakeSymlink,
    Op,
    ReadLink,
    SettleLinks,
    Unlink,
)
from benchfs.rpc.server import Call as Request
from benchfs.rpc.server import Handler, Reply
from benchfsd.guard import between_nodes
from benchfsd.handlers import once
from benchfsd.node import Node
from benchfsd.purge import Purger
from benchfsd.rows import Intent, IntentKind

RETRY_FIRST_SECONDS = 0.1
RETRY_MOST_SECONDS = 5.0


async def require_owner(node: Node, request: Request, ino: int | None, name: bytes) -> None:
    """Raise EPERM unless the caller owns the inode, which may be at home anywhere."""
    if ino is None:
        return
    home = home_group(ino)
    if node.leads(home):
        victim = node.namespace(home).inodes.get(ino)
    else:
        answer = await node.call_group(home, GetAttributes(ino))
        victim = cast(AttributesReply, answer.message).attributes
    node.guard.sticky_removal(request, victim, name)


class HardLinks:
    """The handlers of one node, and what they leave to be finished."""

    def __init__(self, node: Node, purger: Purger) -> None:
        self._node = node
        self._purger = purger

    def table(self) -> dict[Op, Handler]:
        """Operation to handler."""
        node = self._node
        return {
            Op.MAKE_SYMLINK: once.inline(node, self.make_symlink),
            Op.MAKE_SPECIAL: once.inline(node, self.make_special),
            Op.READ_LINK: self.read_link,
            Op.LINK: once.either(node, self.link),
            Op.CHANGE_LINKS: between_nodes(self.change_links),
            Op.SETTLE_LINKS: between_nodes(self.settle_links),
        }

    def make_symlink(self, request: Request) -> tuple[object, ...]:
        """MAKE_SYMLINK."""
        message = cast(MakeSymlink, request.message)
        node, group = self._node, request.envelope.group
        node.require_space()
        node.guard.creation(request, node.namespace(group), message.parent, message.name)
        uid, gid = node.guard.owner(request, message.uid, message.gid)
        return node.links(group).make_symlink(message._replace(uid=uid, gid=gid))

    def make_special(self, request: Request) -> tuple[object, ...]:
        """MAKE_SPECIAL."""
        message = cast(MakeSpecial, request.message)
        node, group = self._node, request.envelope.group
        node.require_space()
        names = node.namespace(group)
        mode = node.guard.creation(request, names, message.parent, message.name, message.mode)
        uid, gid = node.guard.owner(request, message.uid, message.gid)
        return node.links(group).make_special(message._replace(mode=mode, uid=uid, gid=gid))

    def read_link(self, request: Request) -> Reply:
        """READ_LINK. Who found the link may read it."""
        group = request.envelope.group
        self._node.require(group, request.envelope.epoch)
        return Reply(self._node.links(group).read_link(cast(ReadLink, request.message)))

    # ------------------------------------------------------------ names of files elsewhere

    def link(self, request: Request) -> tuple[object, ...] | Awaitable[tuple[object, ...]]:
        """LINK: one transaction if the inode is at home here."""
        message = cast(Link, request.message)
        node, group = self._node, request.envelope.group
        node.require_space()
        node.guard.creation(request, node.namespace(group), message.parent, message.name)
        if home_group(message.ino) == group:
            return node.links(group).link(message)
        return self._link(request, message)

    async def _link(self, request: Request, message: Link) -> tuple[object, ...]:
        node, group = self._node, request.envelope.group
        async with node.lock(message.parent, message.name):
            links = node.links(group)
            intent = links.begin_link(message, once.slot_of(request))
            try:
                linked = await self._change(intent, up=True)
                assert linked is not None  # a count that went up is not of nothing
                links.finish_link(intent, FileType(linked.type))
            except RemoteError:
                node.spawn(self._retry(group, intent), "link")
                raise
            node.spawn(self._retry(group, intent._replace(kind=IntentKind.SETTLE)), "link")
            return AttributesReply(linked)

    async def unlink(
        self, request: Request, message: Unlink, ino: int, victim: int | None
    ) -> tuple[object, ...]:
        """UNLINK of an entry whose inode is at home in another group.

        `victim`: the inode, if only its owner may do this.
        """
        node, group = self._node, request.envelope.group
        async with node.lock(message.parent, message.name):
            await require_owner(node, request, victim, message.name)
            links = node.links(group)
            entry = node.namespace(group).find_entry(message.parent, message.name)
            if entry is None or entry.ino != ino:
                raise RemoteError(Code.NOT_READY, "the name was changed: try again", message.name)
            intent = links.begin_unlink(message, ino, once.slot_of(request))
            try:
                return await self._finish_unlink(group, intent)
            except RemoteError:
                node.spawn(self._retry(group, intent), "unlink")
                raise

    async def _finish_unlink(self, group: int, intent: Intent) -> Empty:
        try:
            await self._change(intent, up=False)
        except RemoteError as exc:
            if exc.code >= Code.STALE_EPOCH:
                raise
            # there is no such inode: its name can go all the same
        reply = self._node.links(group).finish_unlink(intent)
        settle = intent._replace(kind=IntentKind.SETTLE)
        self._node.spawn(self._retry(group, settle), "unlink")
        return reply

    async def _change(self, intent: Intent, *, up: bool) -> Attributes | None:
        node, home = self._node, home_group(intent.ino)
        request = ChangeLinks(intent.ino, intent.token, up)
        if node.leads(home):
            return self._change_here(home, request).attributes
        answer = await node.call_group(home, request)
        return cast(ChangeLinksReply, answer.message).attributes

    async def _settle(self, intent: Intent, *, keep: bool) -> None:
        node, home = self._node, home_group(intent.ino)
        request = SettleLinks(intent.ino, intent.token, keep)
        if node.leads(home):
            self._settle_here(home, request)
        else:
            await node.call_group(home, request)

    async def _retry(self, group: int, intent: Intent) -> None:
        """Carry what was begun to its end, however long the other node is away."""
        delay = RETRY_FIRST_SECONDS
        while True:
            try:
                await self.finish(group, intent)
                return
            except RemoteError:
                await asyncio.sleep(delay)
                delay = min(delay * 2, RETRY_MOST_SECONDS)

    def resume(self, group: int, intent: Intent) -> None:
        """Take up what an earlier process began."""
        self._node.spawn(self._retry(group, intent), "link")

    async def finish(self, group: int, intent: Intent) -> None:
        """The last steps of an intent, if they are still to be done. Raises RemoteError."""
        node = self._node
        if node.namespace(group).intents.get(intent.kind, intent.ino) is None:
            return
        links = node.links(group)
        if intent.kind is IntentKind.UNLINK:
            reply = await self._finish_unlink(group, intent)
            if intent.call is not None:
                once.record(node, group, intent.call, reply)
        elif intent.kind is IntentKind.LINK:
            await self._settle(intent, keep=False)
            links.abort_link(intent)
        else:
            await self._settle(intent, keep=True)
            links.forget(intent)

    # ------------------------------------------------------------ at the inode's home

    def change_links(self, request: Request) -> Reply:
        """CHANGE_LINKS."""
        group = request.envelope.group
        self._node.require(group, request.envelope.epoch)
        return Reply(self._change_here(group, cast(ChangeLinks, request.message)))

    def settle_links(self, request: Request) -> Reply:
        """SETTLE_LINKS."""
        group = request.envelope.group
        self._node.require(group, request.envelope.epoch)
        self._settle_here(group, cast(SettleLinks, request.message))
        return Reply(Empty())

    def _change_here(self, group: int, message: ChangeLinks) -> ChangeLinksReply:
        reply, purge = self._node.links(group).change_links(message)
        if purge is not None:
            self._purger.add(group, purge)
        return reply

    def _settle_here(self, group: int, message: SettleLinks) -> None:
        purge = self._node.links(group).settle_links(message)
        if purge is not None:
            self._purger.add(group, purge)
