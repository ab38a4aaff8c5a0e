"""What is right and what is wrong about the rows of a cluster: pure, rows in, findings out.

A Tally takes a share of all inodes at a time, with the entries, parts and chunks that have to do
with them: inodes first, then the rest in any order. Since the cluster changes meanwhile, what
comes out are suspicions, which have to be confirmed one by one. What is young, or part of
something unfinished, is left alone. Memory: 600 bytes an inode of the share, and the suspicions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from benchfs.fsck.findings import Finding, Kind
from benchfs.inode import ROOT_INO, FileType, home_group
from benchfs.layout import Layout, chunk_group
from benchfs.rpc.messages import LayoutRecord, SurveyedChunk, SurveyedEntry, SurveyedInode


class Inode(NamedTuple):
    """What the rules ask of an inode."""

    ino: int
    type: int
    nlink: int
    size: int
    truncation: int
    parent: int
    entries: int
    change: int
    layout: LayoutRecord
    quota: int
    open: bool
    settled: bool  # neither young nor part of anything unfinished


class Names(NamedTuple):
    """The names that lead to an inode: how many, and the directory of the last one seen."""

    number: int = 0
    parent: int = 0


NO_NAMES = Names()


def seen_inode(surveyed: SurveyedInode, *, now_ns: int, age_ns: int, busy: bool) -> Inode:
    """An inode as the rules see it. `now_ns` is its node's time, `age_ns` how old is old enough.

    `busy`: something about it is unfinished in another group.
    """
    attributes, is_open, pending = surveyed
    young = now_ns - attributes.ctime_ns < age_ns
    return Inode(
        attributes.ino,
        attributes.type,
        attributes.nlink,
        attributes.size,
        attributes.truncation,
        attributes.parent,
        attributes.entries,
        attributes.change,
        attributes.layout,
        attributes.quota,
        is_open,
        not (young or pending or busy),
    )


def judge_names(inode: Inode, names: Names) -> Finding | None:
    """Hold an inode against the names that lead to it."""
    group = home_group(inode.ino)
    if not inode.settled or inode.ino == ROOT_INO:
        return None
    if not names.number:
        if inode.open and not inode.nlink:
            return None  # removed while open
        return Finding(
            Kind.NAMELESS,
            group,
            inode.ino,
            parent=inode.parent,
            found=inode.nlink,
            expected=inode.entries,
            change=inode.change,
        )
    if inode.type != FileType.DIRECTORY:
        if names.number == inode.nlink:
            return None
        return Finding(
            Kind.LINKS,
            group,
            inode.ino,
            found=inode.nlink,
            expected=names.number,
            change=inode.change,
        )
    if names.number > 1:
        return Finding(Kind.NAMES, group, inode.ino, found=names.number, expected=1)
    if names.parent != inode.parent:
        return Finding(
            Kind.PARENT,
            group,
            inode.ino,
            found=inode.parent,
            expected=names.parent,
            change=inode.change,
        )
    return None


def judge_quota(inode: Inode, names: Names, quota: int) -> Finding | None:
    """Hold the quota of an inode against that of the directory of its only name.

    A directory may have a quota of its own. What has several names is left alone.
    """
    if not inode.settled or inode.ino == ROOT_INO or names.number != 1:
        return None
    if inode.quota in {quota, inode.ino}:
        return None
    return Finding(
        *(Kind.QUOTA, home_group(inode.ino), inode.ino),
        found=inode.quota,
        expected=quota,
        change=inode.change,
    )


def judge_size(inode: Inode, chunk: SurveyedChunk, node: str) -> Finding | None:
    """Hold a file's size against the end of a chunk that was seen before the size was."""
    end = chunk.chunk * inode.layout.chunk_size + chunk.length
    if end <= inode.size or inode.open or not inode.settled or not chunk.length:
        return None
    if chunk.truncation < inode.truncation:
        return Finding(
            *(Kind.UNCUT, chunk.group, inode.ino),
            found=end,
            expected=inode.size,
            change=inode.change,
            node=node,
        )
    if chunk.truncation > inode.truncation:
        return None  # it is being cut
    return Finding(
        *(Kind.SHORT_SIZE, home_group(inode.ino), inode.ino),
        found=inode.size,
        expected=end,
        change=inode.change,
    )


