"""Pages of a group's rows, and single ones, for a check of the cluster's structure.

Nothing is judged here and nothing changes: `benchfs/fsck` compares what the groups say. A page
looks at a bounded number of rows, some 10 ms, so that others are served between two of them. A
row that fails its check is listed by its key.
"""

from __future__ import annotations

import errno
from collections.abc import Container, Iterator
from typing import NamedTuple, Protocol

from benchfs.inode import FileType, home_group
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    ExamineEntry,
    ExamineEntryReply,
    ExamineInode,
    ExamineInodeReply,
    FindEntries,
    ListEntries,
    ListEntriesReply,
    ListInodes,
    ListInodesReply,
    ListParts,
    ListPending,
    ListPendingReply,
    PendingRecord,
    SurveyedEntry,
    SurveyedInode,
)
from benchfsd.database import CorruptRowError
from benchfsd.holds import Role
from benchfsd.namespace import ENTRY_BYTES, PAGE_BYTES
from benchfsd.renaming import RenamingNamespace
from benchfsd.rows import (
    IntentKind,
    Kind,
    Rows,
    decode_entry,
    decode_inode,
    decode_intent,
    entry_key,
    entry_prefix,
    ino_in_key,
    inode_key,
    intent_key,
    kind_prefix,
    name_of_entry_key,
    orphan_key,
    part_key,
)

ROWS_AT_ONCE = 1024  # some 10 ms of a node, and of who asks
LAST_INO = 2**64 - 1
_PENDING_KINDS = (Kind.INTENT, Kind.LINK_CHANGE, Kind.PREPARED, Kind.MOVE)


class Holders(Protocol):
    """Who has inodes open. See `benchfsd.opens.Opens`."""

    def is_held(self, ino: int) -> bool:
        """Whether somebody may have the inode open."""
        ...


class _Share(NamedTuple):
    share: int
    shares: int

    def has(self, ino: int) -> bool:
        return ino % max(1, self.shares) == self.share


