"""Names in one group: what each operation does, refuses, and leaves behind."""

import errno
from collections.abc import Callable

import msgpack
import pytest

from benchfs.env import FixedEnv, fixed_env
from benchfs.inode import ROOT_INO, FileType, make_ino
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    Attributes,
    Code,
    DropInode,
    EntryRecord,
    LayoutRecord,
    Lookup,
    MakeInode,
    Open,
    OpenReply,
    ReadDirectory,
    ReadDirectoryReply,
    RemoveDirectory,
    Rename,
    RenameHow,
    ReportSize,
    SetAttributes,
    Unlink,
)
from benchfsd import rows
from benchfsd.renaming import RenamingNamespace as Namespace
from benchfsd.rows import Call, Intent, IntentKind
from tests.unit.memory_rows import MemoryRows

LAYOUT = LayoutRecord(chunk_size=65536, first=9, stripe=())
GONE = make_ino(0, 5, 5000)
ELSEWHERE = make_ino(8, 5, 5000)
CALL = Call(b"session-of-16-by", 2, 77)
BODY_LIMIT = 1024 * 1024


@pytest.fixture
def env() -> FixedEnv:
    return fixed_env(1)


@pytest.fixture
def memory() -> MemoryRows:
    return MemoryRows()


@pytest.fixture
def names(memory: MemoryRows, env: FixedEnv) -> Namespace:
    namespace = Namespace(0, memory, env)
    namespace.inodes.format_root(uid=10, gid=20)
    env.clock.advance(1)
    return namespace


def renamed(parent: int, name: bytes, new_parent: int, new_name: bytes) -> Rename:
    """A rename inside this group."""
    return Rename(parent, name, new_parent, new_name, 0, RenameHow.REPLACE)


def create(names: Namespace, name: bytes, parent: int = ROOT_INO) -> Attributes:
    made = names.open(Open(parent, name, True, True, 0o640, 10, 20, LAYOUT)).attributes
    assert made is not None
    return made


def make_directory(names: Namespace, name: bytes, parent: int = ROOT_INO) -> int:
    """A directory whose home is the group of its entry."""
    ino = names.inodes.make_inode(MakeInode(parent, 0o755, 10, 20, 1)).attributes.ino
    names.add_entry(parent, name, ino, FileType.DIRECTORY)
    return ino


def listed(names: Namespace, ino: int = ROOT_INO) -> list[bytes]:
    return [entry.name for entry in names.read_directory(ReadDirectory(ino, b"", 4096)).entries]


def root(names: Namespace) -> Attributes:
    return names.inodes.get(ROOT_INO)


def refused(code: int, names: Namespace, memory: MemoryRows, call: Callable[[], object]) -> None:
    """The call raises this code, and has written nothing."""
    before = memory.snapshot()
    with pytest.raises(RemoteError) as caught:
        call()
    assert caught.value.code == code
    assert memory.snapshot() == before


# ---------------------------------------------------------------------- open and lookup


def test_a_created_file_has_what_was_asked_for(
    names: Namespace, env: FixedEnv, memory: MemoryRows
) -> None:
    reply = names.open(Open(ROOT_INO, b"new", True, False, 0o102644, 5, 6, LAYOUT))

    assert reply.created
    assert reply.type == FileType.FILE
    assert reply.attributes is not None
    now_ns = env.clock.time_ns()
    assert reply.attributes == Attributes(
        ino=reply.ino,
        type=FileType.FILE,
        mode=0o2644,
        nlink=1,
        uid=5,
        gid=6,
        size=0,
        truncation=0,
        atime_ns=now_ns,
        mtime_ns=now_ns,
        ctime_ns=now_ns,
        change=1,
        parent=0,
        entries=0,
        fanout=0,
        layout=LAYOUT,
    )
    assert names.lookup(Lookup(ROOT_INO, b"new")) == (reply.ino, FileType.FILE, reply.attributes, 0)


def test_a_create_shows_in_its_directory(names: Namespace, env: FixedEnv) -> None:
    before = root(names)
    env.clock.advance(1)
    create(names, b"new")

    now_ns = env.clock.time_ns()
    assert root(names) == before._replace(
        mtime_ns=now_ns, ctime_ns=now_ns, change=before.change + 1, entries=1
    )


def test_open_of_what_is_there_changes_nothing(names: Namespace, memory: MemoryRows) -> None:
    made = create(names, b"file")
    before = memory.snapshot()

    for may_create, exclusive in ((False, False), (True, False), (False, True)):
        message = Open(ROOT_INO, b"file", may_create, exclusive, 0o777, 1, 2, LAYOUT)
        reply = names.open(message)
        assert reply == OpenReply(made.ino, FileType.FILE, created=False, attributes=made)

    assert memory.snapshot() == before


