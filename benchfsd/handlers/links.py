"""Operations on links: make and read symbolic ones, make names of files elsewhere.

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
    Empty,
    Link,
    MakeSpecial,
    MakeSymlink,
    Op,
    ReadLink,
    SettleLinks,
)
from benchfs.rpc.server import Call as Request
from benchfs.rpc.server import Handler, Reply
from benchfsd.guard import between_nodes
from benchfsd.handlers import once
from benchfsd.handlers.changes import Changes
from benchfsd.node import Node
from benchfsd.purge import Purger
from benchfsd.rows import Intent, IntentKind

RETRY_FIRST_SECONDS = 0.1
RETRY_MOST_SECONDS = 5.0


class HardLinks:
    """The handlers of one node, and what they leave to be finished."""

    def __init__(self, node: Node, purger: Purger, changes: Changes) -> None:
        self._node = node
        self._purger = purger
        self._changes = changes

    def table(self) -> dict[Op, Handler]:
        """Operation to handler."""
        node, patient = self._node, self._changes.patient
        return {
            Op.MAKE_SYMLINK: patient(once.inline(node, self.make_symlink)),
            Op.MAKE_SPECIAL: patient(once.inline(node, self.make_special)),
            Op.READ_LINK: self.read_link,
            Op.LINK: patient(once.either(node, self.link)),
            Op.CHANGE_LINKS: between_nodes(self.change_links),
            Op.SETTLE_LINKS: between_nodes(self.settle_links),
        }

    def make_symlink(self, request: Request) -> tuple[object, ...]:
        """MAKE_SYMLINK."""
        message = cast(MakeSymlink, request.message)
        node, group = self._node, request.envelope.group
        node.require_space()
        names = node.namespace(group)
        node.guard.creation(request, names, message.parent, message.name)
        names.delegations.require(message.parent, request.caller.session, message.name)
        uid, gid = node.guard.owner(request, message.uid, message.gid)
        return node.links(group).make_symlink(message._replace(uid=uid, gid=gid))

    def make_special(self, request: Request) -> tuple[object, ...]:
        """MAKE_SPECIAL."""
        message = cast(MakeSpecial, request.message)
        node, group = self._node, request.envelope.group
        node.require_space()
        names = node.namespace(group)
        mode = node.guard.creation(request, names, message.parent, message.name, message.mode)
        names.delegations.require(message.parent, request.caller.session, message.name)
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
        names = node.namespace(group)
        node.guard.creation(request, names, message.parent, message.name)
        names.delegations.require(message.parent, request.caller.session, message.name)
        if home_group(message.ino) == group:
            return node.links(group).link(message)
        return self._link(request, message)

    async def _link(self, request: Request, message: Link) -> tuple[object, ...]:
        node, group = self._node, request.envelope.group
        async with node.lock(message.parent, message.name):
            names, links = node.namespace(group), node.links(group)
            intent = links.begin_link(message, once.slot_of(request))
            try:
                linked = await self._change(intent)
                names.delegations.require(message.parent, request.caller.session, message.name)
                links.finish_link(intent, FileType(linked.type))
            except RemoteError:
                node.spawn(self._retry(group, intent), "link")
                raise
            node.spawn(self._retry(group, intent._replace(kind=IntentKind.SETTLE)), "link")
            return AttributesReply(linked)

    async def _change(self, intent: Intent) -> Attributes:
        node, home = self._node, home_group(intent.ino)
        request = ChangeLinks(intent.ino, intent.token, intent.quota)
        if node.leads(home):
            return node.links(home).change_links(request).attributes
        answer = await node.call_group(home, request)
        return cast(AttributesReply, answer.message).attributes

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
        if intent.kind is IntentKind.LINK:
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
        return Reply(self._node.links(group).change_links(cast(ChangeLinks, request.message)))

    def settle_links(self, request: Request) -> Reply:
        """SETTLE_LINKS."""
        group = request.envelope.group
        self._node.require(group, request.envelope.epoch)
        self._settle_here(group, cast(SettleLinks, request.message))
        return Reply(Empty())

    def _settle_here(self, group: int, message: SettleLinks) -> None:
        purge = self._node.links(group).settle_links(message)
        if purge is not None:
            self._purger.add(group, purge)
