"""Each errno that docs/SEMANTICS.md promises for an operation is tested, here or elsewhere."""

from __future__ import annotations

import errno
import itertools
import os
import re
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import benchfs
from benchfs.errors import BenchFSError

ROOT = Path(__file__).parents[2]
LONG = "n" * 256


class Case(NamedTuple):
    """`ask` is given a client and a directory with the things that `place` makes."""

    operation: str
    code: int
    ask: Callable[[benchfs.AsyncClient, str], Awaitable[object]]


CASES = [
    # what every operation can say of its path
    *[
        Case("path", code, ask)
        for code, path in (
            (errno.ENOENT, "/none"),
            (errno.ENOENT, "/none/x"),
            (errno.ENOENT, "/to-none"),
            (errno.ENOTDIR, "/file/x"),
            (errno.ENOTDIR, "/file/"),
            (errno.ENOTDIR, "/file/."),
            (errno.ELOOP, "/loop"),
            (errno.ELOOP, "/loop/x"),
            (errno.ENAMETOOLONG, f"/{LONG}"),
            (errno.ENAMETOOLONG, f"/{LONG}/x"),
            (errno.ENAMETOOLONG, "/x" * 2100),
            (errno.ENOENT, f"/none/{LONG}"),
            (errno.ENOTDIR, f"/file/{LONG}"),
        )
        for ask in (
            lambda fs, at, path=path: fs.stat(at + path),
            lambda fs, at, path=path: fs.open(at + path),
            lambda fs, at, path=path: fs.listdir(at + path),
            lambda fs, at, path=path: fs.chmod(at + path, 0o600),
            lambda fs, at, path=path: fs.truncate(at + path, 1),
            lambda fs, at, path=path: fs.listxattr(at + path),
        )
    ],
    Case("path", errno.ENOENT, lambda fs, at: fs.stat("")),
    Case("open", errno.ELOOP, lambda fs, at: fs.open(f"{at}/to-file", follow_symlinks=False)),
    Case("open", errno.EISDIR, lambda fs, at: fs.open(f"{at}/full")),
    Case("open", errno.EISDIR, lambda fs, at: fs.open(f"{at}/full", "wb")),
    Case("open", errno.EISDIR, lambda fs, at: fs.open(f"{at}/new/", "wb")),
    Case("open", errno.EEXIST, lambda fs, at: fs.open(f"{at}/file", "xb")),
    Case("open", errno.EEXIST, lambda fs, at: fs.open(f"{at}/to-none", "xb")),
    Case("open", errno.EEXIST, lambda fs, at: fs.open(f"{at}/full/.", "xb")),
    Case("open", errno.EOPNOTSUPP, lambda fs, at: fs.open(f"{at}/fifo")),
    Case("open", errno.ENXIO, lambda fs, at: fs.open(f"{at}/socket")),
    Case("mkdir", errno.EEXIST, lambda fs, at: fs.mkdir(f"{at}/file")),
    Case("mkdir", errno.EEXIST, lambda fs, at: fs.mkdir(f"{at}/to-none")),
    Case("mkdir", errno.EEXIST, lambda fs, at: fs.mkdir(f"{at}/full/..")),
    Case("mkdir", errno.EEXIST, lambda fs, at: fs.mkdir("/")),
    Case("rmdir", errno.ENOTEMPTY, lambda fs, at: fs.rmdir(f"{at}/full")),
    Case("rmdir", errno.ENOTEMPTY, lambda fs, at: fs.rmdir(f"{at}/empty/..")),
    Case("rmdir", errno.ENOTDIR, lambda fs, at: fs.rmdir(f"{at}/file")),
    Case("rmdir", errno.ENOTDIR, lambda fs, at: fs.rmdir(f"{at}/to-empty/")),
    Case("rmdir", errno.EINVAL, lambda fs, at: fs.rmdir(f"{at}/empty/.")),
    Case("rmdir", errno.EBUSY, lambda fs, at: fs.rmdir("/")),
    Case("unlink", errno.EISDIR, lambda fs, at: fs.unlink(f"{at}/empty")),
    Case("unlink", errno.ENOTDIR, lambda fs, at: fs.unlink(f"{at}/to-empty/")),
    Case("scandir", errno.ENOTDIR, lambda fs, at: fs.listdir(f"{at}/file")),
    Case(
        "chmod",
        errno.EOPNOTSUPP,
        lambda fs, at: fs.chmod(f"{at}/to-file", 0, follow_symlinks=False),
    ),
    Case("access", errno.EINVAL, lambda fs, at: fs.access(f"{at}/file", 8)),
    Case("truncate", errno.EISDIR, lambda fs, at: fs.truncate(f"{at}/full", 0)),
    Case("truncate", errno.EINVAL, lambda fs, at: fs.truncate(f"{at}/fifo", 0)),
    Case("truncate", errno.EINVAL, lambda fs, at: fs.truncate(f"{at}/socket", 0)),
    Case("truncate", errno.EINVAL, lambda fs, at: fs.truncate(f"{at}/file", -1)),
    Case("symlink", errno.EEXIST, lambda fs, at: fs.symlink("x", f"{at}/file")),
    Case("symlink", errno.EEXIST, lambda fs, at: fs.symlink("x", f"{at}/full/")),
    Case("symlink", errno.ENOENT, lambda fs, at: fs.symlink("", f"{at}/new")),
    Case("symlink", errno.ENOENT, lambda fs, at: fs.symlink("x", f"{at}/new/")),
    Case("symlink", errno.EINVAL, lambda fs, at: fs.symlink("a\0b", f"{at}/new")),
    Case("symlink", errno.ENAMETOOLONG, lambda fs, at: fs.symlink("x" * 4096, f"{at}/new")),
    Case("readlink", errno.EINVAL, lambda fs, at: fs.readlink(f"{at}/file")),
    Case("link", errno.EEXIST, lambda fs, at: fs.link(f"{at}/file", f"{at}/full")),
    Case("link", errno.EPERM, lambda fs, at: fs.link(f"{at}/full", f"{at}/new")),
    Case("mkfifo", errno.EEXIST, lambda fs, at: fs.mkfifo(f"{at}/file")),
    Case("mkfifo", errno.ENOENT, lambda fs, at: fs.mkfifo(f"{at}/new/")),
    Case("mknod", errno.EEXIST, lambda fs, at: fs.mknod(f"{at}/full/")),
    Case("mknod", errno.ENOENT, lambda fs, at: fs.mknod(f"{at}/new/")),
    Case("mknod", errno.EPERM, lambda fs, at: fs.mknod(f"{at}/new", stat.S_IFBLK | 0o600)),
    Case("mknod", errno.EINVAL, lambda fs, at: fs.mknod(f"{at}/new", stat.S_IFDIR | 0o600)),
    Case("rename", errno.ENOENT, lambda fs, at: fs.rename(f"{at}/none", f"{at}/new")),
    Case("rename", errno.ENOENT, lambda fs, at: fs.rename(f"{at}/file", f"{at}/none/new")),
    Case(
        "rename", errno.ENOENT, lambda fs, at: fs.rename(f"{at}/file", f"{at}/none", exchange=True)
    ),
    Case(
        "rename", errno.EEXIST, lambda fs, at: fs.rename(f"{at}/file", f"{at}/fifo", replace=False)
    ),
    Case("rename", errno.EISDIR, lambda fs, at: fs.rename(f"{at}/file", f"{at}/empty")),
    Case("rename", errno.ENOTDIR, lambda fs, at: fs.rename(f"{at}/empty", f"{at}/file")),
    Case("rename", errno.ENOTDIR, lambda fs, at: fs.rename(f"{at}/file", f"{at}/new/")),
    Case("rename", errno.ENOTEMPTY, lambda fs, at: fs.rename(f"{at}/empty", f"{at}/full")),
    Case("rename", errno.EINVAL, lambda fs, at: fs.rename(f"{at}/full", f"{at}/full/x")),
    Case("rename", errno.EBUSY, lambda fs, at: fs.rename("/", f"{at}/x")),
    Case("rename", errno.EBUSY, lambda fs, at: fs.rename(f"{at}/full/.", f"{at}/x")),
    Case("getxattr", errno.ENODATA, lambda fs, at: fs.getxattr(f"{at}/file", "user.none")),
    Case("getxattr", errno.ENODATA, lambda fs, at: fs.getxattr(f"{at}/fifo", "user.a")),
    Case("removexattr", errno.ENODATA, lambda fs, at: fs.removexattr(f"{at}/file", "user.none")),
    Case("removexattr", errno.EPERM, lambda fs, at: fs.removexattr(f"{at}/fifo", "user.a")),
    Case(
        "setxattr",
        errno.EEXIST,
        lambda fs, at: fs.setxattr(f"{at}/file", "user.a", b"", os.XATTR_CREATE),
    ),
    Case(
        "setxattr",
        errno.ENODATA,
        lambda fs, at: fs.setxattr(f"{at}/file", "user.none", b"", os.XATTR_REPLACE),
    ),
    Case(
        "setxattr", errno.E2BIG, lambda fs, at: fs.setxattr(f"{at}/file", "user.b", bytes(65_537))
    ),
    Case(
        "setxattr", errno.ENOSPC, lambda fs, at: fs.setxattr(f"{at}/file", "user.b", bytes(65_536))
    ),
    Case("setxattr", errno.EPERM, lambda fs, at: fs.setxattr(f"{at}/fifo", "user.a", b"")),
    Case(
        "setxattr",
        errno.EPERM,
        lambda fs, at: fs.setxattr(f"{at}/to-file", "user.a", b"", follow_symlinks=False),
    ),
    Case("all of xattr", errno.EOPNOTSUPP, lambda fs, at: fs.getxattr(f"{at}/file", "trusted.a")),
    Case("all of xattr", errno.EOPNOTSUPP, lambda fs, at: fs.setxattr(f"{at}/file", "a", b"")),
    Case("all of xattr", errno.ERANGE, lambda fs, at: fs.getxattr(f"{at}/file", f"user.{LONG}")),
    Case("all of xattr", errno.EINVAL, lambda fs, at: fs.getxattr(f"{at}/file", "user.")),
    Case("all of xattr", errno.EINVAL, lambda fs, at: fs.setxattr(f"{at}/file", "user.b", b"", 3)),
]

