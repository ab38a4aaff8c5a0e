"""Pages of a group's rows, and repairs that look before they act."""

from __future__ import annotations

import pytest

from benchfs.env import fixed_env
from benchfs.inode import ROOT_INO, FileType, make_ino
from benchfs.rpc.messages import (
    ExamineEntry,
    ExamineInode,
    FindEntries,
    LayoutRecord,
    ListEntries,
    ListInodes,
    ListPending,
    Open,
    Repair,
    RepairHow,
)
from benchfsd import survey as survey_module
from benchfsd.renaming import RenamingNamespace
from benchfsd.repairs import DONE, NOT_DONE, Repairs
from benchfsd.rows import (
    Entry,
    Intent,
    IntentKind,
    encode_entry,
    entry_key,
    inode_key,
    link_change_key,
)
from benchfsd.survey import Survey
from tests.unit.memory_rows import MemoryRows

LAYOUT = LayoutRecord(65536, 0, ())
GONE = make_ino(5, 0, 99)


class Group:
    """Group 0 with the root directory, and what is open."""

    def __init__(self) -> None:
        self.env = fixed_env(1)
        self.rows = MemoryRows()
        self.open: set[int] = set()
        self.names = RenamingNamespace(0, self.rows, self.env)
        self.names.inodes.format_root(0, 0)
        self.survey = Survey(self.names, self.rows, self, 7)
        self.repairs = Repairs(self.names, self.rows, self.env, self.survey)

    def is_held(self, ino: int) -> bool:
        return ino in self.open

    def make(self, name: bytes) -> int:
        return self.names.open(Open(ROOT_INO, name, True, True, 0o644, 0, 0, LAYOUT)).ino

    def change(self, ino: int) -> int:
        return self.names.inodes.get(ino).change

    def do(self, how: RepairHow, ino: int, **fields: int | bytes) -> object:
        """The repair of an inode as it is now."""
        inode = self.names.inodes.find(ino)
        plain = Repair(how, ino, 0, b"", 0, inode.change if inode else 0)
        return self.repairs.act(plain._replace(**fields))


@pytest.fixture
def group() -> Group:
    return Group()


