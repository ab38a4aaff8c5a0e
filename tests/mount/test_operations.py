"""What one call at the mount does, and what other clients of the cluster see of it."""

from __future__ import annotations

import errno
import mmap
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import benchfs
from tests.mount.conftest import Mount, run, tool

RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2


def code_of(call: pytest.ExceptionInfo[OSError]) -> int | None:
    return call.value.errno


def inside(place: Path) -> str:
    """The place's path in the cluster."""
    return f"/{place.name}"


def rename_with(flags: int, source: Path, target: Path) -> None:
    """renameat2, which Python does not offer."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    at_cwd = -100
    if libc.renameat2(at_cwd, bytes(source), at_cwd, bytes(target), flags):
        raise OSError(ctypes.get_errno(), "renameat2")


# ----------------------------------------------------------------------- names


def test_what_another_client_made_is_at_the_mount(place: Path, fs: benchfs.Client) -> None:
    fs.makedirs(f"{inside(place)}/a/b")
    fs.write_bytes(f"{inside(place)}/a/b/f", b"content")
    assert (place / "a/b/f").read_bytes() == b"content"
    assert sorted(os.listdir(place / "a")) == ["b"]


def test_what_the_mount_made_another_client_sees(place: Path, fs: benchfs.Client) -> None:
    (place / "d").mkdir()
    (place / "d/f").write_bytes(b"x" * 100_000)
    (place / "s").symlink_to("d/f")
    assert fs.read_bytes(f"{inside(place)}/s") == b"x" * 100_000
    assert fs.stat(f"{inside(place)}/d/f").st_ino == (place / "d/f").stat().st_ino


def test_a_listing_has_every_name_once(place: Path) -> None:
    names = {f"name-{number}" for number in range(1200)}
    for name in names:
        (place / name).touch()
    found = [entry.name for entry in os.scandir(place)]
    assert len(found) == len(names)
    assert set(found) == names


def test_a_listing_goes_on_after_what_was_removed_meanwhile(place: Path) -> None:
    for number in range(2100):
        (place / f"{number:04}").touch()
    found = []
    for entry in os.scandir(place):
        found.append(entry.name)
        os.unlink(entry.path)
    assert found == [f"{number:04}" for number in range(2100)]
    assert os.listdir(place) == []


def test_a_listing_of_the_system_begins_with_the_directory_and_its_parent(place: Path) -> None:
    (place / "d").mkdir()
    (place / "d/f").touch()
    lines = run(tool("ls"), "-afi", place / "d").splitlines()
    found = {line.split()[1]: int(line.split()[0]) for line in lines}
    assert found == {
        ".": (place / "d").stat().st_ino,
        "..": place.stat().st_ino,
        "f": (place / "d/f").stat().st_ino,
    }


def test_a_wide_directory_is_listed_and_its_names_are_found(
    place: Path, fs: benchfs.Client
) -> None:
    fs.mkdir(f"{inside(place)}/wide", wide=True)
    for number in range(50):
        (place / f"wide/{number:02}").write_bytes(b"%d" % number)
    (place / "wide/below").mkdir()
    (place / "wide/below/f").touch()
    assert sorted(os.listdir(place / "wide")) == [*(f"{n:02}" for n in range(50)), "below"]
    assert (place / "wide/33").read_bytes() == b"33"
    assert fs.read_bytes(f"{inside(place)}/wide/33") == b"33"


def test_renames_replace_keep_and_exchange(place: Path) -> None:
    for name in "ab":
        (place / name).write_text(name)
    (place / "d").mkdir()
    with pytest.raises(OSError) as refused:
        rename_with(RENAME_NOREPLACE, place / "a", place / "b")
    assert code_of(refused) == errno.EEXIST
    rename_with(RENAME_EXCHANGE, place / "a", place / "b")
    assert ((place / "a").read_text(), (place / "b").read_text()) == ("b", "a")
    (place / "a").rename(place / "d/a")
    (place / "b").replace(place / "d/a")
    assert (place / "d/a").read_text() == "a"
    assert os.listdir(place) == ["d"]


def test_a_directory_moves_with_what_is_in_it(place: Path) -> None:
    (place / "a/b/c").mkdir(parents=True)
    (place / "a/b/f").write_text("1")
    (place / "x").mkdir()
    (place / "a/b").rename(place / "x/y")
    assert (place / "x/y/f").read_text() == "1"
    with pytest.raises(OSError) as loop:
        (place / "x").rename(place / "x/y/z")
    assert code_of(loop) == errno.EINVAL


def test_links_count_and_symbolic_links_lead(place: Path) -> None:
    (place / "f").write_text("1")
    (place / "d").mkdir()
    os.link(place / "f", place / "d/g")
    assert (place / "f").stat().st_nlink == 2
    (place / "f").unlink()
    assert (place / "d/g").stat().st_nlink == 1
    (place / "s").symlink_to("d/g")
    assert (place / "s").readlink() == Path("d/g")
    assert (place / "s").read_text() == "1"


def test_fifos_and_sockets_work_within_the_host(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(place / "fifo")
    reader = os.open(place / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(place / "fifo", os.O_WRONLY)
    os.write(writer, b"1")
    assert os.read(reader, 1) == b"1"
    os.close(reader)
    os.close(writer)
    monkeypatch.chdir(place)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("socket")
        server.listen()
        client.connect("socket")
    assert stat.S_ISSOCK((place / "socket").stat().st_mode)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda at: (at / "none").read_bytes(), errno.ENOENT),
        (lambda at: (at / "f/x").read_bytes(), errno.ENOTDIR),
        (lambda at: (at / "d").mkdir(), errno.EEXIST),
        (lambda at: (at / "f").open("x"), errno.EEXIST),
        (lambda at: (at / "d").rmdir(), errno.ENOTEMPTY),
        (lambda at: (at / "d").unlink(), errno.EISDIR),
        (lambda at: (at / "f").rmdir(), errno.ENOTDIR),
        (lambda at: (at / ("n" * 256)).touch(), errno.ENAMETOOLONG),
        (lambda at: os.link(at / "d", at / "e"), errno.EPERM),
        (lambda at: os.mknod(at / "dev", stat.S_IFCHR, os.makedev(1, 3)), errno.EPERM),
        (lambda at: os.getxattr(at / "f", "user.none"), errno.ENODATA),
        (lambda at: os.setxattr(at / "f", "user.x", b"1", os.XATTR_REPLACE), errno.ENODATA),
        (lambda at: os.setxattr(at / "f", "trusted.x", b"1"), errno.EOPNOTSUPP),
    ],
)
def test_errors_are_those_of_a_local_file_system(place: Path, call: object, code: int) -> None:
    assert callable(call)
    (place / "f").write_text("1")
    (place / "d").mkdir()
    (place / "d/inside").touch()
    with pytest.raises(OSError) as failed:
        call(place)
    assert code_of(failed) == code


# ----------------------------------------------------------------------- attributes


def test_attributes_are_set_and_seen(place: Path, fs: benchfs.Client) -> None:
    file = place / "f"
    file.write_bytes(b"12345")
    file.chmod(0o640)
    os.utime(file, ns=(1_000_000_001, 2_000_000_002))
    os.truncate(file, 3)
    os.utime(file, ns=(1_000_000_001, 2_000_000_002))
    found = file.stat()
    assert stat.S_IMODE(found.st_mode) == 0o640
    assert (found.st_atime_ns, found.st_mtime_ns) == (1_000_000_001, 2_000_000_002)
    assert found.st_size == 3
    there = fs.stat(f"{inside(place)}/f")
    assert (there.st_mode, there.st_mtime_ns, there.st_size) == (
        found.st_mode,
        found.st_mtime_ns,
        3,
    )


def test_extended_attributes_are_kept(place: Path) -> None:
    file = place / "f"
    file.touch()
    os.setxattr(file, "user.a", b"1")
    os.setxattr(file, "user.b", b"\0" * 1000, os.XATTR_CREATE)
    with pytest.raises(FileExistsError):
        os.setxattr(file, "user.b", b"", os.XATTR_CREATE)
    assert os.getxattr(file, "user.b") == b"\0" * 1000
    assert os.listxattr(file) == ["user.a", "user.b"]
    os.removexattr(file, "user.a")
    assert os.listxattr(file) == ["user.b"]


def test_the_size_counts_what_was_just_written(place: Path) -> None:
    with (place / "f").open("wb", buffering=0) as file:
        for total in range(1000, 10_000, 1000):
            file.write(b"x" * 1000)
            assert os.fstat(file.fileno()).st_size == total
            assert (place / "f").stat().st_size == total


def test_free_space_is_that_of_the_cluster(mount: Mount, fs: benchfs.Client) -> None:
    assert os.statvfs(mount.path).f_blocks == fs.statvfs().f_blocks
    assert os.statvfs(mount.path).f_namemax == 255


# ----------------------------------------------------------------------- contents


def test_handles_of_one_file_see_each_others_writes_at_once(place: Path) -> None:
    one = os.open(place / "f", os.O_RDWR | os.O_CREAT)
    two = os.open(place / "f", os.O_RDWR)
    os.pwrite(one, b"a" * 10_000, 0)
    assert os.pread(two, 20_000, 0) == b"a" * 10_000
    os.pwrite(two, b"b" * 3, 5000)
    assert os.pread(one, 5, 4999) == b"abbba"
    os.ftruncate(one, 5001)
    assert os.pread(two, 100, 4999) == b"ab"
    os.close(one)
    os.close(two)


@pytest.mark.parametrize("flags", [os.O_RDWR, os.O_WRONLY], ids=["by pages", "past pages"])
def test_writers_that_take_turns_far_from_each_other_fill_a_file(
    place: Path, fs: benchfs.Client, flags: int
) -> None:
    size, count, ahead = 47_008, 150, 40  # bytes of a piece: neither pages nor blocks fit
    content = os.urandom(size * count)
    one = os.open(place / "f", flags | os.O_CREAT)
    two = os.open(place / "f", flags)
    for number in range(-ahead, count, 2):
        for descriptor, piece in ((one, number + ahead), (two, number + 1)):
            if 0 <= piece < count:
                start = piece * size
                os.pwrite(descriptor, content[start : start + size], start)
    assert (place / "f").read_bytes() == content
    os.pwrite(one, b"new", 3 * size - 1)
    os.fsync(two)
    with fs.open(f"{inside(place)}/f") as other:
        assert other.read() == content[: 3 * size - 1] + b"new" + content[3 * size + 2 :]
    os.close(one)
    os.close(two)


def test_a_file_without_a_name_is_usable_until_it_is_closed(place: Path) -> None:
    descriptor = os.open(place / "f", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"1" * 100_000)
    os.unlink(place / "f")
    assert os.listdir(place) == []
    os.pwrite(descriptor, b"2", 50_000)
    assert os.pread(descriptor, 3, 49_999) == b"121"
    assert os.fstat(descriptor).st_nlink == 0
    os.close(descriptor)


APPENDER = """
import os, sys
descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
for number in range(200):
    os.write(descriptor, b"%s %03d\\n" % (sys.argv[2].encode(), number))