# (operation, mode of opening, errno, what is done)
OPEN_FILES: list[tuple[str, str, int, Callable[[benchfs.AsyncFile], Awaitable[object]]]] = [
    ("read", "wb", errno.EBADF, lambda file: file.read(1)),
    ("read", "ab", errno.EBADF, lambda file: file.pread(1, 0)),
    ("write", "rb", errno.EBADF, lambda file: file.write(b"1")),
    ("write", "rb", errno.EBADF, lambda file: file.pwrite(b"1", 0)),
    ("truncate of an open file", "rb", errno.EBADF, lambda file: file.truncate(0)),
    ("read", "rb", errno.EINVAL, lambda file: file.pread(1, -1)),
    ("write", "r+b", errno.EINVAL, lambda file: file.pwrite(b"1", -1)),
    ("truncate of an open file", "r+b", errno.EINVAL, lambda file: file.truncate(-1)),
    ("write", "r+b", errno.EFBIG, lambda file: file.pwrite(b"1", 2**60)),
    ("seek", "rb", errno.EINVAL, lambda file: file.seek(-1)),
    ("seek", "rb", errno.ENXIO, lambda file: file.seek(1 << 40, os.SEEK_DATA)),
    ("fallocate", "rb", errno.EBADF, lambda file: file.fallocate(0, 1)),
    ("fallocate", "r+b", errno.EINVAL, lambda file: file.fallocate(0, 0)),
    ("fallocate", "r+b", errno.EFBIG, lambda file: file.fallocate(2**60, 1)),
]