class Survey:
    """The rows of one group. Made when needed: it keeps nothing."""

    def __init__(self, names: RenamingNamespace, rows: Rows, holders: Holders, now_ns: int) -> None:
        self._names = names
        self._group = names.group
        self._rows = rows
        self._holders = holders
        self._now_ns = now_ns

    # ------------------------------------------------------------------------- inodes

    def inodes(self, message: ListInodes) -> ListInodesReply:
        """A page of the inodes at home here."""
        return self._inodes(Kind.INODE, message.after, _Share(message.share, message.shares))

    def parts(self, message: ListParts) -> ListInodesReply:
        """A page of the parts of directories at home elsewhere."""
        return self._inodes(Kind.PART, message.after, _Share(message.share, message.shares))

    def _inodes(self, kind: Kind, after: int, share: _Share) -> ListInodesReply:
        prefix, pending = kind_prefix(self._group, kind), self._pending_inos()
        key_after = prefix + after.to_bytes(8, "big") if after else b""
        found: list[SurveyedInode] = []
        damaged: list[bytes] = []
        size = 0
        for looked, (key, value) in enumerate(readable(self._rows, prefix, key_after)):
            if looked == ROWS_AT_ONCE or size > PAGE_BYTES:
                return ListInodesReply(tuple(found), tuple(damaged), after, self._now_ns)
            after = ino_in_key(key)
            if not share.has(after):
                continue
            if value is None:
                damaged.append(key)
                continue
            inode = self._surveyed(value, pending)
            size += ENTRY_BYTES + 3 * len(inode.attributes.layout.stripe)
            found.append(inode)
        return ListInodesReply(tuple(found), tuple(damaged), 0, self._now_ns)

    def examine_inode(self, message: ExamineInode) -> ExamineInodeReply:
        """An inode, or this group's part of a directory. EIO if its row fails its check."""
        ino = message.ino
        key = inode_key if home_group(ino) == self._group else part_key
        try:
            value = self._rows.get(key(self._group, ino))
        except CorruptRowError as problem:
            raise RemoteError(errno.EIO, f"inode {ino:#x}: {problem}") from problem
        purging = self._names.intents.get(IntentKind.PURGE, ino) is not None
        counted = 0
        if message.counting:
            counted = sum(1 for _ in readable(self._rows, entry_prefix(self._group, ino)))
        return ExamineInodeReply(
            None if value is None else self._surveyed(value, self._pending_inos()),
            purging,
            counted,
            self._names.parts.used(ino),
        )

    def _surveyed(self, value: bytes, pending: Container[int]) -> SurveyedInode:
        inode = decode_inode(value)
        orphan = not inode.nlink and self._rows.get(orphan_key(self._group, inode.ino)) is not None
        return SurveyedInode(
            inode, self._holders.is_held(inode.ino), orphan or inode.ino in pending
        )

    def _pending_inos(self) -> set[int]:
        """What something unfinished here is about, but for purges, which are about gone ones."""
        group, holds = self._group, self._names.holds
        purges_end = intent_key(group, IntentKind.PURGE, LAST_INO)
        intents = self._rows.scan(kind_prefix(group, Kind.INTENT), purges_end)
        found = {decode_intent(value).ino for _, value in intents}
        changes = self._rows.scan(kind_prefix(group, Kind.LINK_CHANGE))
        found |= {ino_in_key(key) for key, _ in changes}
        found |= {one.ino for one in holds.all_prepared() if one.role is not Role.DROPPED}
        return found | {move.drop for move in holds.moves()}

    # ------------------------------------------------------------------------ entries

    def entries(self, message: ListEntries) -> ListEntriesReply:
        """A page of the entries that have to do with a share of the inodes."""
        share = _Share(message.share, message.shares)

        def wanted(parent: int, ino: int) -> bool:
            return share.has(ino) or share.has(parent)

        return self._entries(
            kind_prefix(self._group, Kind.ENTRY), message.parent, message.after, wanted
        )

    def find_entries(self, message: FindEntries) -> ListEntriesReply:
        """A page of the entries that stand for some inodes."""
        prefix = kind_prefix(self._group, Kind.ENTRY)
        if message.within:
            prefix = entry_prefix(self._group, message.within)
        inos = frozenset(message.inos)
        return self._entries(
            prefix, message.parent, message.after, lambda _parent, ino: ino in inos
        )

    def _entries(
        self, prefix: bytes, parent: int, after: bytes, wanted: Wanted
    ) -> ListEntriesReply:
        key_after = entry_key(self._group, parent, after) if parent else b""
        found: list[SurveyedEntry] = []
        damaged: list[bytes] = []
        size, directory, lost = 0, 0, False
        for looked, (key, value) in enumerate(readable(self._rows, prefix, key_after)):
            if looked == ROWS_AT_ONCE or size > PAGE_BYTES:
                return ListEntriesReply(tuple(found), tuple(damaged), True, parent, after)
            parent, after = ino_in_key(key), name_of_entry_key(key)
            if value is None:
                damaged.append(key)
                continue
            if parent != directory:
                directory, lost = parent, self._is_lost(parent)
            entry = decode_entry(value)
            if wanted(parent, entry.ino):
                held = self._is_held(parent, after, entry.ino, entry.type)
                size += ENTRY_BYTES + len(after)
                found.append(SurveyedEntry(parent, after, entry.ino, entry.type, lost, held))
        return ListEntriesReply(tuple(found), tuple(damaged), False, 0, b"")

    def examine_entry(self, message: ExamineEntry) -> ExamineEntryReply:
        """One entry."""
        parent, name = message
        entry = self._names.find_entry(parent, name)
        if entry is None:
            return ExamineEntryReply(None)
        held = self._is_held(parent, name, entry.ino, entry.type)
        lost = self._is_lost(parent)
        return ExamineEntryReply(SurveyedEntry(parent, name, entry.ino, entry.type, lost, held))

    def _is_lost(self, parent: int) -> bool:
        key = inode_key if home_group(parent) == self._group else part_key
        try:
            return self._rows.get(key(self._group, parent)) is None
        except CorruptRowError:
            return False

    def _is_held(self, parent: int, name: bytes, ino: int, file_type: int) -> bool:
        if (parent, name) in self._names.holds.names:
            return True
        if file_type != FileType.DIRECTORY:
            return False
        return self._names.intents.get(IntentKind.RMDIR, ino) is not None

    # ------------------------------------------------------------------------ pending

    def pending(self, message: ListPending) -> ListPendingReply:
        """A page of what is unfinished here: intents, promises, changes, counted links."""
        found: list[PendingRecord] = []
        for kind in _PENDING_KINDS:
            prefix = kind_prefix(self._group, kind)
            if message.after[: len(prefix)] > prefix:
                continue
            after = message.after if message.after.startswith(prefix) else b""
            for key, value in readable(self._rows, prefix, after):
                if len(found) == ROWS_AT_ONCE:
                    return ListPendingReply(tuple(found), True)
                if value is not None:
                    found.append(self._pending(kind, key, value))
        return ListPendingReply(tuple(found), False)

    def _pending(self, kind: Kind, key: bytes, value: bytes) -> PendingRecord:
        token = key[len(kind_prefix(self._group, kind)) :]
        if kind is Kind.INTENT:
            intent = decode_intent(value)
            return PendingRecord(intent.kind.name.lower(), intent.ino, key)
        if kind is Kind.LINK_CHANGE:
            return PendingRecord("link change", ino_in_key(key), key)
        if kind is Kind.PREPARED:
            role, ino = Role(token[16]), int.from_bytes(token[17:], "big")
            return PendingRecord(f"prepared {role.name.lower()}", ino, key)
        move = self._names.holds.move(token)
        ino = 0
        if move is not None:
            entry = self._names.find_entry(move.parent, move.name)
            ino = move.drop or (0 if entry is None else entry.ino)
        return PendingRecord("change", ino, key)


class Wanted(Protocol):
    """Which entries are to be listed."""

    def __call__(self, parent: int, ino: int, /) -> bool:
        """Whether this one is."""
        ...


def readable(rows: Rows, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes | None]]:
    """A scan that goes on behind rows that fail their check: None stands for their values."""
    while True:
        try:
            for key, value in rows.scan(prefix, after):
                after = key
                yield key, value
            return
        except CorruptRowError as problem:
            after = problem.key
            yield after, None
