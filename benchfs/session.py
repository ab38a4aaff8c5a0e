"""A client's session: slots and sequence numbers that make mutations happen exactly once.

A mutation holds one slot until its outcome is known, retries included; the node stores the
reply with the slot, so a repeated request gets the stored reply and is not executed again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

# Mutations in flight, at the most. A node keeps one row per slot used, some 100 bytes.
SLOTS = 256


class Slot(NamedTuple):
    """The right to one mutation."""

    number: int
    sequence: int


class Session:
    """`session_id`: the 16 random bytes that name this client on every connection."""

    def __init__(self, session_id: bytes) -> None:
        self.session_id = session_id
        # who came back last goes first: few rows at the nodes, beside each other, and in memory
        self._free = list(range(SLOTS))
        self._sequences = [0] * SLOTS
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> Slot:
        """A free slot with its next sequence number; waits while all are in use."""
        while not self._free:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        number = self._free.pop()
        self._sequences[number] += 1
        return Slot(number, self._sequences[number])

    def give_back(self, slot: Slot) -> None:
        """The mutation's outcome is known, or nobody will ask again."""
        self._free.append(slot.number)
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
