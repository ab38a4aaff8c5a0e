"""Operations on locks: take, wait for, give back."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable
from typing import cast

from benchfs.inode import home_group
from benchfs.lockranges import LockRange
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import Code, Empty, Lock, Op, Unlock
from benchfs.rpc.server import Call as Request
from benchfs.rpc.server import Handler, Reply
from benchfsd.locks import Owner, Waiter
from benchfsd.node import Node


class LockHandlers:
    """The handlers of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def table(self) -> dict[Op, Handler]:
        """Operation to handler."""
        return {Op.LOCK: self.lock, Op.UNLOCK: self.unlock}

    def lock(self, request: Request) -> Reply | Awaitable[Reply]:
        """LOCK, at once if it can be had. Within the grace after a restart nobody gets any."""
        node, message = self._node, cast(Lock, request.message)
        node.require(request.envelope.group, request.envelope.epoch)
        if node.opens.in_grace:
            raise RemoteError(Code.NOT_READY, "the node has restarted: its locks are claimed again")
        if home_group(message.ino) != request.envelope.group:
            raise RemoteError(errno.EINVAL, "the inode is at home in another group")
        session = request.caller.session
        if not node.opens.holds(session, message.ino):
            raise RemoteError(errno.ENOLCK, "the file is not open for this client any more")
        node.guard.locking(request, message.ino, whole=message.whole, exclusive=message.exclusive)
        owner = Owner(session, message.handle)
        lock = LockRange(message.start, message.end, message.exclusive)
        if lock.start >= lock.end:
            raise RemoteError(errno.EINVAL, f"no range from {lock.start} to {lock.end}")
        blockers = node.locks.lock(
            message.ino, owner, whole=message.whole, lock=lock, number=message.number
        )
        if not blockers:
            return Reply(Empty())
        if not message.wait_ms:
            raise _taken()
        turn: asyncio.Future[None] = node.loop.create_future()

        def offer() -> bool:
            if turn.done():
                return False
            turn.set_result(None)
            return True

        # In the same turn as the attempt: else the lock may be given back in between, unnoticed.
        waiter = Waiter(owner, lock, offer)
        node.locks.wait(message.ino, waiter, whole=message.whole)
        return self._wait(message, waiter, turn)

    async def _wait(self, message: Lock, waiter: Waiter, turn: asyncio.Future[None]) -> Reply:
        node = self._node
        try:
            async with asyncio.timeout(message.wait_ms / 1000):
                await turn
        except TimeoutError:
            if turn.cancelled():
                raise _taken() from None
        finally:
            # A lock that was granted to somebody who is gone stays: they ask again, or unlock.
            node.locks.stop_waiting(message.ino, waiter, whole=message.whole)
        return Reply(Empty())

    def unlock(self, request: Request) -> Reply:
        """UNLOCK."""
        node, message = self._node, cast(Unlock, request.message)
        node.require(request.envelope.group, request.envelope.epoch)
        if node.opens.holds(request.caller.session, message.ino):
            node.locks.unlock(
                message.ino,
                Owner(request.caller.session, message.handle),
                whole=message.whole,
                start=message.start,
                end=message.end,
                number=message.number,
            )
        return Reply(Empty())


def _taken() -> RemoteError:
    return RemoteError(errno.EAGAIN, "somebody else has locked it")
