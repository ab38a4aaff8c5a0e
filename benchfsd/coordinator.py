"""Changes that concern several groups, as the group of the entry that goes drives them.

Two-phase commit whose commit point is one transaction at that group, with presumed abort. What
it needs of the node comes through `Peers`, so that a simulation can stop it at any step. Nothing
waits for a hold while it has one: a change that meets another's hold is given up and done again.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

from benchfs.env import Env
from benchfs.inode import ROOT_INO, FileType, home_group
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    Conclude,
    DropLink,
    Empty,
    LockMoves,
    PreparedName,
    PrepareName,
    PrepareParent,
    PrepareQuota,
    RemoveDirectory,
    Rename,
    RenameHow,
    SealDirectory,
    SealedDirectory,
    UserRecord,
)
from benchfsd.holds import TOKEN_BYTES
from benchfsd.peers import Peers
from benchfsd.renaming import Begun
from benchfsd.rights import SUPERUSER, User
from benchfsd.rows import Entry

MOVES_GROUP = home_group(ROOT_INO)
"""The group that lets one directory move at a time."""


class Coordinator:
    """Drives the changes of the groups that one node leads."""

    def __init__(self, peers: Peers, env: Env) -> None:
        self._peers = peers
        self._env = env

    async def rename(
        self,
        group: int,
        message: Rename,
        record: Callable[[], None],
        user: User | None = SUPERUSER,
    ) -> bytes | None:
        """Prepare and commit a rename. Returns the token under which it is to be finished.

        `record` stores the answer, with the commit. `user` is who renames: that he may take the
        old name away is checked before, the rest where it is prepared. None: both names are one
        inode, and nothing was done. Raises what refuses it: then nothing was done either.
        """
        names = self._peers.namespace(group)
        begun = names.begin_rename(message, self._env.rng.token_bytes(TOKEN_BYTES))
        token, asked = begun.token, list[int]()
        try:
            target = await self._prepare(group, message, begun, asked, user)
        except BaseException:
            names.holds.forget_move(token)
            self._peers.tell_over(token, asked)
            raise
        if target is not None and target.ino == begun.entry.ino:
            names.holds.forget_move(token)
            return None
        exchange = message.how == RenameHow.EXCHANGE
        names.commit(
            token,
            target if exchange else None,
            tuple(dict.fromkeys(asked)),
            moves=bool(_moved(message, begun.entry, target)),
        )
        record()
        await self._peers.stored()
        return token

    async def remove_directory(
        self, group: int, message: RemoveDirectory, record: Callable[[], None]
    ) -> bytes:
        """Seal a wide directory and commit its removal. Returns the token, as `rename`."""
        names = self._peers.namespace(group)
        token, entry, _ = names.begin_remove(message, self._env.rng.token_bytes(TOKEN_BYTES))
        asked: list[int] = []
        try:
            await self._seal(group, token, entry.ino, asked)
        except BaseException:
            names.holds.forget_move(token)
            self._peers.tell_over(token, asked)
            raise
        names.commit(token, None, tuple(dict.fromkeys(asked)), moves=False)
        record()
        await self._peers.stored()
        return token

    async def _prepare(
        self, group: int, message: Rename, begun: Begun, asked: list[int], user: User | None
    ) -> Entry | None:
        """Have all others prepare; notes in `asked` whom. Returns what has the new name."""
        token, entry, quota = begun
        on_behalf = None if user is SUPERUSER else UserRecord(*user)
        parent, name, how = message.new_parent, message.new_name, message.how
        asked.append(message.new_group)
        found = await self._peers.ask(
            message.new_group,
            PrepareName(token, group, parent, name, *entry, how, on_behalf),
            PreparedName,
        )
        target = Entry(*found[:3]) if found.ino else None
        if target is not None and target.ino == entry.ino:
            return target
        moved = _moved(message, entry, target)
        if moved:
            other = moved[1] if len(moved) > 1 else (0, 0)
            asked.append(MOVES_GROUP)
            await self._peers.ask(MOVES_GROUP, LockMoves(token, group, *moved[0], *other), Empty)
        for ino, new_parent in moved:
            asked.append(home_group(ino))
            await self._peers.ask(
                home_group(ino), PrepareParent(token, group, ino, new_parent, on_behalf), Empty
            )
        if found.quota != quota:
            await self._change_quota(group, begun, found.quota, how, asked)
        replaces = target is not None and how != RenameHow.EXCHANGE
        if target is not None and replaces and target.type == FileType.DIRECTORY:
            await self._seal(group, token, target.ino, asked)
        return target

    async def _change_quota(
        self, group: int, begun: Begun, quota: int, how: int, asked: list[int]
    ) -> None:
        """Have what gets another name count to the quota of that. EXDEV, EDQUOT."""
        if how == RenameHow.EXCHANGE:
            text = "the names have different quotas, and cannot be exchanged"
            raise RemoteError(errno.EXDEV, text)
        home = home_group(begun.entry.ino)
        asked.append(home)
        await self._peers.ask(home, PrepareQuota(begun.token, group, begun.entry.ino, quota), Empty)

    async def _seal(self, group: int, token: bytes, ino: int, asked: list[int]) -> None:
        """Seal all parts of a directory: its home first, from then on no part is added."""
        home = home_group(ino)
        asked.append(home)
        seal = SealDirectory(token, group, ino)
        sealed = await self._peers.ask(home, seal, SealedDirectory)
        asked += sealed.groups
        outcomes = await asyncio.gather(
            *[self._peers.ask(one, seal, SealedDirectory) for one in sealed.groups],
            return_exceptions=True,
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def finish(self, group: int, token: bytes) -> None:
        """Carry out a committed change everywhere; may be repeated. RemoteError: not yet."""
        peers, holds = self._peers, self._peers.namespace(group).holds
        move = holds.move(token)
        if move is None or not move.committed:
            return
        if move.drop:
            await peers.ask(home_group(move.drop), DropLink(token, group, move.drop), Empty)
            told = [home_group(move.drop)]
        else:
            done = Conclude(token, commit=True)
            outcomes = await asyncio.gather(
                *[peers.ask(one, done, Empty) for one in move.groups], return_exceptions=True
            )
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
            told = [MOVES_GROUP] if move.moves else []
        holds.forget_move(token)
        await peers.stored()
        peers.tell_over(token, told)  # what it keeps to the end; it asks if this does not arrive


def _moved(message: Rename, entry: Entry, target: Entry | None) -> list[tuple[int, int]]:
    """The directories that get another parent, each with that."""
    if message.parent == message.new_parent:
        return []
    moved = [(entry, message.new_parent)]
    if target is not None and message.how == RenameHow.EXCHANGE:
        moved.append((target, message.parent))
    return [(one.ino, parent) for one, parent in moved if one.type == FileType.DIRECTORY]
