"""Moves of directories from one directory to another: one at a time, and none into itself.

Two moves that each check and then act can make a loop that nothing leads to, and both subtrees
are lost. So the home group of the root gives out one lock, kept as a row; who has it finds its
way from the new parent up to the root, which no other move changes meanwhile.
"""

from __future__ import annotations

import asyncio
import errno
from functools import partial

from benchfs.inode import ROOT_INO, home_group
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import AttributesReply, Code, Empty, GetAttributes, LockMoves
from benchfsd.coordinator import MOVES_GROUP
from benchfsd.holds import Prepared, Role
from benchfsd.peers import Peers

LOCK_SECONDS = 4.0  # less than a node waits for another


class Moves:
    """The lock of directory moves, at the node that leads the root's home group."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def lock(self, message: LockMoves) -> Empty:
        """Wait for the lock, and keep it if no directory would come below itself.

        EINVAL for a loop; NOT_READY if others had the lock all the time.
        """
        holds = self._peers.namespace(MOVES_GROUP).holds
        try:
            async with asyncio.timeout(LOCK_SECONDS):
                while holds.mover is not None and holds.mover != message.token:
                    turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    holds.when_released(holds.mover, partial(wake, turn))
                    await turn
        except TimeoutError:
            text = "other directories are being moved: try again"
            raise RemoteError(Code.NOT_READY, text) from None
        token, coordinator = message.token, message.coordinator
        holds.prepare(Prepared(token, Role.MOVES, coordinator, message.ino))
        try:
            await self._refuse_loop(message.ino, message.parent)
            if message.other_ino:
                await self._refuse_loop(message.other_ino, message.other_parent)
        except BaseException:
            holds.conclude(token, commit=False)
            raise
        return Empty()

    async def _refuse_loop(self, ino: int, parent: int) -> None:
        seen: set[int] = set()
        while True:
            if parent == ino:
                raise RemoteError(errno.EINVAL, "a directory cannot be moved into itself")
            if parent == ROOT_INO:
                return
            if parent in seen:
                raise RemoteError(errno.EIO, f"the parents of directory {parent:#x} are a loop")
            seen.add(parent)
            found = await self._peers.ask(
                home_group(parent), GetAttributes(parent), AttributesReply
            )
            parent = found.attributes.parent


def wake(turn: asyncio.Future[None]) -> None:
    """Let go on who waits for it, if it still waits."""
    if not turn.done():
        turn.set_result(None)
