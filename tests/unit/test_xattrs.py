"""Extended attributes of inodes: names, limits, flags and rights."""

import errno
from collections.abc import Callable

import pytest

from benchfs.env import FixedEnv, fixed_env
from benchfs.inode import ROOT_INO, FileType
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    GetXattr,
    LayoutRecord,
    ListXattrs,
    MakeSpecial,
    Open,
    RemoveXattr,
    SetAttributes,
    SetXattr,
)
from benchfsd.links import Links
from benchfsd.namespace import Namespace
from benchfsd.rights import SUPERUSER, User
from benchfsd.xattrs import CREATE, REPLACE, TOTAL_BYTES, VALUE_BYTES, Xattrs
from tests.unit.memory_rows import MemoryRows

OWNER, OTHER = User(10, 20, ()), User(11, 21, ())


class Table:
    """The attributes of one file, and the rows under them."""

    def __init__(self) -> None:
        self.env: FixedEnv = fixed_env(1)
        self.rows = MemoryRows()
        self.names = Namespace(0, self.rows, self.env)
        self.names.inodes.format_root(10, 20)
        layout = LayoutRecord(65536, 0, ())
        self.ino = self.names.open(Open(ROOT_INO, b"f", True, True, 0o644, 10, 20, layout)).ino
        self.xattrs = Xattrs(self.names.inodes, self.rows, self.env)

    def set(self, name: bytes, value: bytes, flags: int = 0, user: User | None = SUPERUSER) -> None:
        self.xattrs.set(SetXattr(self.ino, name, value, flags), user)

    def get(self, name: bytes, user: User | None = SUPERUSER) -> bytes:
        return self.xattrs.get(GetXattr(self.ino, name), user).value

    def remove(self, name: bytes, user: User | None = SUPERUSER) -> None:
        self.xattrs.remove(RemoveXattr(self.ino, name), user)

    def names_of(self) -> tuple[bytes, ...]:
        return self.xattrs.list(ListXattrs(self.ino)).names


@pytest.fixture
def table() -> Table:
    return Table()


def refused(code: int, table: Table, call: Callable[[], object]) -> None:
    """The call raises this code, and has written nothing."""
    before = table.rows.snapshot()
    with pytest.raises(RemoteError) as caught:
        call()
    assert caught.value.code == code
    assert table.rows.snapshot() == before


def test_values_are_kept_under_their_names(table: Table) -> None:
    table.set(b"user.b", b"2")
    table.set(b"user.a", b"")
    table.set(b"user.b", b"\0three")

    assert table.names_of() == (b"user.a", b"user.b")
    assert (table.get(b"user.a"), table.get(b"user.b")) == (b"", b"\0three")
    table.remove(b"user.b")
    assert table.names_of() == (b"user.a",)


def test_the_last_one_takes_its_row_along(table: Table) -> None:
    before = table.rows.snapshot().keys()
    table.set(b"user.a", b"1")

    table.remove(b"user.a")

    assert table.rows.snapshot().keys() == before


def test_a_change_moves_ctime_and_the_change_counter(table: Table) -> None:
    before = table.names.inodes.get(table.ino)
    table.env.clock.advance(1)

    table.set(b"user.a", b"1")

    after = table.names.inodes.get(table.ino)
    assert after == before._replace(ctime_ns=table.env.clock.time_ns(), change=before.change + 1)


def test_flags_say_whether_it_has_to_be_there(table: Table) -> None:
    refused(errno.ENODATA, table, lambda: table.set(b"user.a", b"1", REPLACE))
    table.set(b"user.a", b"1", CREATE)
    refused(errno.EEXIST, table, lambda: table.set(b"user.a", b"2", CREATE))
    table.set(b"user.a", b"2", REPLACE)
    assert table.get(b"user.a") == b"2"
    refused(errno.EINVAL, table, lambda: table.set(b"user.a", b"2", 4))


def test_what_is_not_there_is_enodata(table: Table) -> None:
    refused(errno.ENODATA, table, lambda: table.get(b"user.a"))
    refused(errno.ENODATA, table, lambda: table.remove(b"user.a"))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (b"security.selinux", errno.EOPNOTSUPP),
        (b"trusted.a", errno.EOPNOTSUPP),
        (b"system.posix_acl_access", errno.EOPNOTSUPP),
        (b"plain", errno.EOPNOTSUPP),
        (b"user.", errno.EINVAL),
        (b"user.a\0b", errno.EINVAL),
        (b"user." + b"a" * 251, errno.ERANGE),
    ],
)
def test_names_that_cannot_be_are_refused(table: Table, name: bytes, code: int) -> None:
    refused(code, table, lambda: table.set(name, b"1"))
    refused(code, table, lambda: table.get(name))
    refused(code, table, lambda: table.remove(name))


def test_the_longest_name_and_the_largest_value_are_kept(table: Table) -> None:
    table.set(b"user." + b"a" * 250, b"1")
    refused(errno.E2BIG, table, lambda: table.set(b"user.b", bytes(VALUE_BYTES + 1)))


def test_all_attributes_of_an_inode_share_their_room(table: Table) -> None:
    name = b"user.a"
    table.set(name, bytes(TOTAL_BYTES - len(name)))
    refused(errno.ENOSPC, table, lambda: table.set(b"user.b", b""))
    table.set(name, b"small")
    table.set(b"user.b", b"")


def test_reading_needs_the_right_to_read_and_changing_that_to_write(table: Table) -> None:
    table.set(b"user.a", b"1", user=OWNER)
    assert table.get(b"user.a", OTHER) == b"1"
    refused(errno.EACCES, table, lambda: table.set(b"user.a", b"2", user=OTHER))
    refused(errno.EACCES, table, lambda: table.remove(b"user.a", OTHER))
    table.names.inodes.set_attributes(SetAttributes(table.ino, 0o600, None, None, None, None))
    refused(errno.EACCES, table, lambda: table.get(b"user.a", OTHER))
    assert table.names_of() == (b"user.a",)


def test_those_of_a_sticky_directory_are_its_owners(table: Table) -> None:
    table.ino = ROOT_INO
    table.names.inodes.set_attributes(SetAttributes(ROOT_INO, 0o1777, None, None, None, None))

    refused(errno.EPERM, table, lambda: table.set(b"user.a", b"1", user=OTHER))
    table.set(b"user.a", b"1", user=OWNER)


def test_only_files_and_directories_have_some(table: Table) -> None:
    links = Links(table.names, table.rows, table.env)
    made = links.make_special(MakeSpecial(ROOT_INO, b"p", FileType.FIFO, 0o666, 10, 20))
    table.ino = made.attributes.ino

    refused(errno.EPERM, table, lambda: table.set(b"user.a", b"1"))


def test_a_missing_inode_is_enoent(table: Table) -> None:
    table.ino += 9

    refused(errno.ENOENT, table, lambda: table.set(b"user.a", b"1"))
    refused(errno.ENOENT, table, lambda: table.get(b"user.a"))
    refused(errno.ENOENT, table, table.names_of)
