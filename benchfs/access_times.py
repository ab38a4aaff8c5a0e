"""Access times, reported late and together: reading a file costs no request of its own.

As with Linux's relatime, a time is reported for a file that changed since it was last read, and
otherwise once a day. Reports of one second go together, one request a group. They are not
promised: one that fails is dropped, since nothing that anybody relies on depends on it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict

from benchfs.cluster import Cluster
from benchfs.env import Env
from benchfs.errors import BenchFSError
from benchfs.inode import atime_is_due, home_group
from benchfs.rpc.messages import Attributes, RecordReads

GATHER_SECONDS = 1.0
REPORT_SECONDS = 1.0  # that a report may take: closing waits no longer for it
INODES_A_REQUEST = 1000


class AccessTimes:
    """What one client has read and not reported."""

    def __init__(self, cluster: Cluster, env: Env) -> None:
        self._cluster = cluster
        self._env = env
        self._loop = asyncio.get_running_loop()
        self._waiting: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._report: asyncio.Task[None] | None = None

    def note(self, attributes: Attributes) -> None:
        """A file with these attributes, as last seen, was read."""
        times = attributes.atime_ns, attributes.mtime_ns, attributes.ctime_ns
        if not atime_is_due(*times, self._env.clock.time_ns()):
            return
        self._waiting.add(attributes.ino)
        if self._timer is None:
            self._timer = self._loop.call_later(GATHER_SECONDS, self._start)

    def _start(self) -> None:
        self._timer = None
        if self._report is None or self._report.done():
            self._report = self._loop.create_task(self.report())
        else:
            self._timer = self._loop.call_later(GATHER_SECONDS, self._start)

    async def report(self) -> None:
        """Tell the inodes' groups what was read until now."""
        inos, self._waiting = self._waiting, set()
        of_group: defaultdict[int, list[int]] = defaultdict(list)
        for ino in inos:
            of_group[home_group(ino)].append(ino)
        now_ns = self._env.clock.time_ns()
        intent = self._cluster.intent("record reads", None, REPORT_SECONDS)
        for group, members in of_group.items():
            for start in range(0, len(members), INODES_A_REQUEST):
                part = tuple(members[start : start + INODES_A_REQUEST])
                with contextlib.suppress(BenchFSError):
                    await self._cluster.call(intent, group, RecordReads(part, now_ns))

    async def close(self) -> None:
        """Report what is left."""
        if self._timer is not None:
            self._timer.cancel()
        if self._report is not None:
            await self._report
        await self.report()
