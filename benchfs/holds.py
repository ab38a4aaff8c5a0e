"""What a client holds open: told to the inodes' nodes with the open, renewed, and released.

An inode stays readable after its last name went for as long as somebody holds it. A hold comes
with the request that opens the file; the release of the last handle is sent in the background,
many at once. While anything is held, each node concerned is told three times a lease that the
session lives; a node that restarted, or that disagrees on what is held, is sent all of it.
"""

from __future__ import annotations

import asyncio
import errno
from collections import defaultdict

from benchfs.cluster import Cluster
from benchfs.errors import BenchFSError, error
from benchfs.inode import home_group
from benchfs.inode_handle import InodeHandle
from benchfs.rpc.messages import HoldRecord, LockRecord, Release, Renew, RenewReply

HOLDS_MOST = 32_768  # inodes: what fits into one Renew
LOCKS_MOST = 8192  # ranges that are claimed from a node that has restarted
RELEASE_SECONDS = 0.01  # a closed file's release waits so long for others
RELEASES_AT_ONCE = 4096
CLOSE_SECONDS = 1.0  # what a client that ends spends on its last releases


class _Held:
    __slots__ = ("handles", "number", "spilled", "writes")

    def __init__(self, number: int, *, writes: bool) -> None:
        self.number = number
        self.writes = writes
        self.spilled = False
        self.handles: set[InodeHandle] = set()


