"""What is known of mounts without mounting anything, and without pyfuse3."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchfs.fuse import mounts
from benchfs.fuse.directories import OpenDirectory

WITHOUT_PYFUSE3 = """
import sys
sys.modules["pyfuse3"] = None
sys.argv = ["benchfs", *sys.argv[1:]]
from benchfs.cli.main import run
run()
"""


def test_without_pyfuse3_mount_says_what_to_install_and_others_work(tmp_path: Path) -> None:
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", WITHOUT_PYFUSE3, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    mount = command("mount", str(tmp_path))
    assert mount.returncode == 1
    assert "libfuse3-dev" in mount.stderr
    assert "benchfs[fuse]" in mount.stderr
    assert command("--version").returncode == 0
    assert "no BenchFS is mounted" in command("umount", str(tmp_path)).stderr


def test_the_last_mount_at_a_path_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "30 1 0:30 / /mnt/a\\040b rw - fuse.benchfs benchfs:x rw\n"
        "31 1 0:31 / /mnt/c rw shared:1 - fuse.benchfs benchfs:x rw\n"
        "32 1 0:32 / /mnt/c rw - tmpfs tmpfs rw\n"
    )
    monkeypatch.setattr(mounts, "TABLE", table)
    assert mounts.is_mounted(Path("/mnt/a b"))
    assert not mounts.is_mounted(Path("/mnt/c"))
    assert not mounts.is_mounted(Path("/mnt/d"))


def test_each_path_has_a_record_of_its_own() -> None:
    paths = [Path("/mnt/a"), Path("/mnt-a"), Path("/mnt/a/" + "b" * 3000)]
    records = {mounts.record(path) for path in paths}
    assert len(records) == 3
    assert all(len(record.log.name) < 255 for record in records)


def test_a_mount_point_is_not_looked_into(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert mounts.canonical(tmp_path / "link" / "mnt") == tmp_path / "real" / "mnt"


class Named:
    def __init__(self, name: bytes) -> None:
        self.name = name


class Inodes:
    """A directory that changes while it is listed."""

    def __init__(self, *names: bytes) -> None:
        self.names = set(names)

    async def entries(self, ino: int, after: bytes) -> AsyncIterator[tuple[Named, bytes]]:
        for name in sorted(self.names):
            if name > after and name in self.names:
                yield Named(name), name


async def take(directory: OpenDirectory, cookie: int, count: int) -> tuple[list[bytes], int]:
    taken = []
    while len(taken) < count and (found := await directory.next(cookie)) is not None:
        taken.append(found[0])
        cookie = directory.taken()
    return taken, cookie


async def test_a_cookie_goes_on_after_its_name_whatever_came_and_went() -> None:
    inodes = Inodes(b"a", b"b", b"c", b"d", b"e")
    directory = OpenDirectory(inodes, 1)  # type: ignore[arg-type]  # all that is asked of it
    assert await take(directory, 0, 3) == ([b"a", b"b", b"c"], 3)
    inodes.names -= {b"a", b"c"}
    inodes.names |= {b"aa", b"cc"}
    assert await take(directory, 2, 9) == ([b"cc", b"d", b"e"], 5)
    assert await take(directory, 0, 9) == ([b"aa", b"b", b"cc", b"d", b"e"], 5)


async def test_an_entry_that_did_not_fit_comes_with_the_next_reply() -> None:
    directory = OpenDirectory(Inodes(b"a", b"b"), 1)  # type: ignore[arg-type]
    taken, cookie = await take(directory, 0, 1)
    assert taken == [b"a"]
    refused = await directory.next(cookie)
    assert refused is not None
    assert refused[0] == b"b"
    assert await take(directory, cookie, 9) == ([b"b"], 2)
    assert await directory.next(2) is None