# What is tested where who asks, or what befell the node, is what the test is about.
PERMISSIONS = "cluster/test_permissions.py"
OF_FILES = "cluster/test_file_permissions.py"
ELSEWHERE = {
    (PERMISSIONS, "test_making_and_removing_need_the_directorys_write_permission"): ["path EACCES"],
    (OF_FILES, "test_attributes_are_changed_by_their_owner"): [
        "chmod EPERM",
        "chown EPERM",
        "utime EPERM",
        "utime EACCES",
    ],
    (PERMISSIONS, "test_in_a_sticky_directory_everybody_removes_his_own"): [
        "unlink EPERM",
        "rmdir EPERM",
        "rename EPERM",
    ],
    ("cluster/test_who_is_who.py", "test_what_nodes_ask_one_another_is_refused_to_clients"): [
        "requests between nodes EPERM"
    ],
    (OF_FILES, "test_reading_and_writing_need_the_files_permission"): ["truncate EACCES"],
    (OF_FILES, "test_chunks_are_for_those_who_opened_the_file_like_that"): [
        "bytes of a chunk EACCES"
    ],
    ("unit/test_links.py", "test_a_file_has_no_more_names_than_the_limit"): ["link EMLINK"],
    ("unit/test_links.py", "test_an_open_file_without_names_gets_no_new_one"): ["link ENOENT"],
    ("unit/test_opens.py", "test_a_node_holds_a_limited_number_of_files"): ["open ENFILE"],
    ("cluster/test_open_files.py", "test_one_client_opens_a_limited_number_of_files"): [
        "open EMFILE"
    ],
    ("cluster/test_open_files.py", "test_a_handle_whose_lease_ended_says_that_its_file_is_gone"): [
        "read ESTALE",
        "write ESTALE",
        "stat of an open file ESTALE",
    ],
    ("cluster/test_locks.py", "test_a_client_that_stood_still_is_told_that_its_locks_are_lost"): [
        "read ENOLCK",
        "write ENOLCK",
        "stat of an open file ENOLCK",
        "lock ENOLCK",
        "flock ENOLCK",
    ],
    (
        "cluster/test_open_files.py",
        "test_a_cancelled_write_that_was_sending_what_others_wrote_is_not_forgotten",
    ): ["write ECANCELED"],
    ("fault/test_nodes.py", "test_a_full_disk_refuses_new_data_and_keeps_the_old"): [
        "write ENOSPC",
        "copy_file_range ENOSPC",
    ],
    ("cluster/test_sparse_files.py", "test_more_than_the_disk_has_cannot_be_allocated"): [
        "fallocate ENOSPC"
    ],
    ("contract/chunks/test_shaping.py", "test_a_file_system_that_cannot_allocate_says_so"): [
        "fallocate EOPNOTSUPP"
    ],
    ("cluster/test_copy_range.py", "test_what_cannot_be_copied_is_refused"): [
        "copy_file_range EBADF",
        "copy_file_range EFBIG",
        "copy_file_range EXDEV",
    ],
    ("cluster/test_copy_range.py", "test_within_a_file_only_ranges_apart_are_copied"): [
        "copy_file_range EINVAL"
    ],
    ("cluster/test_locks.py", "test_ranges_exclude_each_other_where_they_overlap"): [
        "lock EAGAIN",
    ],
    ("cluster/test_locks.py", "test_flock_and_ranges_have_nothing_to_do_with_each_other"): [
        "flock EAGAIN",
    ],
    ("cluster/test_locks.py", "test_clients_that_wait_for_each_other_are_told"): [
        "lock EDEADLK",
        "flock EDEADLK",
    ],
    ("cluster/test_locks.py", "test_locks_that_make_no_sense_are_refused"): [
        "lock EBADF",
        "flock EBADF",
        "lock EINVAL",
        "flock EINVAL",
    ],
    ("cluster/test_quotas.py", "test_no_more_inodes_than_the_quota_allows_whatever_they_are"): [
        "open EDQUOT",
        "mkdir EDQUOT",
        "symlink EDQUOT",
        "mkfifo EDQUOT",
        "mknod EDQUOT",
    ],
    ("cluster/test_quota_moves.py", "test_a_file_that_another_quota_has_no_room_for_stays"): [
        "rename EDQUOT"
    ],
    ("cluster/test_quotas.py", "test_writing_more_bytes_is_refused_and_what_was_there_stays"): [
        "write EDQUOT",
        "flush EDQUOT",
        "close EDQUOT",
    ],
    ("cluster/test_quotas.py", "test_appending_and_lengthening_count"): ["truncate EDQUOT"],
    ("cluster/test_quotas.py", "test_allocating_copying_and_syncing_count"): [
        "fsync EDQUOT",
        "fallocate EDQUOT",
        "copy_file_range EDQUOT",
    ],
    (
        "cluster/test_quota_moves.py",
        "test_what_cannot_be_counted_to_another_quota_is_not_renamed",
    ): ["rename EXDEV"],
    ("cluster/test_quota_moves.py", "test_a_hard_link_across_quotas_is_refused"): ["link EXDEV"],
    ("cluster/test_quotas.py", "test_only_the_superuser_sets_quotas"): [
        "set_quota EPERM",
        "clear_quota EPERM",
        "check_quota EPERM",
    ],
    ("cluster/test_quotas.py", "test_a_quota_is_of_a_directory"): [
        "set_quota ENOTDIR",
        "clear_quota ENOTDIR",
    ],
}