class Holds:
    """The open inodes of one client."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._loop = asyncio.get_running_loop()
        self._last = 0
        self._last_lock = 0
        self._opening: dict[int, float] = {}  # numbers of opens under way, and since when
        self._held: dict[int, _Held] = {}
        self._heard: dict[str, float] = {}  # node -> when it last heard of this session, at least
        self._closed: list[HoldRecord] = []
        self._spilled: set[int] = set()  # of those
        self._releasing: asyncio.TimerHandle | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------ opening

    def begin(self, path: str) -> int:
        """The number of an open that is about to be asked for; `end` it in any case. EMFILE."""
        if len(self._held) + len(self._opening) >= HOLDS_MOST:
            raise error(errno.EMFILE, "open", path, text=f"{HOLDS_MOST} files are open")
        self._last += 1
        self._opening[self._last] = self._loop.time()
        return self._last

    def end(self, number: int) -> None:
        """The open is through, or failed."""
        del self._opening[number]

    def add(self, inode: InodeHandle, number: int, *, writes: bool) -> None:
        """The open `number` made this handle. Before its `end`."""
        node = self._node(inode.ino)
        self._heard[node] = max(self._heard.get(node, 0.0), self._opening[number])
        held = self._held.get(inode.ino)
        if held is None:
            held = self._held[inode.ino] = _Held(number, writes=writes)
        held.number = max(held.number, number)
        held.writes |= writes
        held.handles.add(inode)
        inode.family = held.handles
        if len(held.handles) > 1:
            inode.learn(inode.attributes)
        inode.holds = self
        inode.number = number
        if self._renewing is None:
            self._renewing = self._loop.create_task(self._renew_for_ever())

    def drop(self, inode: InodeHandle) -> None:
        """The handle is closed. Waits for nothing."""
        held = self._held[inode.ino]
        held.handles.discard(inode)
        held.spilled |= inode.spilled
        inode.leave()
        if held.handles:
            return
        del self._held[inode.ino]
        self._closed.append(HoldRecord(inode.ino, held.number, held.writes))
        if held.spilled:
            self._spilled.add(inode.ino)
        if self._releasing is None:
            self._releasing = self._loop.call_later(RELEASE_SECONDS, self._release_soon)

    def handles(self, ino: int) -> set[InodeHandle]:
        """This client's handles of an inode."""
        held = self._held.get(ino)
        return set() if held is None else held.handles

    def next_lock(self) -> int:
        """The number of the next Lock or Unlock."""
        self._last_lock += 1
        return self._last_lock

    def is_sure(self, ino: int) -> bool:
        """Whether the lease of the inode is surely not over: then it cannot have been removed."""
        heard = self._heard.get(self._node(ino), 0.0)
        return self._loop.time() - heard < self._cluster.lease_seconds

    # ------------------------------------------------------------ releasing

    def _release_soon(self) -> None:
        task = self._loop.create_task(self._release(self._cluster.lease_seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _release(self, timeout: float) -> None:
        self._releasing = None
        closed, self._closed = self._closed, []
        spilled, self._spilled = self._spilled, set()
        nodes: defaultdict[str, list[HoldRecord]] = defaultdict(list)
        for hold in closed:
            nodes[self._node(hold.ino)].append(hold)
        await asyncio.gather(
            *[self._tell(node, holds, spilled, timeout) for node, holds in nodes.items()]
        )

    async def _tell(
        self, node: str, holds: list[HoldRecord], spilled: set[int], timeout: float
    ) -> None:
        intent = self._cluster.intent("close", None, timeout)
        for start in range(0, len(holds), RELEASES_AT_ONCE):
            part = tuple(holds[start : start + RELEASES_AT_ONCE])
            request = Release(part, tuple(hold.ino for hold in part if hold.ino in spilled))
            try:
                await self._cluster.call_node(intent, node, request)
            except BenchFSError:
                return  # the node finds out at the next renewal, or when the lease is over

    # ------------------------------------------------------------ renewing

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._cluster.lease_seconds / 3)
            nodes: defaultdict[str, list[int]] = defaultdict(list)
            for ino in self._held:
                nodes[self._node(ino)].append(ino)
            await asyncio.gather(*[self._renew(node, inos) for node, inos in nodes.items()])

    async def _renew(self, node: str, inos: list[int]) -> None:
        """Tell one node that this session lives, and what it holds if the node has it wrong."""
        intent = self._cluster.intent("renew", None, self._cluster.lease_seconds / 3)
        settled = min(self._opening, default=self._last + 1) - 1
        holds = [
            HoldRecord(ino, held.number, held.writes)
            for ino in inos
            if (held := self._held.get(ino)) is not None and held.number <= settled
        ]
        asked = self._loop.time()
        try:
            answer = await self._cluster.call_node(
                intent, node, Renew(settled, len(holds), None, ())
            )
            if isinstance(answer.message, RenewReply) and not answer.message.agreed:
                locks = tuple(self._locks(inos))
                for ino in {lock.ino for lock in locks}:  # the node may have forgotten
                    await self._cluster.present(intent, node, ino)
                asked = self._loop.time()
                request = Renew(settled, len(holds), tuple(holds), locks)
                answer = await self._cluster.call_node(intent, node, request)
        except BenchFSError:
            return  # the next time, or never: `is_sure` tells
        assert isinstance(answer.message, RenewReply)
        self._heard[node] = max(self._heard.get(node, 0.0), asked)
        for ino in answer.message.gone:
            for handle in self.handles(ino):
                handle.gone = True
        for ino in answer.message.unlocked:
            for handle in self.handles(ino):
                if handle.locks is not None:
                    handle.locks.lose()

    def _locks(self, inos: list[int]) -> list[LockRecord]:
        """The locks on these inodes, to claim them; those that may be lost are lost."""
        found: list[LockRecord] = []
        for ino in inos:
            for handle in self.handles(ino):
                if handle.locks is None:
                    continue
                if not self.is_sure(ino):
                    handle.locks.lose()
                found += handle.locks.records()
        return found[:LOCKS_MOST]

    # ------------------------------------------------------------ inside

    async def close(self) -> None:
        """Send what is left to release, and end."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        if self._releasing is not None:
            self._releasing.cancel()
        await self._release(CLOSE_SECONDS)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _node(self, ino: int) -> str:
        return self._cluster.map.primary(home_group(ino))
