"""Repairs of one group's rows, each one transaction that looks again before it acts.

What was found by somebody who asked many groups may be out of date: nothing is done unless what is
wrong is so still, as far as this group knows, and nothing about it is unfinished. What other
groups have to confirm is asked before by the handler. Each returns whether it was done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from benchfs.env import Env
from benchfs.inode import FileType
from benchfs.layout import DEFAULT_CHUNK_SIZE
from benchfs.rpc.messages import (
    Attributes,
    ExamineEntry,
    ExamineInode,
    LayoutRecord,
    Repair,
    RepairHow,
    ReportSize,
)
from benchfsd.delegations import NOBODY
from benchfsd.renaming import RenamingNamespace
from benchfsd.rows import (
    Intent,
    IntentKind,
    Rows,
    decode_inode,
    encode_inode,
    entry_key,
    inode_key,
    orphan_key,
    part_key,
)
from benchfsd.survey import Survey

ANYWHERE = LayoutRecord(chunk_size=DEFAULT_CHUNK_SIZE, first=0, stripe=())


class Repaired(NamedTuple):
    """Whether it was done, and the purge that is to follow."""

    done: bool
    purge: Intent | None = None


NOT_DONE = Repaired(False)
DONE = Repaired(True)


class Repairs:
    """The repairs of one group. Made when needed: it keeps nothing."""

    def __init__(self, names: RenamingNamespace, rows: Rows, env: Env, survey: Survey) -> None:
        self._names = names
        self._group = names.group
        self._rows = rows
        self._env = env
        self._survey = survey

    def act(self, message: Repair) -> Repaired:
        """Do what the message says. ValueError for a repair that there is not."""
        acts: dict[RepairHow, Callable[[Repair], Repaired]] = {
            RepairHow.REMOVE_ENTRY: self._remove_entry,
            RepairHow.REMOVE_DIRECTORY: self._remove_directory,
            RepairHow.REMOVE_FILE: self._remove_file,
            RepairHow.SET_LINKS: self._set_links,
            RepairHow.SET_PARENT: self._set_parent,
            RepairHow.COUNT_ENTRIES: self._count_entries,
            RepairHow.REMOVE_PART: self._remove_part,
            RepairHow.SET_SIZE: self._set_size,
            RepairHow.PURGE_CHUNKS: self._purge_chunks,
        }
        return acts[RepairHow(message.how)](message)

    def add_entry(self, message: Repair, inode: Attributes) -> Repaired:
        """Give an inode without a name one. EEXIST if something else has it; UnregisteredError."""
        parent, name = message.parent, message.name
        entry = self._names.find_entry(parent, name)
        if entry is None or entry.ino != inode.ino:
            file_type = FileType(inode.type)
            self._names.delegations.require(parent, NOBODY, name)
            self._names.add_entry(parent, name, inode.ino, file_type, inode.fanout)
        return DONE

    # ------------------------------------------------------------------------- names

    def _remove_entry(self, message: Repair) -> Repaired:
        parent, name, ino = message.parent, message.name, message.ino
        found = self._survey.examine_entry(ExamineEntry(parent, name)).entry
        if found is None or found.ino != ino or found.held:
            return NOT_DONE
        if found.lost:
            self._rows.delete(entry_key(self._group, parent, name))
        else:
            self._names.remove_entry(parent, name, ino)
        return DONE

    def _count_entries(self, message: Repair) -> Repaired:
        found = self._survey.examine_inode(ExamineInode(message.ino, True))
        if found.inode is None or found.inode.attributes.entries == found.counted:
            return NOT_DONE
        inode = found.inode.attributes
        value = encode_inode(inode._replace(entries=found.counted, change=inode.change + 1))
        here = self._rows.get(inode_key(self._group, inode.ino)) is not None
        self._rows.put((inode_key if here else part_key)(self._group, inode.ino), value)
        return DONE

    def _remove_part(self, message: Repair) -> Repaired:
        return Repaired(self._rows.delete(part_key(self._group, message.ino)))

    # ------------------------------------------------------------------------ inodes

    def _unchanged(self, message: Repair) -> Attributes | None:
        """The inode, if it is as it was when it was found, and nothing about it is unfinished."""
        found = self._survey.examine_inode(ExamineInode(message.ino, False)).inode
        if found is None or found.pending or found.attributes.change != message.change:
            return None
        value = self._rows.get(inode_key(self._group, message.ino))
        return None if value is None else decode_inode(value)

    def _remove_directory(self, message: Repair) -> Repaired:
        inode = self._unchanged(message)
        if inode is None or self._names.parts.used(inode.ino):
            return NOT_DONE
        self._names.inodes.require_empty(inode.ino)
        self._names.inodes.delete(inode.ino)
        return DONE

    def _remove_file(self, message: Repair) -> Repaired:
        found = self._survey.examine_inode(ExamineInode(message.ino, False)).inode
        inode = self._unchanged(message)
        if inode is None or found is None or found.open or inode.nlink:
            return NOT_DONE
        self._rows.put(orphan_key(self._group, inode.ino), b"")
        return Repaired(True, self._names.drop_orphan(inode.ino))

    def _set_links(self, message: Repair) -> Repaired:
        inode = self._unchanged(message)
        if inode is None or not message.value or inode.type == FileType.DIRECTORY:
            return NOT_DONE
        return self._put(inode._replace(nlink=message.value))

    def _set_parent(self, message: Repair) -> Repaired:
        inode = self._unchanged(message)
        if inode is None or inode.type != FileType.DIRECTORY:
            return NOT_DONE
        return self._put(inode._replace(parent=message.parent))

    def _set_size(self, message: Repair) -> Repaired:
        found = self._survey.examine_inode(ExamineInode(message.ino, False)).inode
        inode = self._unchanged(message)
        if inode is None or found is None or found.open or inode.type != FileType.FILE:
            return NOT_DONE
        report = ReportSize(inode.ino, inode.truncation, message.value, inode.mtime_ns)
        self._names.inodes.report_size(report)
        return DONE

    def _put(self, inode: Attributes) -> Repaired:
        now_ns = self._env.clock.time_ns()
        self._names.inodes.put(inode._replace(ctime_ns=now_ns, change=inode.change + 1))
        return DONE

    # ------------------------------------------------------------------------ chunks

    def _purge_chunks(self, message: Repair) -> Repaired:
        found = self._survey.examine_inode(ExamineInode(message.ino, False))
        if found.inode is not None or found.purging:
            return NOT_DONE
        intent = Intent(IntentKind.PURGE, message.ino, layout=ANYWHERE)
        self._names.intents.add(intent)
        return Repaired(True, intent)