def test_open_of_a_directory_says_that_it_is_one(names: Namespace, memory: MemoryRows) -> None:
    ino = make_directory(names, b"dir")

    for may_create in (False, True):
        reply = names.open(Open(ROOT_INO, b"dir", may_create, False, 0o777, 1, 2, LAYOUT))
        assert (reply.ino, reply.type, reply.created) == (ino, FileType.DIRECTORY, False)
    exclusive = Open(ROOT_INO, b"dir", True, True, 0o777, 1, 2, LAYOUT)
    refused(errno.EEXIST, names, memory, lambda: names.open(exclusive))


def test_an_inode_of_another_group_comes_without_attributes(names: Namespace) -> None:
    names.add_entry(ROOT_INO, b"far", ELSEWHERE, FileType.DIRECTORY)

    assert names.lookup(Lookup(ROOT_INO, b"far")) == (ELSEWHERE, FileType.DIRECTORY, None, 0)
    reply = names.open(Open(ROOT_INO, b"far", False, False, 0, 0, 0, LAYOUT))
    assert reply == OpenReply(ELSEWHERE, FileType.DIRECTORY, created=False, attributes=None)


def test_exclusive_create_happens_once(names: Namespace, memory: MemoryRows) -> None:
    create(names, b"file")

    again = Open(ROOT_INO, b"file", True, True, 0o640, 10, 20, LAYOUT)
    refused(errno.EEXIST, names, memory, lambda: names.open(again))


def test_open_without_create_makes_nothing(names: Namespace, memory: MemoryRows) -> None:
    absent = Open(ROOT_INO, b"absent", False, False, 0o640, 10, 20, LAYOUT)
    refused(errno.ENOENT, names, memory, lambda: names.open(absent))


@pytest.mark.parametrize(
    "layout",
    [
        LAYOUT._replace(chunk_size=0),
        LAYOUT._replace(chunk_size=65537),
        LAYOUT._replace(chunk_size=2**31),
    ],
)
def test_an_impossible_layout_is_refused(
    names: Namespace, memory: MemoryRows, layout: LayoutRecord
) -> None:
    message = Open(ROOT_INO, b"new", True, False, 0o640, 10, 20, layout)
    refused(errno.EINVAL, names, memory, lambda: names.open(message))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (b"", errno.EINVAL),
        (b".", errno.EINVAL),
        (b"..", errno.EINVAL),
        (b"a/b", errno.EINVAL),
        (b"a\0b", errno.EINVAL),
        (b"n" * 256, errno.ENAMETOOLONG),
    ],
)
def test_nothing_gets_an_impossible_name(
    names: Namespace, memory: MemoryRows, name: bytes, code: int
) -> None:
    create(names, b"file")
    message = Open(ROOT_INO, name, True, False, 0o640, 10, 20, LAYOUT)

    refused(code, names, memory, lambda: names.open(message))
    refused(code, names, memory, lambda: names.check_absent(ROOT_INO, name))
    refused(code, names, memory, lambda: names.add_entry(ROOT_INO, name, 7, FileType.FILE))
    refused(code, names, memory, lambda: names.rename(renamed(ROOT_INO, b"file", ROOT_INO, name)))
    refused(errno.ENOENT, names, memory, lambda: names.lookup(Lookup(ROOT_INO, name)))
    refused(errno.ENOENT, names, memory, lambda: names.unlink(Unlink(ROOT_INO, name)))


@pytest.mark.parametrize("name", [b"n" * 255, b"\xff\xfe", b" ", b"...", b"-rf", b"\n"])
def test_strange_names_are_kept_byte_for_byte(names: Namespace, name: bytes) -> None:
    made = create(names, name)

    assert listed(names) == [name]
    assert names.lookup(Lookup(ROOT_INO, name)).ino == made.ino


def test_a_setgid_directory_gives_its_group(names: Namespace) -> None:
    names.inodes.set_attributes(SetAttributes(ROOT_INO, 0o2755, None, 77, None, None))

    assert create(names, b"file").gid == 77


OPERATIONS_IN = [
    lambda names, ino: names.lookup(Lookup(ino, b"x")),
    lambda names, ino: names.open(Open(ino, b"x", True, False, 0, 0, 0, LAYOUT)),
    lambda names, ino: names.open(Open(ino, b"x", False, False, 0, 0, 0, LAYOUT)),
    lambda names, ino: names.check_absent(ino, b"x"),
    lambda names, ino: names.add_entry(ino, b"x", 7, FileType.FILE),
    lambda names, ino: names.remove_entry(ino, b"x", 7),
    lambda names, ino: names.unlink(Unlink(ino, b"x")),
    lambda names, ino: names.begin_rmdir(RemoveDirectory(ino, b"x")),
    lambda names, ino: names.rename(renamed(ino, b"x", ROOT_INO, b"y")),
    lambda names, ino: names.rename(renamed(ROOT_INO, b"file", ino, b"y")),
    lambda names, ino: names.read_directory(ReadDirectory(ino, b"", 10)),
]


