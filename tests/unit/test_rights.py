"""Who may do what to an inode: owner, group, others, sticky directories, setuid."""

import errno
import stat

import pytest

from benchfs.inode import EXECUTE, READ, WRITE, FileType
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import Attributes, LayoutRecord, SetAttributes
from benchfsd.attributes import changed
from benchfsd.rights import (
    SUPERUSER,
    User,
    may_access,
    may_remove,
    require_access,
    unprivileged,
)
from benchfsd.rows import Rights

OWNER = User(1000, 100, ())
MEMBER = User(1001, 200, (100, 300))
OTHER = User(1002, 200, ())
NOW = 10**18
FILE = Attributes(
    ino=5,
    type=FileType.FILE,
    mode=0o644,
    nlink=1,
    uid=OWNER.uid,
    gid=OWNER.gid,
    size=0,
    truncation=0,
    atime_ns=1,
    mtime_ns=2,
    ctime_ns=3,
    change=4,
    parent=0,
    entries=0,
    fanout=0,
    layout=LayoutRecord(65536, 0, ()),
)


def of_mode(mode: int, file_type: FileType = FileType.FILE) -> Rights:
    return Rights(file_type, mode, OWNER.uid, OWNER.gid)


def asks(**wanted: int | bool | None) -> SetAttributes:
    return SetAttributes(FILE.ino, None, None, None, None, None)._replace(**wanted)


def refused(code: int, inode: Attributes, message: SetAttributes, user: User) -> None:
    with pytest.raises(RemoteError) as caught:
        changed(inode, message, user, NOW)
    assert caught.value.code == code


# -------------------------------------------------------------------------------- access


@pytest.mark.parametrize(
    ("user", "mode", "wanted", "allowed"),
    [
        (OWNER, 0o400, READ, True),
        (OWNER, 0o077, READ, False),  # the owner's class decides, though others may
        (OWNER, 0o200, READ | WRITE, False),
        (MEMBER, 0o040, READ, True),
        (MEMBER, 0o404, READ, False),  # a member of the group is not one of the others
        (OTHER, 0o004, READ, True),
        (OTHER, 0o660, READ, False),
        (OTHER, 0o001, EXECUTE, True),
        (OTHER, 0o000, 0, True),
        (SUPERUSER, 0o000, READ | WRITE, True),
        (SUPERUSER, 0o000, EXECUTE, False),
        (SUPERUSER, 0o010, EXECUTE, True),
    ],
)
def test_the_first_class_that_fits_decides(
    user: User | None, mode: int, wanted: int, allowed: bool
) -> None:
    assert may_access(of_mode(mode), user, wanted) is allowed


def test_the_superuser_may_search_every_directory() -> None:
    assert may_access(of_mode(0, FileType.DIRECTORY), SUPERUSER, EXECUTE)


def test_a_denial_is_eacces_and_says_why() -> None:
    with pytest.raises(RemoteError, match="mode 0600 of owner 1000") as caught:
        require_access(of_mode(0o600), OTHER, READ, b"name")

    assert caught.value.code == errno.EACCES
    assert caught.value.path == b"name"


@pytest.mark.parametrize(
    ("user", "mode", "victim", "allowed"),
    [
        (OTHER, 0o0777, OWNER.uid, True),
        (OTHER, 0o1777, MEMBER.uid, False),
        (OTHER, 0o1777, OTHER.uid, True),
        (OWNER, 0o1777, MEMBER.uid, True),  # the directory is his
        (SUPERUSER, 0o1777, MEMBER.uid, True),
    ],
)
def test_in_a_sticky_directory_only_owners_remove(
    user: User | None, mode: int, victim: int, allowed: bool
) -> None:
    assert may_remove(of_mode(mode, FileType.DIRECTORY), victim, user) is allowed


@pytest.mark.parametrize(
    ("mode", "left"), [(0o4755, 0o755), (0o2775, 0o775), (0o2644, 0o2644), (0o7777, 0o1777)]
)
def test_privileges_go_but_a_lock_mark_stays(mode: int, left: int) -> None:
    assert unprivileged(mode) == left


