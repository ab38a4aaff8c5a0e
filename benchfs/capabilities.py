"""What files were opened for, and which nodes have been shown it: PRESENT goes before the payload.

A node that opened a file for a client that is not the superuser seals a capability for it, and the
nodes that keep its chunks refuse who has not shown them that. A refusal comes after the payload, so
it is shown to each node before the first chunk. What was shown is remembered beyond the handle that
is closed; a node that has forgotten asks, and `Cluster` shows it again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from weakref import WeakValueDictionary

from benchfs.inode import READ, WRITE
from benchfs.rpc.connection import Connection
from benchfs.rpc.messages import LendChunk, Present, ReadChunk, WriteChunk

REMEMBERED = 16_384  # (node, inode); who is forgotten is shown it again


class Capabilities(set[bytes]):
    """What one file was opened for."""

    __slots__ = ()


class Shown:
    """The capabilities of a client's open files, whose handles hold them, and who has seen them."""

    def __init__(self) -> None:
        self._held: WeakValueDictionary[int, Capabilities] = WeakValueDictionary()
        self._seen: OrderedDict[tuple[str, int], int] = OrderedDict()  # rights
        self._under_way: dict[tuple[str, int, bytes], asyncio.Future[None]] = {}

    def hold(self, ino: int, capability: bytes) -> Capabilities | None:
        """The file was opened: nodes are shown this for as long as the result is kept."""
        if not capability:
            return None
        held = self._held.setdefault(ino, Capabilities())
        held.add(capability)
        return held

    def of(self, ino: int) -> tuple[bytes, ...]:
        """What an open file was opened for; nothing for the superuser's."""
        return tuple(self._held.get(ino, ()))

    def saw(self, node_id: str, ino: int, capability: bytes) -> None:
        """The node was shown it, whose first byte is the rights."""
        self._seen[node_id, ino] = self._seen.get((node_id, ino), 0) | capability[0]
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def forget(self, node_id: str) -> None:
        """The node may have started again, and know nothing."""
        for key in [key for key in self._seen if key[0] == node_id]:
            del self._seen[key]

    def unseen(self, request: tuple[object, ...], node_id: str) -> list[Present]:
        """What the node must be shown to grant `request`, and has not seen."""
        if not self._held or not isinstance(request, ReadChunk | WriteChunk | LendChunk):
            return []
        ino = request.ino
        needed = WRITE if isinstance(request, WriteChunk) else READ
        if self._seen.get((node_id, ino), 0) & needed:
            return []
        return [Present(ino, seal) for seal in self.of(ino) if seal[0] & needed]

    async def show(
        self, connection: Connection, node_id: str, unseen: Sequence[Present], timeout: float
    ) -> int:
        """Show it to the node; how many requests that took. Raises RpcError.

        What another task shows meanwhile is waited for, and not shown twice.
        """
        requests = 0
        for message in unseen:
            key = (node_id, *message)
            if under_way := self._under_way.get(key):
                await asyncio.wait((under_way,), timeout=timeout)
                continue
            requests += 1
            done = self._under_way[key] = asyncio.get_running_loop().create_future()
            try:
                await connection.call(message, timeout=timeout)
                self.saw(node_id, *message)
            finally:
                del self._under_way[key]
                done.cancel()  # which wakes those who wait
        return requests
