"""Operations on names: look up, open, make, remove, rename, list."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Awaitable
from typing import cast

from benchfs.inode import FileType, home_group
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    AttributesReply,
    Code,
    DirectoryRecord,
    DropInode,
    Empty,
    HoldRecord,
    Lookup,
    MakeDirectory,
    MakeInode,
    Op,
    Open,
    ReadDirectory,
    ReadDirectoryReply,
    RemoveDirectory,
    Unlink,
)
from benchfs.rpc.server import Call as Request
from benchfs.rpc.server import Handler, Reply
from benchfsd.access import removal
from benchfsd.allowances import ShortError
from benchfsd.handlers import once
from benchfsd.handlers.changes import Changes, released
from benchfsd.holds import Held
from benchfsd.inodes import inherit
from benchfsd.namespace import Namespace
from benchfsd.node import Node
from benchfsd.rows import Intent
from benchfsd.sizes import LiveSizes


class NameHandlers:
    """The handlers of one node."""

    def __init__(self, node: Node, changes: Changes, sizes: LiveSizes) -> None:
        self._node = node
        self._changes = changes
        self._sizes = sizes

    def table(self) -> dict[Op, Handler]:
        """Operation to handler."""
        node = self._node
        handlers: dict[Op, Handler] = {
            Op.LOOKUP: self.lookup,
            Op.OPEN: once.inline(node, self.open),
            Op.UNLINK: once.either(node, self.unlink),
            Op.MAKE_DIRECTORY: once.waiting(node, self.make_directory),
            Op.REMOVE_DIRECTORY: once.waiting(node, self.remove_directory),
        }
        waiting = {op: self._changes.patient(handler) for op, handler in handlers.items()}
        return {**waiting, Op.READ_DIRECTORY: self.read_directory}

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

    def read_directory(self, request: Request) -> Reply | Awaitable[Reply]:
        """READ_DIRECTORY. What was coming when it was asked is there, or is not to come."""
        group = request.envelope.group
        self._node.require(group, request.envelope.epoch)
        message = cast(ReadDirectory, request.message)
        arriving = self._node.namespace(group).holds.arriving(message.ino)
        if arriving:
            return self._read_later(request, message, arriving)
        return Reply(self._page(request, message))

    async def _read_later(
        self, request: Request, message: ReadDirectory, arriving: set[bytes]
    ) -> Reply:
        group = request.envelope.group
        for token in arriving:
            held = Held(group, token, "something is being renamed into this directory")
            await released(self._node, held, request.deadline)
        return Reply(self._page(request, message))

    def _page(self, request: Request, message: ReadDirectory) -> ReadDirectoryReply:
        names = self._node.namespace(request.envelope.group)
        searchable = self._node.guard.listing(request, names, message.ino)
        page = names.read_directory(message)
        if searchable:
            return page
        bare = tuple(entry._replace(attributes=None) for entry in page.entries)
        return page._replace(entries=bare, searchable=False)

    def open(self, request: Request) -> tuple[object, ...]:
        """OPEN. On a full disk what is there can be opened, with `create` too."""
        node, message = self._node, cast(Open, request.message)
        names = node.namespace(request.envelope.group)
        message = node.guard.opening(request, names, message)
        if message.hold:
            node.opens.require_room()
        if message.create:
            self._require_can_be_made(names, message)
            names.delegations.require(message.parent, request.caller.session, message.name)
        reply = node.guard.opened(request, names.open(message), message.wanted)
        if message.alone and reply.created:
            reply = reply._replace(directory=self._alone(request, names, message.parent))
        if message.hold and reply.type == FileType.FILE and reply.attributes is not None:
            hold = HoldRecord(reply.ino, message.hold, message.writes)
            node.opens.hold(request.caller.session, hold)
        return reply

    def _alone(self, request: Request, names: Namespace, directory: int) -> DirectoryRecord | None:
        """What a client has to know to be the only one who makes names there, if it may be."""
        if home_group(directory) != names.group:
            return None  # a part of a wide one
        inode = names.inodes.get(directory)
        delegations, session = names.delegations, request.caller.session
        coming = names.holds.arriving(directory)
        alone_ms = 0 if coming else delegations.grant(directory, session)
        return DirectoryRecord(inode.change, inode.entries, alone_ms, self._node.started_ns)

    def _require_can_be_made(self, names: Namespace, message: Open) -> None:
        node = self._node
        if not node.has_space and names.is_absent(message.parent, message.name):
            node.require_space()
        if any(group >= node.map.group_count for group in message.layout.stripe):
            raise RemoteError(
                errno.EINVAL, "the layout names groups that the cluster has not", message.name
            )

    def unlink(self, request: Request) -> tuple[object, ...] | Awaitable[tuple[object, ...]]:
        """UNLINK: the chunks, or an inode elsewhere, go afterwards, as the removal wrote down."""
        node, message = self._node, cast(Unlink, request.message)
        names = node.namespace(request.envelope.group)
        user = node.guard.user(request.caller)
        if removal(user, names, message.parent, message.name) is not None:
            return self._unlink_of_others(request, message)
        return self._changes.answered(request, names.unlink(message))

    async def _unlink_of_others(self, request: Request, message: Unlink) -> tuple[object, ...]:
        """UNLINK where the owner of an inode elsewhere decides."""
        await self._changes.require_removable(request, message.parent, message.name)
        removed = self._node.namespace(request.envelope.group).unlink(message)
        answer = self._changes.answered(request, removed)
        return answer if isinstance(answer, tuple) else await answer

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
            delegations, session = names.delegations, request.caller.session
            delegations.require(message.parent, session, message.name)
            parent = names.check_absent(message.parent, message.name)
            uid, gid = node.guard.owner(request, message.uid, message.gid)
            mode, gid = inherit(parent.mode, parent.gid, wanted_mode, gid, directory=True)
            home = node.env.rng.randrange(node.map.group_count)
            fanout = min(message.fanout or parent.fanout, node.map.group_count)
            wanted = MakeInode(message.parent, mode, uid, gid, fanout, parent.quota)
            if node.leads(home):
                made = await self._make_inode(home, wanted)
            else:
                answer = await node.call_group(home, wanted, mutates=True)
                made = cast(AttributesReply, answer.message)
            ino = made.attributes.ino
            try:
                if names.quota_of(message.parent, message.name) != parent.quota:
                    text = "a quota is being set on the directory: try again"
                    raise RemoteError(Code.NOT_READY, text, message.name)
                delegations.require(message.parent, session, message.name)
                names.add_entry(message.parent, message.name, ino, FileType.DIRECTORY, fanout)
            except RemoteError:
                if node.leads(home):
                    node.namespace(home).inodes.drop_inode(DropInode(ino))
                else:  # if that node is away now, a row that nothing refers to stays there
                    with contextlib.suppress(RemoteError):
                        await node.call_group(home, DropInode(ino), mutates=True)
                raise
            return made

    async def _make_inode(self, home: int, wanted: MakeInode) -> AttributesReply:
        """In a group that this node leads."""
        while True:
            try:
                return self._node.namespace(home).inodes.make_inode(wanted)
            except ShortError as short:
                await self._changes.obtain(short)

    async def remove_directory(self, request: Request) -> tuple[object, ...]:
        """REMOVE_DIRECTORY: an intent here, the inode at its home, then the entry here."""
        node, group = self._node, request.envelope.group
        message = cast(RemoveDirectory, request.message)
        names = node.namespace(group)
        async with node.lock(message.parent, message.name):
            await self._changes.require_removable(request, message.parent, message.name)
            if not names.is_wide(message.parent, message.name):
                intent = names.begin_rmdir(message, once.slot_of(request))
                return await finish_rmdir(node, group, intent)
        return await self._changes.remove_directory(request)


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
