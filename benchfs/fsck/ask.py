"""Questions to all groups and nodes of a cluster, page by page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from benchfs.cluster import Cluster
from benchfs.rpc.messages import (
    ExamineEntry,
    ExamineEntryReply,
    ExamineInode,
    ExamineInodeReply,
    FindEntries,
    ListChunks,
    ListChunksReply,
    ListEntries,
    ListEntriesReply,
    ListInodes,
    ListInodesReply,
    ListParts,
    ListPending,
    ListPendingReply,
    MarkInodes,
    MarkInodesReply,
    PendingRecord,
    Repair,
    RepairReply,
    VerifyChunks,
    VerifyChunksReply,
)

Answer = TypeVar("Answer")
Place = TypeVar("Place")
Page = TypeVar("Page")
FIRST_ENTRY = (0, b"")
LAST_CHUNK = 2**32 - 1


class Questions:
    """Asks with `timeout` seconds a request; all raise the errors of `benchfs.errors`.

    A check of a part of a cluster would take what it does not see for missing, so a node that
    does not answer ends it.
    """

    def __init__(self, cluster: Cluster, operation: str, timeout: float) -> None:
        self._cluster = cluster
        self._operation = operation
        self._timeout = timeout
        self.map = cluster.map

    async def _group(self, group: int, request: tuple[object, ...], reply: type[Answer]) -> Answer:
        intent = self._cluster.intent(self._operation, None, self._timeout)
        answer = (await self._cluster.call(intent, group, request)).message
        assert isinstance(answer, reply)
        return answer

    async def _node(self, node: str, request: tuple[object, ...], reply: type[Answer]) -> Answer:
        intent = self._cluster.intent(self._operation, None, self._timeout)
        answer = (await self._cluster.call_node(intent, node, request)).message
        assert isinstance(answer, reply)
        return answer

    async def each_group(self, act: Callable[[int], Awaitable[None]]) -> None:
        """Do something with every group: those of a node in turn, the nodes at the same time."""

        async def of_node(node: str) -> None:
            for group in self.map.groups_led_by(node):
                await act(group)

        await self.each_node(of_node)

    async def each_node(self, act: Callable[[str], Awaitable[None]]) -> None:
        """Do something with every node, at the same time. The first failure ends the others.

        Nodes that lead groups and were never up are asked, too: they cannot be left out.
        """
        nodes = {entry.primary for entry in self.map.groups}
        nodes |= {node.node_id for node in self.map.nodes}
        tasks = [asyncio.ensure_future(act(node)) for node in sorted(nodes)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # ------------------------------------------------------------------------- pages

    async def _pages(
        self,
        first: Place,
        ask: Callable[[Place], Awaitable[Page]],
        behind: Callable[[Page], Place | None],
    ) -> AsyncIterator[Page]:
        """All pages from a place on; `behind` a page is the place of the next, or None."""
        place: Place | None = first
        while place is not None:
            page = await ask(place)
            yield page
            place = behind(page)

    def inodes(self, group: int, share: int, shares: int) -> AsyncIterator[ListInodesReply]:
        """The inodes at home in a group."""

        def ask(after: int) -> Awaitable[ListInodesReply]:
            return self._group(group, ListInodes(after, share, shares), ListInodesReply)

        return self._pages(0, ask, lambda page: page.next or None)

    def parts(self, group: int, share: int, shares: int) -> AsyncIterator[ListInodesReply]:
        """A group's parts of directories at home elsewhere."""

        def ask(after: int) -> Awaitable[ListInodesReply]:
            return self._group(group, ListParts(after, share, shares), ListInodesReply)

        return self._pages(0, ask, lambda page: page.next or None)

    def entries(self, group: int, share: int, shares: int) -> AsyncIterator[ListEntriesReply]:
        """A group's entries that have to do with a share of the inodes."""

        def ask(place: tuple[int, bytes]) -> Awaitable[ListEntriesReply]:
            return self._group(group, ListEntries(*place, share, shares), ListEntriesReply)

        return self._pages(FIRST_ENTRY, ask, _behind_entries)

    def entries_of(
        self, group: int, inos: tuple[int, ...], within: int = 0
    ) -> AsyncIterator[ListEntriesReply]:
        """A group's entries of some inodes, in one directory or in all."""

        def ask(place: tuple[int, bytes]) -> Awaitable[ListEntriesReply]:
            return self._group(group, FindEntries(inos, within, *place), ListEntriesReply)

        return self._pages(FIRST_ENTRY, ask, _behind_entries)

    def chunks(self, node: str, share: int, shares: int) -> AsyncIterator[ListChunksReply]:
        """A node's chunks."""

        def ask(place: tuple[int, int, int]) -> Awaitable[ListChunksReply]:
            return self._node(node, ListChunks(*place, share, shares), ListChunksReply)

        return self._pages(
            (0, 0, 0),
            ask,
            lambda page: (page.group, page.ino, page.chunk) if page.more else None,
        )

    async def has_chunks(self, node: str, group: int, ino: int) -> bool:
        """Whether a node has chunks of a file in a group."""
        request = ListChunks(group, ino - 1, LAST_CHUNK, 0, 1)
        page = await self._node(node, request, ListChunksReply)
        return any((chunk.group, chunk.ino) == (group, ino) for chunk in page.chunks)

    async def pending(self, group: int) -> AsyncIterator[PendingRecord]:
        """What is unfinished in a group."""

        def ask(after: bytes) -> Awaitable[ListPendingReply]:
            return self._group(group, ListPending(after), ListPendingReply)

        pages = self._pages(b"", ask, lambda page: page.pending[-1].mark if page.more else None)
        async for page in pages:
            for record in page.pending:
                yield record

    # ------------------------------------------------------------------------- one thing

    async def inode(self, group: int, ino: int, *, count: bool = False) -> ExamineInodeReply:
        """An inode, or a group's part of a directory."""
        return await self._group(group, ExamineInode(ino, count), ExamineInodeReply)

    async def entry(self, group: int, parent: int, name: bytes) -> ExamineEntryReply:
        """One entry."""
        return await self._group(group, ExamineEntry(parent, name), ExamineEntryReply)

    async def verify(self, node: str, place: tuple[int, int, int], most: int) -> VerifyChunksReply:
        """Have a node verify its next chunks after (group, ino, index), about `most` bytes."""
        return await self._node(node, VerifyChunks(*place, most), VerifyChunksReply)

    async def mark(self, group: int, ino: int, quota: int) -> bool:
        """Have an inode count to a quota, or to none; False if it has one of its own."""
        reply = await self._group(group, MarkInodes((ino,), quota), MarkInodesReply)
        return not reply.own

    async def repair(self, group: int, repair: Repair) -> bool:
        """Have one thing put right; tells whether it was still wrong."""
        return (await self._group(group, repair, RepairReply)).done


def _behind_entries(page: ListEntriesReply) -> tuple[int, bytes] | None:
    return (page.parent, page.after) if page.more else None
