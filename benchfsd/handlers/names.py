"""Operations on names: look up, open, make, remove, rename, list."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Awaitable
from typing import cast

from benchfs.inode import FileType
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    AttributesReply,
    Code,
    DropInode,
    Empty,
    HoldRecord,
    Lookup,
    MakeDirectory,
    MakeInode,
    Op,
    Open,
    ReadDirectory,
    RemoveDirectory,
    Rename,
    Unlink,
)
from benchfs.rpc.server import Call as Request
from benchfs.rpc.server import Handler, Reply
from benchfsd.handlers import once
from benchfsd.handlers.links import HardLinks, require_owner
from benchfsd.inodes import inherit
from benchfsd.namespace import Namespace
from benchfsd.node import Node
from benchfsd.purge import Purger
from benchfsd.rows import Intent
from benchfsd.sizes import LiveSizes


class NameHandlers:
    """The handlers of one node."""

    def __init__(self, node: Node, purger: Purger, hard_links: HardLinks, sizes: LiveSizes) -> None:
        self._node = node
        self._sizes = sizes
        self._purger = purger
        self._hard_links = hard_links

    def table(self) -> dict[Op, Handler]:
        """Operation to handler."""
        node = self._node
        return {
            Op.LOOKUP: self.lookup,
            Op.READ_DIRECTORY: self.read_directory,
            Op.OPEN: once.inline(node, self.open),
            Op.UNLINK: once.either(node, self.unlink),
            Op.RENAME: once.either(node, self.rename),
            Op.MAKE_DIRECTORY: once.waiting(node, self.make_directory),
            Op.REMOVE_DIRECTORY: once.waiting(node, self.remove_directory),
        }

    def lookup(self, request: Request) -> Reply | Awaitable[Reply]:
        """LOOKUP; the size of a file that others write is asked for first."""
        group, message = request.envelope.group, cast(Lookup, request.message)
        self._node.require(group, request.envelope.epoch)
        names = self._node.namespace(group)
        self._node.guard.search(request, names, message.parent)
        found = names.lookup(message)
        if found.type != FileType.FILE or found.attributes is None:
            return Reply(found)
        return self._sizes.answer(
            found.ino, request.caller.session, lambda: Reply(names.lookup(message))
        )

    def read_directory(self, request: Request) -> Reply:
        """READ_DIRECTORY."""
        group = request.envelope.group
        self._node.require(group, request.envelope.epoch)
        message, names = cast(ReadDirectory, request.message), self._node.namespace(group)
        with_attributes = self._node.guard.listing(request, names, message.ino)
        page = names.read_directory(message)
        if not with_attributes:
            bare = tuple(entry._replace(attributes=None) for entry in page.entries)
            page = page._replace(entries=bare)
        return Reply(page)

    def open(self, request: Request) -> tuple[object, ...]:
        """OPEN. On a full disk what is there can be opened, with `create` too."""
        node, message = self._node, cast(Open, request.message)
        names = node.namespace(request.envelope.group)
        message = node.guard.opening(request, names, message)
        if message.hold:
            node.opens.require_room()
        if message.create:
            self._require_can_be_made(names, message)
        reply = node.guard.opened(request, names.open(message), message.wanted)
        if message.hold and reply.type == FileType.FILE and reply.attributes is not None:
            hold = HoldRecord(reply.ino, message.hold, message.writes)
            node.opens.hold(request.caller.session, hold)
        return reply

    def _require_can_be_made(self, names: Namespace, message: Open) -> None:
        node = self._node
        if not node.has_space and names.is_absent(message.parent, message.name):
            node.require_space()
        if any(group >= node.map.group_count for group in message.layout.stripe):
            raise RemoteError(
                errno.EINVAL, "the layout names groups that the cluster has not", message.name
            )

    def unlink(self, request: Request) -> tuple[object, ...] | Awaitable[tuple[object, ...]]:
        """UNLINK: the chunks are removed afterwards, by the intent that the removal wrote.

        One transaction, unless the inode is at home in another group.
        """
        node, group = self._node, request.envelope.group
        message, names = cast(Unlink, request.message), node.namespace(group)
        victim = node.guard.removal(request, names, message.parent, message.name)
        entry = names.find_entry(message.parent, message.name)
        if entry is not None and entry.type != FileType.DIRECTORY and entry.ino >> 48 != group:
            return self._hard_links.unlink(request, message, entry.ino, victim)
        removed = names.unlink(message)
        if removed.purge is not None:
            self._purger.add(group, removed.purge)
        return removed.reply

    def rename(self, request: Request) -> tuple[object, ...] | Awaitable[tuple[object, ...]]:
        """RENAME; a replaced file's chunks go as in UNLINK."""
        node, names = self._node, self._node.namespace(request.envelope.group)
        message = cast(Rename, request.message)
        moved = node.guard.removal(request, names, message.parent, message.name)
        replaced = node.guard.arrival(request, names, message)
        if moved is None and replaced is None:
            return self._rename(request)
        return self._rename_of_others(request, moved, replaced)

    async def _rename_of_others(
        self, request: Request, moved: int | None, replaced: int | None
    ) -> tuple[object, ...]:
        message = cast(Rename, request.message)
        await require_owner(self._node, request, moved, message.name)
        await require_owner(self._node, request, replaced, message.new_name)
        return self._rename(request)

    def _rename(self, request: Request) -> tuple[object, ...]:
        group = request.envelope.group
        removed = self._node.namespace(group).rename(cast(Rename, request.message))
        if removed.purge is not None:
            self._purger.add(group, removed.purge)
        return removed.reply

    async def make_directory(self, request: Request) -> tuple[object, ...]:
        """MAKE_DIRECTORY: the inode in a group of its own, then the entry here."""
        node, group = self._node, request.envelope.group
        message = cast(MakeDirectory, request.message)
        names = node.namespace(group)
        async with node.lock(message.parent, message.name):
            node.require_space()
            wanted_mode = node.guard.creation(
                request, names, message.parent, message.name, message.mode
            )
            parent = names.check_absent(message.parent, message.name)
            uid, gid = node.guard.owner(request, message.uid, message.gid)
            mode, gid = inherit(parent.mode, parent.gid, wanted_mode, gid, directory=True)
            home = node.env.rng.randrange(node.map.group_count)
            wanted = MakeInode(message.parent, mode, uid, gid)
            if node.leads(home):
                made = node.namespace(home).inodes.make_inode(wanted)
            else:
                answer = await node.call_group(home, wanted, mutates=True)
                made = cast(AttributesReply, answer.message)
            ino = made.attributes.ino
            try:
                names.add_entry(message.parent, message.name, ino, FileType.DIRECTORY)
            except RemoteError:
                if node.leads(home):
                    node.namespace(home).inodes.drop_inode(DropInode(ino))
                else:  # if that node is away now, a row that nothing refers to stays there
                    with contextlib.suppress(RemoteError):
                        await node.call_group(home, DropInode(ino), mutates=True)
                raise
            return made

    async def remove_directory(self, request: Request) -> tuple[object, ...]:
        """REMOVE_DIRECTORY: an intent here, the inode at its home, then the entry here."""
        node, group = self._node, request.envelope.group
        message = cast(RemoveDirectory, request.message)
        names = node.namespace(group)
        async with node.lock(message.parent, message.name):
            victim = node.guard.removal(request, names, message.parent, message.name)
            await require_owner(node, request, victim, message.name)
            intent = names.begin_rmdir(message, once.slot_of(request))
            return await finish_rmdir(node, group, intent)


