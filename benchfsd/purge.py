"""Removing the chunks of removed files, in the background, many files a request.

An unlink writes an intent with the removal; here the nodes that may hold chunks are told
(`benchfsd/whereabouts.py`), and the intent is finished when all have answered. A node that is
away is asked again until it is back, also after a restart of this one.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import PurgeFiles
from benchfsd.node import Node
from benchfsd.rows import Intent
from benchfsd.whereabouts import nodes_with_chunks

# Some files may have chunks everywhere: a node asks others so often that it sends 1,000 such
# requests a second at the most, however many nodes there are.
GATHER_SECONDS = 0.02
GATHER_SECONDS_A_NODE = 0.001
FILES_A_REQUEST = 1000
RETRY_SECONDS = 1.0


class Purger:
    """The purges that this node coordinates."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._waiting: list[tuple[int, Intent]] = []
        self._running = False

    def add(self, group: int, intent: Intent) -> None:
        """The file's entry is removed in this turn's batch: remove its chunks soon."""
        self._waiting.append((group, intent))
        if not self._running:
            self._running = True
            self._node.spawn(self._run(), "purge")

    async def _run(self) -> None:
        try:
            while self._waiting:
                if len(self._waiting) < FILES_A_REQUEST:
                    await asyncio.sleep(self._gather_seconds())
                batch = self._waiting[:FILES_A_REQUEST]
                del self._waiting[: len(batch)]
                failed = await self._purge(batch)
                if failed:
                    self._waiting.extend(failed)
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._running = False

    def _gather_seconds(self) -> float:
        return max(GATHER_SECONDS, GATHER_SECONDS_A_NODE * len(self._node.map.nodes))

    async def _purge(self, batch: list[tuple[int, Intent]]) -> list[tuple[int, Intent]]:
        """Tell the nodes; returns what some node has not answered for."""
        node = self._node
        files: defaultdict[str, list[int]] = defaultdict(list)
        holders = [nodes_with_chunks(node, intent) for _, intent in batch]
        for (_, intent), nodes in zip(batch, holders, strict=True):
            for node_id in nodes:
                files[node_id].append(intent.ino)
        silent: set[str] = set()

        async def tell(node_id: str, inos: list[int]) -> None:
            try:
                if node_id == node.node_id:
                    await node.store.purge(tuple(inos))
                else:
                    await node.call_node(node_id, PurgeFiles(tuple(inos)))
            except RemoteError:
                silent.add(node_id)

        await asyncio.gather(*[tell(node_id, inos) for node_id, inos in files.items()])
        failed = []
        for (group, intent), nodes in zip(batch, holders, strict=True):
            if silent & nodes:
                failed.append((group, intent))
            else:
                node.opens.forget_spilled(intent.ino)
                node.namespace(group).intents.finish(intent)
        return failed