# --------------------------------------------------------------------------------- chmod


def test_chmod_is_the_owners_and_the_superusers() -> None:
    assert changed(FILE, asks(mode=0o600), OWNER, NOW).mode == 0o600
    assert changed(FILE, asks(mode=0o600), SUPERUSER, NOW).mode == 0o600
    refused(errno.EPERM, FILE, asks(mode=0o600), MEMBER)


def test_chmod_moves_ctime_and_the_change_counter() -> None:
    after = changed(FILE, asks(mode=0o600), OWNER, NOW)

    assert after == FILE._replace(mode=0o600, ctime_ns=NOW, change=FILE.change + 1)


def test_chmod_gives_no_setgid_for_a_group_one_is_not_in() -> None:
    foreign = FILE._replace(gid=999)

    assert changed(foreign, asks(mode=0o2755), OWNER, NOW).mode == 0o755
    assert changed(foreign, asks(mode=0o2755), SUPERUSER, NOW).mode == 0o2755
    assert changed(FILE, asks(mode=0o2755), OWNER, NOW).mode == 0o2755


def test_a_symbolic_link_has_no_mode_to_change() -> None:
    link = FILE._replace(type=FileType.SYMLINK)

    refused(errno.EOPNOTSUPP, link, asks(mode=0o600), OWNER)


# --------------------------------------------------------------------------------- chown


def test_only_the_superuser_gives_files_away() -> None:
    assert changed(FILE, asks(uid=7), SUPERUSER, NOW).uid == 7
    refused(errno.EPERM, FILE, asks(uid=7), OWNER)
    assert changed(FILE, asks(uid=OWNER.uid), OWNER, NOW).uid == OWNER.uid


def test_the_owner_gives_a_file_to_groups_he_is_in() -> None:
    owner = OWNER._replace(groups=(300,))

    assert changed(FILE, asks(gid=300), owner, NOW).gid == 300
    refused(errno.EPERM, FILE, asks(gid=301), owner)
    refused(errno.EPERM, FILE, asks(gid=300), MEMBER)


def test_chown_takes_setuid_and_setgid_from_files_only() -> None:
    powerful = FILE._replace(mode=0o6755)
    directory = powerful._replace(type=FileType.DIRECTORY)

    assert changed(powerful, asks(gid=OWNER.gid), OWNER, NOW).mode == 0o755
    assert changed(powerful, asks(uid=7), SUPERUSER, NOW).mode == 0o755
    assert changed(directory, asks(uid=7), SUPERUSER, NOW).mode == 0o6755


# --------------------------------------------------------------------------------- utime


def test_times_are_set_to_the_nanosecond_by_the_owner() -> None:
    after = changed(FILE, asks(atime_ns=123_456_789, mtime_ns=-1), OWNER, NOW)

    assert (after.atime_ns, after.mtime_ns, after.ctime_ns) == (123_456_789, -1, NOW)
    refused(errno.EPERM, FILE, asks(atime_ns=1), MEMBER)


def test_a_time_that_is_omitted_stays() -> None:
    after = changed(FILE, asks(mtime_ns=9), OWNER, NOW)

    assert (after.atime_ns, after.mtime_ns) == (FILE.atime_ns, 9)


def test_who_may_write_may_set_both_times_to_now() -> None:
    both = asks(atime_now=True, mtime_now=True)
    shared = FILE._replace(mode=0o664)

    after = changed(shared, both, MEMBER, NOW)

    assert (after.atime_ns, after.mtime_ns) == (NOW, NOW)
    refused(errno.EACCES, FILE, both, MEMBER)
    refused(errno.EPERM, shared, asks(mtime_now=True), MEMBER)


def test_nothing_asked_for_is_nothing_changed_whoever_asks() -> None:
    assert changed(FILE, asks(), OTHER, NOW) is FILE


def test_the_type_bits_of_a_mode_are_not_kept() -> None:
    assert changed(FILE, asks(mode=stat.S_IFREG & 0xFFFF | 0o640), OWNER, NOW).mode == 0o640