os.close(descriptor)
"""


def test_what_is_appended_at_the_same_time_is_all_there(place: Path, fs: benchfs.Client) -> None:
    (place / "log").touch()
    command = [sys.executable, "-c", APPENDER, place / "log"]
    writers = [subprocess.Popen([*command, name]) for name in "ab"]
    with fs.open(f"{inside(place)}/log", "ab") as other:
        for number in range(200):
            other.write(b"c %03d\n" % number)
    assert [writer.wait(timeout=100) for writer in writers] == [0, 0]
    lines = (place / "log").read_text().splitlines()
    assert sorted(lines) == [f"{name} {number:03}" for name in "abc" for number in range(200)]


def test_a_shared_mapping_is_written_to_the_file(place: Path, fs: benchfs.Client) -> None:
    (place / "f").write_bytes(bytes(100_000))
    with (place / "f").open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[70_000:70_003] = b"abc"
    assert fs.read_bytes(f"{inside(place)}/f")[69_999:70_004] == b"\0abc\0"


def test_what_another_client_wrote_is_read_at_the_next_opening(
    place: Path, fs: benchfs.Client
) -> None:
    for content in (b"1" * 50_000, b"2" * 50_000, b"3" * 50_000):
        fs.write_bytes(f"{inside(place)}/f", content)
        assert (place / "f").read_bytes() == content
        assert (place / "f").read_bytes() == content


def test_pages_of_a_file_that_only_this_mount_wrote_are_kept(place: Path, mount: Mount) -> None:
    (place / "f").write_bytes(b"1" * 1_000_000)
    assert (place / "f").read_bytes() == b"1" * 1_000_000
    before = reads_of(mount.pid)
    assert (place / "f").read_bytes() == b"1" * 1_000_000
    assert reads_of(mount.pid) - before < 100_000


def reads_of(pid: int) -> int:
    """Bytes that a process wrote to descriptors, replies to the kernel among them."""
    for line in Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith("wchar:"):
            return int(line.split()[1])
    raise AssertionError


def test_holes_read_as_zeros(place: Path) -> None:
    with (place / "f").open("wb") as file:
        file.seek(10_000_000)
        file.write(b"end")
    with (place / "f").open("rb") as file:
        assert file.read(5_000_000) == bytes(5_000_000)
    assert (place / "f").stat().st_size == 10_000_003


# ----------------------------------------------------------------------- users

AS_USER = """
import os, sys
os.chdir(sys.argv[1])
os.setgroups([]); os.setgid(60001); os.setuid(50001)
open("own", "w").close()
os.mkdir("dir")
os.symlink("own", "link")
found = [(s.st_uid, s.st_gid) for s in map(os.lstat, ("own", "dir", "link"))]
assert found == [(50001, 60001)] * 3, found
for attempt in (
    lambda: open("secret"),
    lambda: os.chmod("secret", 0o777),
    lambda: os.unlink("closed/f"),
    lambda: os.chown("own", 0, 0),
):
    try:
        attempt()
    except PermissionError:
        continue
    sys.exit("allowed")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act for another user")
def test_users_own_what_they_make_and_no_more(place: Path, mount: Mount) -> None:
    for directory in (mount.path, place):
        directory.chmod(0o777)
    (place / "secret").write_text("1")
    (place / "secret").chmod(0o600)
    (place / "closed").mkdir(mode=0o755)
    (place / "closed/f").touch()
    done = subprocess.run(
        [sys.executable, "-c", AS_USER, place], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
