"""Sizes of files that are being written: what the data nodes have counts, not what was reported.

A writer reports its end once a second, or when it flushes. Who asks meanwhile gets the ends of
the chunks: asked of all nodes that may have some, merged as a report, and good for FRESH_SECONDS.
A node that does not answer in time is left out: then the size is what the writers reported.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from benchfs.inode import home_group
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import Attributes, FileEnd, FileEndReply, ReportSize
from benchfs.rpc.server import Reply
from benchfsd.allowances import ShortError
from benchfsd.node import Node

FRESH_SECONDS = 0.1
ASK_SECONDS = 1.0
REMEMBERED = 4096


class LiveSizes:
    """Keeps the sizes of one node's inodes up to date while somebody asks for them."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._asked: OrderedDict[int, float] = OrderedDict()  # inode -> loop time
        self._asking: dict[int, asyncio.Task[None]] = {}

    def answer(
        self, ino: int, session: bytes, act: Callable[[], Reply]
    ) -> Reply | Awaitable[Reply]:
        """What `act` answers: at once, or after a look at the data if other sessions write."""
        node = self._node
        if all(writer == session for writer in node.opens.writers(ino)):
            return act()
        if node.loop.time() - self._asked.get(ino, float("-inf")) < FRESH_SECONDS:
            return act()
        return self._answer_later(ino, act)

    async def _answer_later(self, ino: int, act: Callable[[], Reply]) -> Reply:
        task = self._asking.get(ino)
        if task is None:
            task = self._asking[ino] = self._node.loop.create_task(self._ask(ino))
            task.add_done_callback(lambda _: self._asking.pop(ino))
        await asyncio.shield(task)
        return act()

    async def _ask(self, ino: int) -> None:
        inodes = self._node.namespace(home_group(ino)).inodes
        inode = inodes.find(ino)
        if inode is None:
            return
        self._asked[ino] = self._node.loop.time()
        self._asked.move_to_end(ino)
        if len(self._asked) > REMEMBERED:
            self._asked.popitem(last=False)
        nodes = self._node.nodes_of(inode.layout)
        ends = await asyncio.gather(*[self._end_at(node_id, inode) for node_id in nodes])
        for end in ends:
            inode = inodes.find(ino)
            if end is None or inode is None:
                continue
            if end.truncation == inode.truncation and end.end > inode.size:
                now_ns = self._node.env.clock.time_ns()
                with contextlib.suppress(ShortError):  # then the writer's report is refused
                    inodes.report_size(ReportSize(ino, end.truncation, end.end, now_ns))

    async def _end_at(self, node_id: str, inode: Attributes) -> FileEndReply | None:
        node, chunk_size = self._node, inode.layout.chunk_size
        try:
            if node_id == node.node_id:
                return FileEndReply(*node.store.end_of(inode.ino, chunk_size))
            async with asyncio.timeout(ASK_SECONDS):
                answer = await node.call_node(node_id, FileEnd(inode.ino, chunk_size))
        except (RemoteError, TimeoutError):
            return None
        assert isinstance(answer.message, FileEndReply)
        return answer.message
