"""Repairing what was found. Each step is done by the group of the row, which looks again first.

A file or directory without a name gets one in /lost+found: `#` and its number. What is wrong
about data (damage, chunks that nobody looks for, bytes that a truncation left) is only told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from benchfs.fsck.ask import Questions
from benchfs.fsck.findings import Finding, Kind
from benchfs.inode import FileType, home_group, shard_group, shard_of
from benchfs.rpc.messages import Attributes, Repair, RepairHow

LOST_AND_FOUND = "/lost+found"

# What one request to the group of the row puts right.
_SIMPLE = {
    Kind.DANGLING: RepairHow.REMOVE_ENTRY,
    Kind.LOST_ENTRY: RepairHow.REMOVE_ENTRY,
    Kind.LINKS: RepairHow.SET_LINKS,
    Kind.COUNT: RepairHow.COUNT_ENTRIES,
    Kind.LOST_PART: RepairHow.REMOVE_PART,
    Kind.UNKNOWN_PART: RepairHow.REGISTER_PART,
    Kind.SHORT_SIZE: RepairHow.SET_SIZE,
}


class Repairer:
    """Puts findings right. `make_directory` makes /lost+found, if need be, and returns it."""

    def __init__(self, ask: Questions, make_directory: Callable[[], Awaitable[Attributes]]) -> None:
        self._ask = ask
        self._make_directory = make_directory
        self._directory: Attributes | None = None

    async def repair(self, finding: Finding) -> bool:
        """Whether it was put right: not if nothing can be done, or it has changed meanwhile."""
        if finding.kind in _SIMPLE:
            return await self._do(finding.group, _SIMPLE[finding.kind], finding)
        if finding.kind is Kind.PARENT:
            moved = finding._replace(parent=finding.expected)
            return await self._do(finding.group, RepairHow.SET_PARENT, moved)
        if finding.kind is Kind.LOST_CHUNKS:
            home = home_group(finding.ino)
            if home >= self._ask.map.group_count:
                return False
            return await self._do(home, RepairHow.PURGE_CHUNKS, finding)
        if finding.kind is Kind.NAMELESS:
            return await self._repair_nameless(finding)
        if finding.kind is Kind.QUOTA:
            return await self._repair_quota(finding)
        return False

    async def _repair_quota(self, finding: Finding) -> bool:
        """Have it count to what its directory does, whatever that allows."""
        found = (await self._ask.inode(finding.group, finding.ino)).inode
        if found is None or found.pending or found.attributes.change != finding.change:
            return False
        return await self._ask.mark(finding.group, finding.ino, finding.expected)

    async def _repair_nameless(self, finding: Finding) -> bool:
        found = await self._ask.inode(finding.group, finding.ino)
        if found.inode is None or found.inode.attributes.change != finding.change:
            return False
        inode = found.inode.attributes
        if inode.type == FileType.DIRECTORY:
            if not inode.entries and not found.parts:
                return await self._do(finding.group, RepairHow.REMOVE_DIRECTORY, finding)
        elif not inode.nlink:
            return await self._do(finding.group, RepairHow.REMOVE_FILE, finding)
        return await self._adopt(finding, inode)

    async def _adopt(self, finding: Finding, inode: Attributes) -> bool:
        """Name it in /lost+found: what it says of its names first, then the entry."""
        directory = await self._lost_and_found()
        if inode.type == FileType.DIRECTORY:
            if inode.parent != directory.ino:
                moved = finding._replace(parent=directory.ino)
                if not await self._do(finding.group, RepairHow.SET_PARENT, moved):
                    return False
        elif inode.nlink != 1:
            counted = finding._replace(expected=1)
            if not await self._do(finding.group, RepairHow.SET_LINKS, counted):
                return False
        name = b"#%x" % inode.ino
        shard = shard_of(name, directory.fanout)
        group = shard_group(directory.ino, shard, self._ask.map.group_count)
        named = finding._replace(parent=directory.ino, name=name)
        return await self._do(group, RepairHow.ADD_ENTRY, named)

    async def _lost_and_found(self) -> Attributes:
        if self._directory is None:
            self._directory = await self._make_directory()
        return self._directory

    async def _do(self, group: int, how: RepairHow, finding: Finding) -> bool:
        request = Repair(
            how, finding.ino, finding.parent, finding.name, finding.expected, finding.change
        )
        return await self._ask.repair(group, request)
