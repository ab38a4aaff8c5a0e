"""What an open file knows of its inode: attributes as last seen, and how to see them again."""

from __future__ import annotations

import asyncio

from benchfs.cluster import Capabilities, Cluster, Intent
from benchfs.inode import home_group
from benchfs.layout import Layout, chunk_group
from benchfs.rpc.messages import Attributes, AttributesReply, GetAttributes


class InodeHandle:
    """An inode held open; `attributes` are at most as old as `seen_at` (loop time) says.

    `own_change` is the change counter as this handle's own changes moved it: it stands still once
    somebody else changed the inode.
    """

    __slots__ = (
        "_cluster",
        "_held",
        "_loop",
        "attributes",
        "ino",
        "layout",
        "own_change",
        "path",
        "seen_at",
    )

    def __init__(
        self,
        cluster: Cluster,
        attributes: Attributes,
        path: str,
        held: Capabilities | None = None,
    ) -> None:
        self._held = held  # for as long as anything reads or writes through this handle
        self._cluster = cluster
        self._loop = asyncio.get_running_loop()
        self.ino = attributes.ino
        self.layout = Layout(*attributes.layout)
        self.path = path
        self.attributes = attributes
        self.seen_at = self._loop.time()
        self.own_change = attributes.change

    def group_of(self, index: int) -> int:
        """The group of chunk `index`."""
        return chunk_group(self.layout, index, self._cluster.map.group_count)

    def learn(self, attributes: Attributes) -> None:
        """Take note of newer attributes."""
        self.attributes = attributes
        self.seen_at = self._loop.time()

    def learn_own(self, attributes: Attributes) -> None:
        """Take note of attributes that a change through this handle led to."""
        if attributes.change == self.own_change + 1:
            self.own_change = attributes.change
        self.learn(attributes)

    async def refresh(self, intent: Intent) -> Attributes:
        """Ask the inode's home group."""
        answer = await self._cluster.call(intent, home_group(self.ino), GetAttributes(self.ino))
        assert isinstance(answer.message, AttributesReply)
        self.learn(answer.message.attributes)
        return self.attributes