numbers = itertools.count()


@pytest.fixture
async def place(fs: benchfs.AsyncClient) -> str:
    """A directory with one thing of each kind."""
    at = f"/{next(numbers)}"
    await fs.makedirs(f"{at}/full/x")
    await fs.mkdir(f"{at}/empty")
    await fs.write_bytes(f"{at}/file", b"content")
    await fs.setxattr(f"{at}/file", "user.a", b"value")
    for name, says in (
        ("to-file", "file"),
        ("to-empty", "empty"),
        ("to-none", "none"),
        ("loop", "loop"),
    ):
        await fs.symlink(says, f"{at}/{name}")
    await fs.mkfifo(f"{at}/fifo")
    await fs.mknod(f"{at}/socket", stat.S_IFSOCK | 0o600)
    return at


async def items(fs: benchfs.AsyncClient, at: str) -> list[tuple[str, int, int]]:
    found = [
        (entry.name, await entry.stat(follow_symlinks=False)) async for entry in fs.scandir(at)
    ]
    return [(name, stat_.st_mode, stat_.st_size) for name, stat_ in found]


def name_of(case: Case) -> str:
    return f"{case.operation}-{errno.errorcode[case.code]}"


@pytest.mark.parametrize("case", CASES, ids=name_of)
async def test_what_fails_has_its_errno_and_changes_nothing(
    fs: benchfs.AsyncClient, place: str, case: Case
) -> None:
    before = await items(fs, place)

    with pytest.raises(BenchFSError) as failure:
        await case.ask(fs, place)

    assert errno.errorcode[failure.value.errno or 0] == errno.errorcode[case.code]
    assert failure.value.operation
    assert await items(fs, place) == before


