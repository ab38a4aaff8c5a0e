"""What a group does when the one that drives a change asks it, and how it ends by itself.

Each step is one transaction of its group (`benchfsd/renaming.py`). The shell around it, in a
daemon or in a simulation, brings the messages here and asks about what stays prepared.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable

from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    Conclude,
    DropLink,
    Empty,
    GetAttributes,
    GetOutcome,
    GetPart,
    LockMoves,
    Outcome,
    OutcomeReply,
    PreparedName,
    PrepareName,
    PrepareParent,
    PrepareQuota,
    RegisterPart,
    RenameHow,
    SealDirectory,
    SetPart,
)
from benchfsd.access import arrival, require_owner
from benchfsd.allowances import ShortError
from benchfsd.moves import Moves
from benchfsd.namespace import Removed, UnregisteredError
from benchfsd.peers import Peers, register_part
from benchfsd.renaming import RenamingNamespace
from benchfsd.rights import SUPERUSER, User


class Participant:
    """The groups of one node, as others ask them.

    `removed` carries out what follows the removal of an entry.
    """

    def __init__(self, peers: Peers, removed: Callable[[int, Removed], Awaitable[None]]) -> None:
        self._peers = peers
        self._moves = Moves(peers)
        self._removed = removed

    async def act(self, group: int, message: tuple[object, ...]) -> tuple[object, ...]:
        """Do what a message to a group says. Raises RemoteError."""
        names = self._peers.namespace(group)
        match message:
            case PrepareName():
                return await self._prepare_name(group, message)
            case PrepareParent():
                return names.prepare_parent(message)
            case PrepareQuota():
                return await self._prepare_quota(group, message)
            case SealDirectory():
                return names.seal_directory(message)
            case LockMoves():
                return await self._moves.lock(message)
            case Conclude(token, commit):
                for removed in names.conclude(token, commit=commit):
                    await self._removed(group, removed)
                return Empty()
            case GetOutcome(token):
                return OutcomeReply(names.holds.outcome(token))
            case DropLink():
                dropped = names.drop_link(message)
                await self._removed(group, dropped)
                return dropped.reply
            case RegisterPart():
                return names.parts.register(message, self._peers.group_count)
            case GetPart():
                return names.parts.get(message)
            case SetPart():
                return names.parts.set(message)
            case GetAttributes():
                return names.inodes.get_attributes(message)
            case _:
                raise RemoteError(errno.EINVAL, f"{type(message).__name__} is not for groups")

    async def _prepare_name(self, group: int, message: PrepareName) -> PreparedName:
        names = self._peers.namespace(group)
        while True:
            try:
                await self._require_arrival(names, message)
                return names.prepare_name(message)
            except UnregisteredError as missing:
                await register_part(self._peers, group, missing.ino)

    async def _prepare_quota(self, group: int, message: PrepareQuota) -> Empty:
        while True:
            try:
                return self._peers.namespace(group).prepare_quota(message)
            except ShortError as short:
                await self._peers.obtain(short)

    async def _require_arrival(self, names: RenamingNamespace, message: PrepareName) -> None:
        user = SUPERUSER if message.user is None else User(*message.user)
        parent, name, keep = message.parent, message.name, message.how == RenameHow.KEEP

        def check() -> int | None:
            return arrival(user, names, parent, name, keep=keep)

        await require_owner(self._peers, user, check, name)

    async def ask_outcome(self, group: int, token: bytes, coordinator: int) -> None:
        """End what is prepared in a group, if its change is over. RemoteError: no answer."""
        reply = await self._peers.ask(coordinator, GetOutcome(token), OutcomeReply)
        if reply.outcome != Outcome.PENDING:
            commit = reply.outcome == Outcome.COMMITTED
            await self.act(group, Conclude(token, commit=commit))