def test_pages_have_every_inode_and_entry_once(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {b"%d" % number: group.make(b"%d" % number) for number in range(20)}
    monkeypatch.setattr(survey_module, "ROWS_AT_ONCE", 3)
    for shares in (1, 4):
        inos, names = [], {}
        for share in range(shares):
            after, more = 0, True
            while more:
                page = group.survey.inodes(ListInodes(after, share, shares))
                inos += [one.attributes.ino for one in page.inodes]
                after, more = page.next, bool(page.next)
            parent, name, more = 0, b"", True
            while more:
                found = group.survey.entries(ListEntries(parent, name, share, shares))
                names |= {one.name: one.ino for one in found.entries if one.ino % shares == share}
                parent, name, more = found.parent, found.after, found.more

        assert sorted(inos) == sorted([ROOT_INO, *made.values()])
        assert names == made


def test_entries_are_found_by_what_they_stand_for(group: Group) -> None:
    inos = [group.make(b"%d" % number) for number in range(5)]

    found = group.survey.find_entries(FindEntries((inos[1], inos[3], GONE), 0, 0, b""))
    below = group.survey.find_entries(FindEntries((inos[1],), GONE, 0, b""))

    assert [(one.name, one.ino) for one in found.entries] == [(b"1", inos[1]), (b"3", inos[3])]
    assert below.entries == ()


def test_what_is_unfinished_is_listed_and_marks_its_inode(group: Group) -> None:
    plain, linked = group.make(b"plain"), group.make(b"linked")
    group.rows.put(link_change_key(0, linked, 4), b"")
    group.names.intents.add(Intent(IntentKind.PURGE, GONE))

    records = group.survey.pending(ListPending(b"")).pending
    rest = group.survey.pending(ListPending(records[0].mark)).pending

    assert [(one.kind, one.ino) for one in records] == [("purge", GONE), ("link change", linked)]
    assert rest == records[1:]
    inodes = group.survey.inodes(ListInodes(0, 0, 1)).inodes
    assert {one.attributes.ino for one in inodes if one.pending} == {linked}
    assert group.survey.examine_inode(ExamineInode(GONE, False)).purging
    assert not group.survey.examine_inode(ExamineInode(plain, False)).purging


def test_an_entry_is_removed_only_while_it_stands_for_the_inode(group: Group) -> None:
    ino = group.make(b"file")

    assert group.do(RepairHow.REMOVE_ENTRY, GONE, parent=ROOT_INO, name=b"file") == NOT_DONE
    assert group.do(RepairHow.REMOVE_ENTRY, ino, parent=ROOT_INO, name=b"file") == DONE
    assert group.do(RepairHow.REMOVE_ENTRY, ino, parent=ROOT_INO, name=b"file") == NOT_DONE
    assert group.names.inodes.get(ROOT_INO).entries == 0


def test_an_entry_whose_directory_is_gone_is_removed(group: Group) -> None:
    entry = Entry(GONE, FileType.FILE)
    group.rows.put(entry_key(0, GONE, b"x"), encode_entry(*entry))
    found = group.survey.examine_entry(ExamineEntry(GONE, b"x")).entry
    assert found is not None
    assert found.lost

    assert group.do(RepairHow.REMOVE_ENTRY, GONE, parent=GONE, name=b"x") == DONE
    assert group.survey.examine_entry(ExamineEntry(GONE, b"x")).entry is None


def test_links_are_set_unless_the_inode_has_changed_or_something_is_unfinished(
    group: Group,
) -> None:
    ino = group.make(b"file")
    change = group.change(ino)
    assert group.do(RepairHow.SET_LINKS, ino, value=3) == DONE
    assert group.names.inodes.get(ino).nlink == 3

    assert group.do(RepairHow.SET_LINKS, ino, value=4, change=change) == NOT_DONE
    group.rows.put(link_change_key(0, ino, 4), b"")
    assert group.do(RepairHow.SET_LINKS, ino, value=4) == NOT_DONE
    assert group.names.inodes.get(ino).nlink == 3


def test_a_size_grows_unless_the_file_is_open(group: Group) -> None:
    ino = group.make(b"file")
    group.open.add(ino)
    assert group.do(RepairHow.SET_SIZE, ino, value=9) == NOT_DONE

    group.open.clear()

    assert group.do(RepairHow.SET_SIZE, ino, value=9) == DONE
    assert group.names.inodes.get(ino).size == 9


def test_a_count_becomes_what_is_there(group: Group) -> None:
    group.make(b"file")
    root = group.names.inodes.get(ROOT_INO)
    assert group.do(RepairHow.COUNT_ENTRIES, ROOT_INO) == NOT_DONE
    group.names.inodes.put(root._replace(entries=77))

    assert group.do(RepairHow.COUNT_ENTRIES, ROOT_INO) == DONE
    assert group.names.inodes.get(ROOT_INO).entries == 1


def test_a_file_without_names_is_removed_and_purged(group: Group) -> None:
    ino = group.make(b"file")
    assert group.do(RepairHow.REMOVE_FILE, ino) == NOT_DONE  # it has a link
    inode = group.names.inodes.get(ino)
    group.names.inodes.put(inode._replace(nlink=0))

    repaired = group.repairs.act(Repair(RepairHow.REMOVE_FILE, ino, 0, b"", 0, inode.change))

    assert repaired.done
    assert repaired.purge is not None
    assert (repaired.purge.kind, repaired.purge.ino) == (IntentKind.PURGE, ino)
    assert group.rows.get(inode_key(0, ino)) is None


def test_chunks_are_purged_only_of_what_is_gone_and_not_purged_already(group: Group) -> None:
    ino = group.make(b"file")
    assert group.do(RepairHow.PURGE_CHUNKS, ino) == NOT_DONE

    repaired = group.do(RepairHow.PURGE_CHUNKS, 77)

    assert repaired.purge.ino == 77  # type: ignore[attr-defined]
    assert group.do(RepairHow.PURGE_CHUNKS, 77) == NOT_DONE


def test_naming_twice_is_naming_once(group: Group) -> None:
    ino = group.make(b"file")
    inode = group.names.inodes.get(ino)
    message = Repair(RepairHow.ADD_ENTRY, ino, ROOT_INO, b"#1", 0, 0)

    assert group.repairs.add_entry(message, inode) == DONE
    assert group.repairs.add_entry(message, inode) == DONE
    assert group.names.inodes.get(ROOT_INO).entries == 2