@pytest.mark.parametrize("operation", OPERATIONS_IN)
def test_a_missing_directory_is_enoent_and_a_file_is_none(
    names: Namespace, memory: MemoryRows, operation: Callable[[Namespace, int], object]
) -> None:
    file = create(names, b"file")

    refused(errno.ENOENT, names, memory, lambda: operation(names, GONE))
    refused(errno.ENOTDIR, names, memory, lambda: operation(names, file.ino))


def test_a_lost_inode_is_an_error_and_not_an_absent_file(
    names: Namespace, memory: MemoryRows
) -> None:
    names.add_entry(ROOT_INO, b"lost", GONE, FileType.FILE)

    refused(errno.EIO, names, memory, lambda: names.lookup(Lookup(ROOT_INO, b"lost")))
    refused(errno.EIO, names, memory, lambda: names.unlink(Unlink(ROOT_INO, b"lost")))


# ------------------------------------------------------------------ entries and unlink


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


# ------------------------------------------------------------------------------- rmdir


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


# ------------------------------------------------------------------------------ rename


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


# ---------------------------------------------------------------------------- listing


def pages(names: Namespace, most: int) -> list[ReadDirectoryReply]:
    found = [names.read_directory(ReadDirectory(ROOT_INO, b"", most))]
    while found[-1].more:
        after = found[-1].entries[-1].name
        found.append(names.read_directory(ReadDirectory(ROOT_INO, after, most)))
    return found


@pytest.mark.parametrize("most", [1, 3, 7, 10, 11, 65535])
def test_pages_hold_each_entry_once_in_order(names: Namespace, most: int) -> None:
    wanted = sorted(b"%d" % number for number in range(10))
    for name in wanted:
        create(names, name)

    found = pages(names, most)

    assert [entry.name for page in found for entry in page.entries] == wanted
    assert all(len(page.entries) == most for page in found[:-1])
    assert len(found) == -(-10 // most)


def test_an_empty_directory_is_one_empty_page(names: Namespace) -> None:
    assert pages(names, 10) == [ReadDirectoryReply((), more=False, searchable=True)]


def test_a_page_of_no_entries_would_never_end(names: Namespace) -> None:
    create(names, b"file")

    assert [len(page.entries) for page in pages(names, 0)] == [1]


def test_entries_come_with_the_attributes_that_are_here(names: Namespace) -> None:
    made = create(names, b"file")
    names.add_entry(ROOT_INO, b"far", ELSEWHERE, FileType.DIRECTORY)

    assert pages(names, 10)[0].entries == (
        EntryRecord(b"far", ELSEWHERE, FileType.DIRECTORY, None, 0),
        EntryRecord(b"file", made.ino, FileType.FILE, made, 0),
    )


def test_a_listing_goes_on_after_a_name_that_is_gone(names: Namespace) -> None:
    for name in (b"a", b"b", b"c"):
        create(names, name)
    first = names.read_directory(ReadDirectory(ROOT_INO, b"", 2))
    names.unlink(Unlink(ROOT_INO, b"b"))

    second = names.read_directory(ReadDirectory(ROOT_INO, b"b", 2))

    assert [entry.name for entry in first.entries + second.entries] == [b"a", b"b", b"c"]


def test_directories_do_not_see_each_others_entries(names: Namespace) -> None:
    one, other = make_directory(names, b"one"), make_directory(names, b"other")
    create(names, b"file", one)

    assert listed(names, one) == [b"file"]
    assert listed(names, other) == []


@pytest.mark.parametrize("stripe", [(), tuple(range(60_000, 64_096))], ids=["plain", "striped"])
def test_a_page_is_no_longer_than_a_body_may_be(
    names: Namespace, memory: MemoryRows, stripe: tuple[int, ...]
) -> None:
    """All fields at their largest, and names of 255 bytes."""
    greatest, big = 2**64 - 1, 2**32 - 1
    largest = Attributes(
        *(0, 1, 0o7777, big, big, big, greatest, big, -(2**63), -(2**63), -(2**63), greatest),
        *(greatest, greatest, 65535, LayoutRecord(2**24, 65535, stripe)),
    )
    count = 200 if stripe else 5000
    directory = root(names)
    for number in range(count):
        ino = make_ino(0, 65535, 2**31 + number)
        memory._values[rows.inode_key(0, ino)] = rows.encode_inode(largest._replace(ino=ino))
        key = rows.entry_key(0, ROOT_INO, b"%0255d" % number)
        memory._values[key] = rows.encode_entry(ino, FileType.FILE)
        memory._keys.append(key)
    names.inodes.put(directory._replace(entries=count))

    found = pages(names, 65535)

    assert sum(len(page.entries) for page in found) == count
    sizes = [len(msgpack.packb((26, *page))) for page in found]
    assert max(sizes) <= 900_000 < BODY_LIMIT
    assert min(sizes[:-1]) > 700_000  # and not needlessly short
