"""Open, create and look up: what a name gives, and what gets none."""

import errno
from collections.abc import Callable

import pytest

from benchfs.env import FixedEnv
from benchfs.inode import ROOT_INO, FileType
from benchfs.rpc.messages import (
    Attributes,
    LayoutRecord,
    Lookup,
    Open,
    OpenReply,
    ReadDirectory,
    RemoveDirectory,
    SetAttributes,
    Unlink,
)
from benchfsd.namespace import NOTHING
from benchfsd.renaming import RenamingNamespace as Namespace
from tests.unit.memory_rows import MemoryRows
from tests.unit.namespace.group import (
    ELSEWHERE,
    GONE,
    LAYOUT,
    create,
    listed,
    make_directory,
    refused,
    renamed,
    root,
)


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
    assert names.lookup(Lookup(ROOT_INO, name)) == NOTHING
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
