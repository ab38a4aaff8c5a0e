"""Rename within one group: what it replaces, exchanges and refuses."""

import errno

import pytest

from benchfs.env import FixedEnv
from benchfs.inode import ROOT_INO, FileType
from benchfs.rpc.messages import (
    Lookup,
    Rename,
    RenameHow,
)
from benchfsd.renaming import RenamingNamespace as Namespace
from benchfsd.rows import IntentKind
from tests.unit.memory_rows import MemoryRows
from tests.unit.namespace.group import (
    ELSEWHERE,
    GONE,
    create,
    listed,
    make_directory,
    refused,
    renamed,
    root,
)


def test_rename_within_a_directory(names: Namespace, env: FixedEnv) -> None:
    made = create(names, b"old")
    before = root(names)
    env.clock.advance(1)

    removed = names.rename(renamed(ROOT_INO, b"old", ROOT_INO, b"new"))

    now_ns = env.clock.time_ns()
    assert removed.purge is None
    assert listed(names) == [b"new"]
    assert names.lookup(Lookup(ROOT_INO, b"new")).attributes == made._replace(
        ctime_ns=now_ns, change=made.change + 1
    )
    assert root(names) == before._replace(
        mtime_ns=now_ns, ctime_ns=now_ns, change=before.change + 1
    )


def test_rename_to_another_directory_of_the_group(names: Namespace) -> None:
    made = create(names, b"old")
    ino = make_directory(names, b"dir")

    names.rename(renamed(ROOT_INO, b"old", ino, b"new"))

    assert listed(names) == [b"dir"]
    assert listed(names, ino) == [b"new"]
    assert names.lookup(Lookup(ino, b"new")).ino == made.ino
    assert (root(names).entries, names.inodes.get(ino).entries) == (1, 1)


@pytest.mark.parametrize("far", [False, True], ids=["same directory", "another directory"])
def test_rename_over_a_file_purges_it(names: Namespace, far: bool) -> None:
    ino = make_directory(names, b"dir") if far else ROOT_INO
    made, replaced = create(names, b"old"), create(names, b"new", ino)

    removed = names.rename(renamed(ROOT_INO, b"old", ino, b"new"))

    assert removed.purge is not None
    assert (removed.purge.kind, removed.purge.ino) == (IntentKind.PURGE, replaced.ino)
    assert names.intents.pending() == [removed.purge]
    assert names.inodes.find(replaced.ino) is None
    assert names.lookup(Lookup(ino, b"new")).ino == made.ino
    assert root(names).entries == 1
    assert names.inodes.get(ino).entries == 1


def test_rename_to_itself_or_to_another_name_of_the_file_does_nothing(
    names: Namespace, memory: MemoryRows
) -> None:
    made = create(names, b"one")
    names.add_entry(ROOT_INO, b"two", made.ino, FileType.FILE)
    names.inodes.put(made._replace(nlink=2))
    before = memory.snapshot()

    for new_name in (b"one", b"two"):
        assert names.rename(renamed(ROOT_INO, b"one", ROOT_INO, new_name)).purge is None

    assert memory.snapshot() == before


def test_a_directory_is_renamed_in_its_directory(names: Namespace, env: FixedEnv) -> None:
    ino = make_directory(names, b"old")
    create(names, b"file", ino)
    env.clock.advance(1)

    names.rename(renamed(ROOT_INO, b"old", ROOT_INO, b"new"))

    assert listed(names) == [b"new"]
    assert listed(names, ino) == [b"file"]
    assert names.inodes.get(ino).ctime_ns == env.clock.time_ns()


def test_a_directory_of_another_group_is_renamed_too(names: Namespace) -> None:
    names.add_entry(ROOT_INO, b"far", ELSEWHERE, FileType.DIRECTORY)

    names.rename(renamed(ROOT_INO, b"far", ROOT_INO, b"farther"))

    assert names.lookup(Lookup(ROOT_INO, b"farther")).ino == ELSEWHERE


