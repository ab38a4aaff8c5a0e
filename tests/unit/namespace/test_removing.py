"""Unlink, rmdir and last names: what goes, what stays, and in which order."""

import errno

import pytest

from benchfs.env import FixedEnv
from benchfs.inode import ROOT_INO, FileType
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    Attributes,
    Code,
    DropInode,
    Lookup,
    RemoveDirectory,
    ReportSize,
    Unlink,
)
from benchfsd import rows
from benchfsd.renaming import RenamingNamespace as Namespace
from benchfsd.rows import Intent, IntentKind
from tests.unit.memory_rows import MemoryRows
from tests.unit.namespace.group import (
    CALL,
    ELSEWHERE,
    LAYOUT,
    create,
    listed,
    make_directory,
    refused,
    renamed,
    root,
)


def test_check_absent_gives_the_directory(names: Namespace, memory: MemoryRows) -> None:
    create(names, b"file")

    assert names.check_absent(ROOT_INO, b"other") == root(names)
    refused(errno.EEXIST, names, memory, lambda: names.check_absent(ROOT_INO, b"file"))


def test_an_entry_is_added_once_and_removed_as_what_it_is(
    names: Namespace, memory: MemoryRows, env: FixedEnv
) -> None:
    names.add_entry(ROOT_INO, b"far", ELSEWHERE, FileType.DIRECTORY)
    add = lambda: names.add_entry(ROOT_INO, b"far", ELSEWHERE + 1, FileType.DIRECTORY)  # noqa: E731
    refused(errno.EEXIST, names, memory, add)
    other = lambda: names.remove_entry(ROOT_INO, b"far", ELSEWHERE + 1)  # noqa: E731
    refused(errno.ENOENT, names, memory, other)
    before = root(names)
    env.clock.advance(1)

    names.remove_entry(ROOT_INO, b"far", ELSEWHERE)

    after = root(names)
    assert listed(names) == []
    assert (before.entries, after.entries) == (1, 0)
    assert after.mtime_ns == after.ctime_ns == env.clock.time_ns()
    assert after.change == before.change + 1


def test_unlink_removes_the_file_and_leaves_its_chunks_to_an_intent(
    names: Namespace, memory: MemoryRows, env: FixedEnv
) -> None:
    made = create(names, b"file")
    names.inodes.report_size(ReportSize(made.ino, 0, 12345, 1))
    before = root(names)
    env.clock.advance(1)

    removed = names.unlink(Unlink(ROOT_INO, b"file"))

    expected = Intent(IntentKind.PURGE, made.ino, None, 0, 12345, LAYOUT)
    assert removed.purge == expected
    assert names.inodes.find(made.ino) is None
    assert listed(names) == []
    assert root(names).entries == before.entries - 1
    assert root(names).mtime_ns == env.clock.time_ns()
    assert Namespace(0, memory, env).intents.pending() == [expected]
    assert names.intents.finish(expected)
    assert not names.intents.finish(expected)
    assert names.intents.pending() == []


def test_a_file_goes_with_its_last_name(names: Namespace) -> None:
    made = create(names, b"one")
    names.add_entry(ROOT_INO, b"two", made.ino, FileType.FILE)
    names.inodes.put(made._replace(nlink=2))

    first = names.unlink(Unlink(ROOT_INO, b"one"))
    kept = names.inodes.get(made.ino)
    second = names.unlink(Unlink(ROOT_INO, b"two"))

    assert first.purge is None
    assert (kept.nlink, kept.change) == (1, made.change + 1)
    assert second.purge is not None
    assert names.inodes.find(made.ino) is None


class Holding:
    """Some inodes are open."""

    def __init__(self) -> None:
        self.held: set[int] = set()
        self.orphans: list[int] = []

    def is_held(self, ino: int) -> bool:
        return ino in self.held

    def drop_chunks(self, inode: Attributes) -> bool:
        return False

    def orphaned(self, ino: int) -> None:
        self.orphans.append(ino)


def test_an_open_file_outlives_its_last_name_and_goes_when_nobody_holds_it(
    memory: MemoryRows, env: FixedEnv
) -> None:
    holding = Holding()
    names = Namespace(0, memory, env, holding)
    names.inodes.format_root(uid=10, gid=20)
    before = memory.snapshot()
    inode = create(names, b"file")
    holding.held.add(inode.ino)

    removed = names.unlink(Unlink(ROOT_INO, b"file"))

    assert removed.purge is None
    assert names.inodes.get(inode.ino).nlink == 0
    assert names.orphans() == holding.orphans == [inode.ino]
    assert names.intents.pending() == []
    purge = names.drop_orphan(inode.ino)
    assert purge is not None
    assert names.intents.pending() == [purge]
    assert names.drop_orphan(inode.ino) is None
    names.intents.finish(purge)
    assert memory.snapshot().keys() - before.keys() == {rows.counter_key(0)}


