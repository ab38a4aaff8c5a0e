"""Inodes without names: kept while somebody may have them open, removed afterwards.

The mark of an orphan is a row of its group, written in the transaction that took its last name,
so it survives a restart; who has it open is told anew then (`benchfsd/opens.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from benchfs.inode import home_group
from benchfsd.node import Node
from benchfsd.purge import Purger

LOOKS_A_LEASE = 6
AT_ONCE = 100  # orphans between two breaks for other work: a few milliseconds


class Orphans:
    """The orphans of one node, in all groups that it leads."""

    def __init__(self, node: Node, purger: Purger) -> None:
        self._node = node
        self._purger = purger

    def load(self) -> None:
        """Find those that an earlier process left."""
        node = self._node
        for group in node.map.groups_led_by(node.node_id):
            node.orphans.update(node.namespace(group).orphans())

    def freed(self, inos: Iterable[int]) -> None:
        """Nobody holds these inodes any more: those without names go."""
        node = self._node
        for ino in inos:
            if ino not in node.orphans or node.opens.is_held(ino):
                continue
            node.orphans.discard(ino)
            group = home_group(ino)
            intent = node.namespace(group).drop_orphan(ino)
            if intent is not None:
                self._purger.add(group, intent)

    async def watch(self) -> None:
        """End the sessions that are over, for as long as the node lives."""
        while True:
            await asyncio.sleep(self._node.opens.lease_seconds / LOOKS_A_LEASE)
            await self._look()

    async def _look(self) -> None:
        node = self._node
        over, _ = node.opens.expire()
        for session in over:
            node.locks.drop(session)
        orphans = list(node.orphans)  # after the grace they may be many
        for start in range(0, len(orphans), AT_ONCE):
            self.freed(orphans[start : start + AT_ONCE])
            await asyncio.sleep(0)