def test_rename_over_an_empty_directory_replaces_it(names: Namespace) -> None:
    ino, replaced = make_directory(names, b"old"), make_directory(names, b"new")

    removed = names.rename(renamed(ROOT_INO, b"old", ROOT_INO, b"new"))

    assert removed.purge is None
    assert names.inodes.find(replaced) is None
    assert names.lookup(Lookup(ROOT_INO, b"new")).ino == ino
    assert root(names).entries == 1


def test_what_rename_refuses(names: Namespace, memory: MemoryRows) -> None:
    create(names, b"file")
    full, _ = make_directory(names, b"full"), make_directory(names, b"empty")
    create(names, b"inside", full)
    names.add_entry(ROOT_INO, b"far", ELSEWHERE, FileType.DIRECTORY)

    for name, new_parent, new_name, code in (
        (b"absent", ROOT_INO, b"new", errno.ENOENT),
        (b"absent", ROOT_INO, b"file", errno.ENOENT),
        (b"absent", ROOT_INO, b"absent", errno.ENOENT),
        (b"file", ROOT_INO, b"empty", errno.EISDIR),
        (b"empty", ROOT_INO, b"file", errno.ENOTDIR),
        (b"empty", ROOT_INO, b"full", errno.ENOTEMPTY),
        (b"file", GONE, b"new", errno.ENOENT),
    ):
        message = renamed(ROOT_INO, name, new_parent, new_name)
        refused(code, names, memory, lambda message=message: names.rename(message))


def test_a_rename_that_concerns_more_groups_is_left_to_several_steps(
    names: Namespace, memory: MemoryRows
) -> None:
    ino = make_directory(names, b"dir")
    make_directory(names, b"other")
    create(names, b"file")
    names.add_entry(ROOT_INO, b"far", ELSEWHERE, FileType.DIRECTORY)
    before = memory.snapshot()

    for message in (
        renamed(ROOT_INO, b"other", ino, b"new"),
        renamed(ROOT_INO, b"other", ROOT_INO, b"far"),
        renamed(ROOT_INO, b"file", ELSEWHERE, b"new")._replace(new_group=8),
    ):
        assert names.rename(message) is None
    assert memory.snapshot() == before


def test_nothing_is_replaced_where_that_was_asked_for(names: Namespace, memory: MemoryRows) -> None:
    create(names, b"one")
    create(names, b"two")

    for new_name in (b"one", b"two"):
        message = renamed(ROOT_INO, b"one", ROOT_INO, new_name)._replace(how=RenameHow.KEEP)
        refused(errno.EEXIST, names, memory, lambda message=message: names.rename(message))
    names.rename(renamed(ROOT_INO, b"one", ROOT_INO, b"new")._replace(how=RenameHow.KEEP))

    assert listed(names) == [b"new", b"two"]


def test_an_exchange_gives_each_the_name_of_the_other(names: Namespace, memory: MemoryRows) -> None:
    ino, inside = make_directory(names, b"dir"), make_directory(names, b"other")
    one, two = create(names, b"one"), create(names, b"two", inside)

    def exchange(name: bytes, parent: int, new_name: bytes) -> Rename:
        return renamed(ROOT_INO, name, parent, new_name)._replace(how=RenameHow.EXCHANGE)

    names.rename(exchange(b"one", inside, b"two"))
    names.rename(exchange(b"one", ROOT_INO, b"dir"))  # now a file and a directory

    assert names.lookup(Lookup(inside, b"two")).ino == one.ino
    assert names.lookup(Lookup(ROOT_INO, b"dir")).ino == two.ino
    assert names.lookup(Lookup(ROOT_INO, b"one")).ino == ino
    assert (root(names).entries, names.inodes.get(inside).entries) == (3, 1)
    absent = exchange(b"one", ROOT_INO, b"absent")
    refused(errno.ENOENT, names, memory, lambda: names.rename(absent))
