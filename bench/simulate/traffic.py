"""What goes over the links of a simulation: bytes by what they are for, and connections.

The two first units that each side of a connection sends are its handshake. A unit of one bare
head is a PING or its answer. All others carry requests and replies.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple
from weakref import WeakKeyDictionary

from benchfs.rpc.frames import HEADER_BYTES
from benchfs.rpc.transports.memory import MemoryLink, MemoryNetwork

HANDSHAKE_UNITS = 2  # of each side: HELLO and its proof, the challenge and the welcome


class Bytes(NamedTuple):
    """Bytes since the start, both ways together."""

    handshakes: int
    pings: int
    calls: int

    def since(self, earlier: Bytes) -> Bytes:
        """What came after `earlier`."""
        return Bytes(*(now - then for now, then in zip(self, earlier, strict=True)))


class Traffic:
    """Counts what a network carries, from now on."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.bytes = Bytes(0, 0, 0)
        self._ends = 0  # of connections: two each
        self._network = network
        self._units: WeakKeyDictionary[MemoryLink, int] = WeakKeyDictionary()
        network.on_unit = self._unit

    @property
    def connections(self) -> int:
        """Connections made since the start."""
        return self._ends // 2

    def connections_by_name(self) -> Counter[str]:
        """Connections that each client and node has now, whoever made them."""
        return Counter(link.here for link in self._network.links)

    def _unit(self, link: MemoryLink, size: int) -> None:
        count = self._units.get(link, 0)
        self._units[link] = count + 1
        handshakes, pings, calls = self.bytes
        if count < HANDSHAKE_UNITS:
            handshakes += size
            self._ends += count == 0
        elif size == HEADER_BYTES:
            pings += size
        else:
            calls += size
        self.bytes = Bytes(handshakes, pings, calls)
