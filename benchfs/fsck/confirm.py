"""The second look: each suspicion is asked about by number, and counts only if it is still so.

What can be asked exactly is: a number that is gone never comes back, and a group counts a
directory in one turn. Names that lead to an inode are searched in all groups, and a rename can
pass behind a search; so what is said of names has to be found twice more, in which time the
inode has not changed.
"""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator

from benchfs.errors import BenchFSError
from benchfs.fsck.ask import Questions
from benchfs.fsck.collect import busy_inodes, collect_pending
from benchfs.fsck.findings import Finding, Kind
from benchfs.fsck.rules import NO_NAMES, Inode, Names, judge_names, judge_quota, seen_inode
from benchfs.inode import home_group
from benchfs.layout import Layout, chunk_group

INOS_AT_ONCE = 4096
LOOKS = 2
OF_NAMES = frozenset({Kind.NAMELESS, Kind.LINKS, Kind.PARENT, Kind.NAMES})


class Confirmer:
    """Looks again."""

    def __init__(self, ask: Questions) -> None:
        self._ask = ask

    async def confirm(self, findings: Iterable[Finding]) -> list[Finding]:
        """Those that are still so, as they are now."""
        of_names = [finding for finding in findings if finding.kind in OF_NAMES]
        of_quotas = [finding for finding in findings if finding.kind is Kind.QUOTA]
        confirmed: list[Finding] = []
        for batch in (*_batches(of_names), *_batches(of_quotas)):  # an inode may be in both
            confirmed += await self._names_of(batch)
        known = {*OF_NAMES, Kind.QUOTA}
        others = [finding for finding in findings if finding.kind not in known]
        of_chunks = [one for one in others if one.kind in {Kind.SHORT_SIZE, Kind.UNCUT}]
        confirmed += await self._sizes_of(of_chunks)
        wrong_group = [one for one in others if one.kind is Kind.WRONG_GROUP]
        confirmed += [finding for finding in wrong_group if await self._is_misplaced(finding)]
        rest = [one for one in others if one not in of_chunks and one not in wrong_group]
        async for finding in self._others(rest):
            confirmed.append(finding)
        return confirmed

    # ------------------------------------------------------------------------- names

    async def _names_of(self, findings: list[Finding]) -> list[Finding]:
        before = {finding.ino: finding for finding in findings}
        for _ in range(LOOKS):
            if not before:
                break
            before = await self._look(before)
        return list(before.values())

    async def _look(self, before: dict[int, Finding]) -> dict[int, Finding]:
        """What is said of the names of these inodes now, where that is the same."""
        busy = busy_inodes(await collect_pending(self._ask))
        inodes = {ino: await self._inode(ino, ino in busy) for ino in before}
        names: defaultdict[int, Names] = defaultdict(lambda: NO_NAMES)
        wanted = tuple(before)

        async def search(group: int) -> None:
            async for page in self._ask.entries_of(group, wanted):
                for entry in page.entries:
                    if not entry.lost:
                        known = names[entry.ino]
                        names[entry.ino] = Names(known.number + 1, entry.parent)

        await self._ask.each_group(search)
        busy = busy_inodes(await collect_pending(self._ask))
        found = {}
        for ino, inode in inodes.items():
            again = await self._inode(ino, ino in busy)
            if inode is None or again is None or again.change != inode.change:
                continue
            if before[ino].kind is Kind.QUOTA:
                finding = await self._judge_quota(again, names[ino])
            else:
                finding = judge_names(again, names[ino])
            if finding is not None and inode.settled and finding.key == before[ino].key:
                found[ino] = finding
        return found

    async def _judge_quota(self, inode: Inode, names: Names) -> Finding | None:
        """None, too, if the directory of its name cannot be read."""
        if not names.number:
            return None
        try:
            reply = await self._ask.inode(home_group(names.parent), names.parent)
        except BenchFSError as problem:
            if problem.errno != errno.EIO:
                raise
            return None
        if reply.inode is None:
            return None
        return judge_quota(inode, names, reply.inode.attributes.quota)

    async def _inode(self, ino: int, busy: bool) -> Inode | None:
        reply = await self._ask.inode(home_group(ino), ino)
        if reply.inode is None:
            return None
        # by the node's own clock it was old enough at the first look
        return seen_inode(reply.inode, now_ns=0, age_ns=-(2**63), busy=busy)

    # ------------------------------------------------------------------------- chunks

    async def _sizes_of(self, findings: list[Finding]) -> list[Finding]:
        """The ends were seen before: a size that was reported since is not below them."""
        confirmed = []
        for finding in findings:
            inode = await self._inode(finding.ino, False)
            if inode is None or inode.change != finding.change or inode.open or not inode.settled:
                continue
            confirmed.append(finding)
        return confirmed

    async def _is_misplaced(self, finding: Finding) -> bool:
        reply = await self._ask.inode(home_group(finding.ino), finding.ino)
        if reply.inode is None:
            return False  # removed meanwhile
        layout = Layout(*reply.inode.attributes.layout)
        cluster = self._ask.map
        right = chunk_group(layout, finding.found, cluster.group_count)
        led = finding.group < cluster.group_count and cluster.primary(finding.group) == finding.node
        return right != finding.group or not led

    # ------------------------------------------------------------------------- others

    async def _others(self, findings: list[Finding]) -> AsyncIterator[Finding]:
        for finding in findings:
            again = await self._other(finding)
            if again is not None:
                yield again

    async def _other(self, finding: Finding) -> Finding | None:
        ask, group, ino = self._ask, finding.group, finding.ino
        kind = finding.kind
        if kind in {Kind.DAMAGED_ROW, Kind.DAMAGED_DATA, Kind.STUCK}:
            return finding  # nothing that passes
        if kind is Kind.COUNT:
            examined = await ask.inode(group, ino, count=True)
            if examined.inode is None or examined.inode.attributes.entries == examined.counted:
                return None
            entries = examined.inode.attributes.entries
            return finding._replace(found=entries, expected=examined.counted)
        if kind in {Kind.DANGLING, Kind.LOST_ENTRY}:
            gone = kind is Kind.LOST_ENTRY or await self._is_gone(ino)
            entry = (await ask.entry(group, finding.parent, finding.name)).entry
            same = entry is not None and entry.ino == ino and not entry.held
            lost = entry is not None and entry.lost == (kind is Kind.LOST_ENTRY)
            return finding if gone and same and lost else None
        if kind is Kind.LOST_CHUNKS:
            gone = await self._is_gone(ino, purging=False)
            there = gone and await ask.has_chunks(finding.node, group, ino)  # asked afterwards
            return finding if there else None
        part = (await ask.inode(group, ino)).inode
        if part is None or part.pending:
            return None
        home = await ask.inode(home_group(ino), ino)
        if kind is Kind.LOST_PART:
            return finding if home.inode is None else None
        registered = home.inode is None or group in home.parts
        return None if registered else finding

    async def _is_gone(self, ino: int, *, purging: bool = True) -> bool:
        """Whether there is no such inode; with `purging` False, nor is its end under way."""
        group = home_group(ino)
        if group >= self._ask.map.group_count:
            return True
        reply = await self._ask.inode(group, ino)
        return reply.inode is None and (purging or not reply.purging)


def _batches(findings: list[Finding]) -> Iterator[list[Finding]]:
    for start in range(0, len(findings), INOS_AT_ONCE):
        yield findings[start : start + INOS_AT_ONCE]