async def finish_rmdir(node: Node, group: int, intent: Intent) -> Empty:
    """The steps after the intent; also what a restarted node does. Raises RemoteError."""
    names = node.namespace(group)
    home = intent.ino >> 48
    drop = DropInode(intent.ino)
    try:
        if node.leads(home):
            node.namespace(home).inodes.drop_inode(drop)
        else:
            await node.call_group(home, drop, mutates=True)
    except RemoteError as exc:
        if exc.code < Code.STALE_EPOCH:  # refused for good; otherwise it may have happened
            names.abort_rmdir(intent)
            raise
        node.spawn(retry_rmdir(node, group, intent), "rmdir")
        raise
    return names.finish_rmdir(intent)


async def retry_rmdir(node: Node, group: int, intent: Intent) -> None:
    """Carry a begun removal to its end, however long the other node is away."""
    delay = 0.1
    while True:
        await asyncio.sleep(delay)
        delay = min(delay * 2, 5.0)
        names, home, drop = node.namespace(group), intent.ino >> 48, DropInode(intent.ino)
        try:
            if node.leads(home):
                node.namespace(home).inodes.drop_inode(drop)
            else:
                await node.call_group(home, drop, mutates=True)
        except RemoteError as exc:
            if exc.code >= Code.STALE_EPOCH:
                continue
            names.abort_rmdir(intent)
            if intent.call is not None:
                once.record_failure(node, group, intent.call, exc)
            return
        reply = names.finish_rmdir(intent)
        if intent.call is not None:
            once.record(node, group, intent.call, reply)
        return
