"""Listing a directory: pages by name from each of its parts, merged, with attributes.

Memory is bounded, however many entries there are: a page of each part at a time. An entry that is
there during the whole listing is given exactly once, since pages go on after a name. Attributes
come with the page where the inode lives with its entry. The others are asked for when somebody
wants one of them, for the whole page, in a request to each node that is concerned.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncIterator, Callable

from benchfs.cluster import Cluster, Intent
from benchfs.inode import home_group
from benchfs.rpc.messages import (
    Attributes,
    EntryRecord,
    GetManyAttributes,
    GetParts,
    ManyAttributesReply,
    PartsReply,
    ReadDirectory,
    ReadDirectoryReply,
)

PAGE_ENTRIES = 1000
LEAST_PAGE_ENTRIES = 100  # of one part of a wide directory
BATCH_INODES = 500


class Listing:
    """One walk through a directory. `intent` begins the time limit of each step anew."""

    def __init__(
        self, cluster: Cluster, ino: int, fanout: int, intent: Callable[[], Intent]
    ) -> None:
        self._cluster = cluster
        self._ino = ino
        self._fanout = fanout
        self._intent = intent

    async def entries(self, after: bytes = b"") -> AsyncIterator[tuple[EntryRecord, Page]]:
        """The entries by name, those after the name `after`, each with the page it came with."""
        home = home_group(self._ino)
        groups: tuple[int, ...] = (home,)
        if self._fanout > 1:
            answer = await self._cluster.call(self._intent(), home, GetParts(self._ino))
            assert isinstance(answer.message, PartsReply)
            groups = answer.message.groups
        most = max(LEAST_PAGE_ENTRIES, PAGE_ENTRIES // len(groups))
        parts = [
            _Part(self._cluster, self._ino, group, most, after, self._intent) for group in groups
        ]
        await asyncio.gather(*[part.fill() for part in parts])
        # the next name of each part, with its number, since names differ but parts do not compare
        heads = [(part.page[0].name, number) for number, part in enumerate(parts) if part.page]
        heapq.heapify(heads)
        while heads:
            _, number = heads[0]
            part = parts[number]
            yield part.page.popleft(), part.origin
            if not part.page:
                await part.fill()
            if part.page:
                heapq.heapreplace(heads, (part.page[0].name, number))
            else:
                heapq.heappop(heads)


class _Part:
    """What one group has of the directory, a page at a time."""

    def __init__(  # noqa: PLR0917 (one walk's particulars)
        self,
        cluster: Cluster,
        ino: int,
        group: int,
        most: int,
        after: bytes,
        intent: Callable[[], Intent],
    ) -> None:
        self.page: deque[EntryRecord] = deque()
        self.origin = Page(cluster, intent, ())
        self._cluster = cluster
        self._ino = ino
        self._group = group
        self._most = most
        self._intent = intent
        self._after = after
        self._more = True

    async def fill(self) -> None:
        """Fetch the next page, if there is one."""
        if not self._more:
            return
        request = ReadDirectory(self._ino, self._after, self._most)
        answer = await self._cluster.call(self._intent(), self._group, request)
        reply = answer.message
        assert isinstance(reply, ReadDirectoryReply)
        if reply.entries:
            self._after = reply.entries[-1].name
        self._more = reply.more and bool(reply.entries)
        self.page.extend(reply.entries)
        entries = reply.entries if reply.searchable else ()
        self.origin = Page(self._cluster, self._intent, entries)


class Page:
    """Entries that came together; the attributes that did not come along are asked for together.

    Without entries if who lists the directory may not search it: he may not know attributes.
    """

    def __init__(
        self, cluster: Cluster, intent: Callable[[], Intent], entries: tuple[EntryRecord, ...]
    ) -> None:
        self._cluster = cluster
        self._intent = intent
        self._entries = entries
        self._asked: dict[str, asyncio.Future[dict[int, Attributes]]] = {}  # node -> by inode

    async def attributes(self, entry: EntryRecord) -> Attributes | None:
        """Those of an entry of this page; None for what has to be asked for alone, by its name."""
        if entry.attributes is not None or entry.fanout > 1:
            return entry.attributes
        if not self._entries:
            return None
        node_id = self._node_of(entry)
        asked = self._asked.get(node_id)
        if asked is None or (asked.done() and asked.exception() is not None):
            asked = self._asked[node_id] = asyncio.ensure_future(self._ask(node_id))
        return (await asyncio.shield(asked)).get(entry.ino)

    def _node_of(self, entry: EntryRecord) -> str:
        return self._cluster.map.primary(home_group(entry.ino))

    async def _ask(self, node_id: str) -> dict[int, Attributes]:
        inos = [
            entry.ino
            for entry in self._entries
            if entry.attributes is None and entry.fanout <= 1 and self._node_of(entry) == node_id
        ]
        found: dict[int, Attributes] = {}
        while inos:
            request = GetManyAttributes(tuple(inos[:BATCH_INODES]))
            answer = await self._cluster.call_node(self._intent(), node_id, request)
            reply = answer.message
            assert isinstance(reply, ManyAttributesReply)
            found |= {one.ino: one for one in reply.attributes}
            inos = inos[max(1, reply.answered) :]
        return found