@pytest.mark.parametrize(("operation", "mode", "code", "act"), OPEN_FILES)
async def test_what_fails_on_an_open_file_has_its_errno(  # noqa: PLR0917 (the parameters)
    fs: benchfs.AsyncClient,
    place: str,
    operation: str,
    mode: str,
    code: int,
    act: Callable[[benchfs.AsyncFile], Awaitable[object]],
) -> None:
    async with await fs.open(f"{place}/file", mode) as file:
        with pytest.raises(BenchFSError) as failure:
            await act(file)
    assert errno.errorcode[failure.value.errno or 0] == errno.errorcode[code]


def promised() -> set[str]:
    """Operation and errno of every row of the tables of errors; a row may go on for the last."""
    found = {f"path {code}" for code in ("ENOENT", "ENOTDIR", "EACCES", "ELOOP", "ENAMETOOLONG")}
    table, operations = False, ""
    for line in (ROOT / "docs/SEMANTICS.md").read_text().splitlines():
        if not line.startswith("|"):
            table = False
            continue
        first, second = [cell.strip() for cell in line.strip("|").split("|")][:2]
        if first in {"operation", "errno"}:
            table, operations = True, "rename" if first == "errno" else ""
            continue
        if first.startswith("---"):
            continue
        if table and first.startswith("`E"):  # the table of rename has no column for it
            first, second = "", first
        if table:
            operations = first or operations
            found |= {
                f"{operation.strip()} {code}"
                for operation in operations.split(",")
                for code in re.findall(r"`(E[A-Z0-9]+)`", second)
            }
    return found


def test_every_promised_errno_is_tested() -> None:
    tested = {f"{case.operation} {errno.errorcode[case.code]}" for case in CASES}
    tested |= {f"{operation} {errno.errorcode[code]}" for operation, _, code, _ in OPEN_FILES}
    for pairs in ELSEWHERE.values():
        tested |= set(pairs)

    assert promised() - {pair.replace("ENOTSUP", "EOPNOTSUPP") for pair in tested} == set()


@pytest.mark.parametrize(("file", "name"), ELSEWHERE)
def test_what_is_tested_elsewhere_is_there(file: str, name: str) -> None:
    assert re.search(rf"def {name}\(", (ROOT / "tests" / file).read_text())