class Tally:
    """A share of all inodes: those whose number modulo `shares` is `share`.

    `busy`: the inodes about which something is unfinished. `quotas`: of all directories that
    count to one; None if the share is all there is.
    """

    def __init__(
        self,
        share: int,
        shares: int,
        group_count: int,
        busy: frozenset[int],
        quotas: Mapping[int, int] | None = None,
    ) -> None:
        self._quotas = quotas
        self._share = share
        self._shares = shares
        self._group_count = group_count
        self._busy = busy
        self._inodes: dict[int, Inode] = {}
        self._unreadable: set[int] = set()
        self._names: dict[int, Names] = {}
        self._parts: dict[tuple[int, int], int] = {}  # (group, directory) -> entries
        self._used: dict[int, frozenset[int]] = {}
        self._counted: dict[tuple[int, int], int] = {}
        self._ends: dict[int, Finding] = {}
        self._others: dict[tuple[object, ...], Finding] = {}

    def add_inodes(self, inodes: Iterable[SurveyedInode], *, now_ns: int, age_ns: int) -> None:
        """Inodes of a page, with the time of the node that has them."""
        for surveyed in inodes:
            ino = surveyed.attributes.ino
            self._inodes[ino] = seen_inode(
                surveyed, now_ns=now_ns, age_ns=age_ns, busy=ino in self._busy
            )

    def add_unreadable(self, ino: int) -> None:
        """An inode that is there, and whose row fails its check."""
        self._unreadable.add(ino)

    def add_parts(self, group: int, parts: Iterable[SurveyedInode]) -> None:
        """Parts in a group of directories at home elsewhere."""
        for part in parts:
            self._parts[group, part.attributes.ino] = part.attributes.entries

    def add_used(self, ino: int, groups: Iterable[int]) -> None:
        """The groups that a wide directory's home knows to have parts."""
        self._used[ino] = frozenset(groups)

    def add_entries(self, group: int, entries: Iterable[SurveyedEntry]) -> None:
        """Entries of a group."""
        for entry in entries:
            if entry.lost:
                if self._has(entry.parent) and not entry.held:
                    self._add(_of_entry(Kind.LOST_ENTRY, group, entry))
                continue
            if self._has(entry.parent):
                place = (group, entry.parent)
                self._counted[place] = self._counted.get(place, 0) + 1
            if not self._has(entry.ino):
                continue
            before = self._names.get(entry.ino, NO_NAMES)
            self._names[entry.ino] = Names(before.number + 1, entry.parent)
            if not self._is_there(entry.ino) and not entry.held:
                self._add(_of_entry(Kind.DANGLING, group, entry))

    def add_chunks(self, node: str, chunks: Iterable[SurveyedChunk], led: frozenset[int]) -> None:
        """Chunks of a node, which leads the groups `led`."""
        for chunk in chunks:
            inode = self._inodes.get(chunk.ino)
            if inode is None:
                if not self._is_there(chunk.ino):
                    self._add(Finding(Kind.LOST_CHUNKS, chunk.group, chunk.ino, node=node))
                continue
            right = inode.layout.chunk_size and chunk_group(
                Layout(*inode.layout), chunk.chunk, self._group_count
            )
            if chunk.group not in led or right != chunk.group:
                self._add(
                    Finding(
                        Kind.WRONG_GROUP,
                        chunk.group,
                        chunk.ino,
                        found=chunk.chunk,
                        expected=right,
                        node=node,
                    )
                )
                continue
            finding = judge_size(inode, chunk, node)
            known = self._ends.get(chunk.ino)
            if finding is not None and (known is None or finding.expected >= known.expected):
                self._ends[chunk.ino] = finding

    def wide_directories(self) -> list[int]:
        """The directories whose parts are to be added with `add_used`."""
        with_parts = {ino for _, ino in self._parts}
        return [ino for ino in with_parts if ino in self._inodes]

    def findings(self) -> Iterator[Finding]:
        """All suspicions about the share."""
        for ino, inode in self._inodes.items():
            names = self._names.get(ino, NO_NAMES)
            finding = judge_names(inode, names)
            if finding is not None:
                yield finding
            quota = self._quota_of(names.parent)
            finding = None if quota is None else judge_quota(inode, names, quota)
            if finding is not None:
                yield finding
            if inode.type == FileType.DIRECTORY:
                yield from self._judge_count(home_group(ino), ino, inode.entries)
        for (group, ino), entries in self._parts.items():
            if not self._is_there(ino):
                yield Finding(Kind.LOST_PART, group, ino, found=entries)
            if ino not in self._inodes:
                continue
            if group not in self._used.get(ino, ()):
                yield Finding(Kind.UNKNOWN_PART, group, ino)
            yield from self._judge_count(group, ino, entries)
        yield from self._ends.values()
        yield from self._others.values()

    def _judge_count(self, group: int, ino: int, entries: int) -> Iterator[Finding]:
        counted = self._counted.get((group, ino), 0)
        if counted != entries:
            yield Finding(Kind.COUNT, group, ino, found=entries, expected=counted)

    def _quota_of(self, directory: int) -> int | None:
        """What a directory counts to; None if its row cannot be read."""
        if self._quotas is not None:
            return self._quotas.get(directory, 0)
        inode = self._inodes.get(directory)
        return None if inode is None else inode.quota

    def _is_there(self, ino: int) -> bool:
        return ino in self._inodes or ino in self._unreadable

    def _has(self, ino: int) -> bool:
        return ino % self._shares == self._share

    def _add(self, finding: Finding) -> None:
        self._others[(*finding.key, finding.node, finding.found)] = finding


def _of_entry(kind: Kind, group: int, entry: SurveyedEntry) -> Finding:
    return Finding(kind, group, entry.ino, entry.parent, entry.name)
