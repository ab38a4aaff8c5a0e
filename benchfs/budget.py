"""A budget of bytes in flight: whoever wants to send more waits, in the order of asking."""

from __future__ import annotations

import asyncio
from collections import deque


class ByteBudget:
    """`limit` bytes. A request larger than the limit is let through when nothing else is."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def try_take(self, size: int) -> bool:
        """Take `size` bytes if that needs no waiting."""
        if self._waiting or not self._fits(size):
            return False
        self.used += size
        return True

    async def take(self, size: int) -> None:
        """Take `size` bytes, waiting for others to give back. Cancelling takes nothing."""
        if self.try_take(size):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (size, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(size)
            else:
                self._waiting.remove(entry)
            raise

    def give_back(self, size: int) -> None:
        """Give back `size` bytes."""
        self.used -= size
        while self._waiting and self._fits(self._waiting[0][0]):
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                self.used += wanted
                turn.set_result(None)

    def _fits(self, size: int) -> bool:
        return self.used == 0 or self.used + size <= self.limit
