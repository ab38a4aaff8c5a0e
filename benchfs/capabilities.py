"""What files were opened for, and which nodes have been shown it.

A node that opened a file for a client that is not the superuser seals a capability for it, and the
nodes that keep its chunks refuse who has not shown them that. A refusal comes after the payload, so
the first chunk's request brings it along. What was shown is remembered beyond the handle that is
closed; a node that has forgotten asks, and `Cluster` shows it again by PRESENT.
"""

from __future__ import annotations

from collections import OrderedDict
from weakref import WeakValueDictionary

REMEMBERED = 16_384  # (node, inode); who is forgotten is shown it again


class Capabilities(set[bytes]):
    """What one file was opened for."""

    __slots__ = ()


class Shown:
    """The capabilities of a client's open files, whose handles hold them, and who has seen them."""

    def __init__(self) -> None:
        self._held: WeakValueDictionary[int, Capabilities] = WeakValueDictionary()
        self._seen: OrderedDict[tuple[str, int], int] = OrderedDict()  # rights

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

    def bring(self, node_id: str, ino: int, needed: int) -> bytes:
        """What a request takes along to be granted `needed`: nothing if the node has seen it."""
        if self._seen.get((node_id, ino), 0) & needed:
            return b""
        for capability in self._held.get(ino, ()):
            if capability[0] & needed:
                self.saw(node_id, ino, capability)
                return capability
        return b""
