"""A simulated cluster whose nodes are killed at any message, and start again.

What a node had stored by then is there when it starts again, nothing else; its messages that are
under way are lost. It is killed at a message that it sends or gets, or up to three turns of its
event loop later. Rows are stored in the turn that changes them: a crash in the middle of a turn is
not among these (`tests/unit/test_rename_crashes.py` has those).
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from benchfs.bench.simulate.cluster import SimulatedCluster
from benchfs.bench.simulate.node import SimulatedNode
from benchfs.rpc.transports.memory import Faults, MemoryLink
from benchfsd.mode import Mode

NODES = 3
HOPS_MOST = 3
AWAY_SECONDS = (0.001, 1.0)


class MortalCluster(SimulatedCluster):
    """Of three nodes. What befalls them comes from one seed."""

    def __init__(self, seed: int, place: Path) -> None:
        self._chance = random.Random(seed)
        super().__init__(NODES, seed, mode=Mode.WRITEBACK)
        self._place = place
        self._lives = 0
        self._dead: list[SimulatedNode] = []
        self.kills = 0

    async def start_all(self) -> None:
        for number in range(NODES):
            self.nodes.append(self._node(number, self._place / f"node-{number}"))
        for node in self.nodes:
            await node.start()

    def _node(self, number: int, place: Path, *, restarted: bool = False) -> SimulatedNode:
        self._lives += 1
        entry = self._entries[number]
        return SimulatedNode(
            entry, self.spec, self.map, place, self._derived_rng(), self.network,
            name=f"{entry.node_id}/{self._lives}", restarted=restarted,
        )  # fmt: skip

    async def stop(self) -> None:
        for node in (*self.nodes, *self._dead):
            await node.stop()

    def disturb(self) -> None:
        """From now on messages are delayed, overtake each other, and some are lost."""
        loss = self._chance.choice((0.0, 0.002, 0.01))
        self.network.faults = Faults(50e-6, 2e-3, loss, overtaken=0.05, overtaken_seconds=0.02)

    async def kill_within(self, units: int, back: asyncio.Event) -> None:
        """Kill a node at one of the next `units` messages of its links; it starts again later.

        `back` is set while all nodes are there.
        """
        number = self._chance.randrange(NODES)
        await self._until_a_unit(number, self._chance.randrange(units))
        for _ in range(self._chance.randint(0, HOPS_MOST)):
            await asyncio.sleep(0)
        back.clear()
        self.kills += 1
        left = self._place / f"left-{self._lives}"
        self.nodes[number].kill(left)
        self._dead.append(self.nodes[number])
        await asyncio.sleep(self._chance.uniform(*AWAY_SECONDS))
        self.nodes[number] = self._node(number, left, restarted=True)
        await self.nodes[number].start()
        back.set()

    async def _until_a_unit(self, number: int, units: int) -> None:
        """Return right after the `units`-th message that the node sends or is sent."""
        names = {self.nodes[number].name, self._entries[number].node_id}
        reached, before, left = asyncio.Event(), self.network.on_unit, units

        def look(link: MemoryLink, size: int) -> None:
            nonlocal left
            if before is not None:
                before(link, size)
            if link.here in names or link.there in names:
                left -= 1
                if left < 0:
                    reached.set()

        self.network.on_unit = look
        try:
            await reached.wait()
        finally:
            self.network.on_unit = before