def test_a_rename_over_an_open_file_leaves_an_orphan(memory: MemoryRows, env: FixedEnv) -> None:
    holding = Holding()
    names = Namespace(0, memory, env, holding)
    names.inodes.format_root(uid=10, gid=20)
    target = create(names, b"target")
    create(names, b"new")
    holding.held.add(target.ino)

    removed = names.rename(renamed(ROOT_INO, b"new", ROOT_INO, b"target"))

    assert removed is not None
    assert removed.purge is None
    assert names.orphans() == [target.ino]


def test_unlink_refuses_directories_and_absent_names(names: Namespace, memory: MemoryRows) -> None:
    make_directory(names, b"dir")

    refused(errno.EISDIR, names, memory, lambda: names.unlink(Unlink(ROOT_INO, b"dir")))
    refused(errno.ENOENT, names, memory, lambda: names.unlink(Unlink(ROOT_INO, b"absent")))


# --------------------------------------------------------------------------------------- rmdir


def test_a_directory_is_removed_in_three_steps(names: Namespace) -> None:
    ino = make_directory(names, b"dir")

    intent = names.begin_rmdir(RemoveDirectory(ROOT_INO, b"dir"), CALL)
    names.inodes.drop_inode(DropInode(ino))
    names.finish_rmdir(intent)
    names.finish_rmdir(intent)

    assert (intent.ino, intent.call) == (ino, CALL)
    assert listed(names) == []
    assert root(names).entries == 0
    assert names.intents.pending() == []


def test_after_a_restart_a_removal_is_found_and_finished(
    names: Namespace, memory: MemoryRows, env: FixedEnv
) -> None:
    ino = make_directory(names, b"dir")
    begun = names.begin_rmdir(RemoveDirectory(ROOT_INO, b"dir"), CALL)
    names.inodes.drop_inode(DropInode(ino))
    restarted = Namespace(0, memory, env)

    (intent,) = restarted.intents.pending()
    restarted.inodes.drop_inode(DropInode(intent.ino))
    restarted.finish_rmdir(intent)

    assert intent == begun
    assert (intent.parent, intent.name, intent.call) == (ROOT_INO, b"dir", CALL)
    assert listed(restarted) == []


def test_a_removal_that_was_refused_leaves_everything(names: Namespace) -> None:
    ino = make_directory(names, b"dir")
    create(names, b"file", ino)

    intent = names.begin_rmdir(RemoveDirectory(ROOT_INO, b"dir"))
    with pytest.raises(RemoteError) as caught:
        names.inodes.drop_inode(DropInode(ino))
    names.abort_rmdir(intent)

    assert caught.value.code == errno.ENOTEMPTY
    assert listed(names) == [b"dir"]
    assert listed(names, ino) == [b"file"]
    assert names.intents.pending() == []


def test_finishing_a_removal_that_was_given_up_removes_nothing(names: Namespace) -> None:
    make_directory(names, b"dir")
    intent = names.begin_rmdir(RemoveDirectory(ROOT_INO, b"dir"))
    names.abort_rmdir(intent)

    names.finish_rmdir(intent)

    assert listed(names) == [b"dir"]


def test_rmdir_refuses_files_and_absent_names(names: Namespace, memory: MemoryRows) -> None:
    create(names, b"file")

    for name, code in ((b"file", errno.ENOTDIR), (b"absent", errno.ENOENT)):
        message = RemoveDirectory(ROOT_INO, name)
        refused(code, names, memory, lambda message=message: names.begin_rmdir(message))


def test_while_a_directory_is_removed_its_name_stays(names: Namespace, memory: MemoryRows) -> None:
    """Otherwise the removal's last step would find another name, and leave one without inode."""
    make_directory(names, b"dir")
    make_directory(names, b"other")
    names.begin_rmdir(RemoveDirectory(ROOT_INO, b"dir"))

    for call in (
        lambda: names.rename(renamed(ROOT_INO, b"dir", ROOT_INO, b"new")),
        lambda: names.rename(renamed(ROOT_INO, b"other", ROOT_INO, b"dir")),
        lambda: names.begin_rmdir(RemoveDirectory(ROOT_INO, b"dir")),
    ):
        refused(Code.NOT_READY, names, memory, call)


def test_a_dropped_directory_is_absent_before_its_name_is_gone(
    names: Namespace, memory: MemoryRows
) -> None:
    ino = make_directory(names, b"dir")
    names.begin_rmdir(RemoveDirectory(ROOT_INO, b"dir"))
    names.inodes.drop_inode(DropInode(ino))

    refused(errno.ENOENT, names, memory, lambda: names.lookup(Lookup(ROOT_INO, b"dir")))
