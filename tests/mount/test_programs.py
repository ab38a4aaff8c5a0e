"""Programs that know nothing of BenchFS, at a real mount."""

from __future__ import annotations

import filecmp
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mount.conftest import run, tool

GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@b",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@b",
}


def tree(at: Path, seed: int = 1) -> Path:
    """A local tree of files of many sizes, with links."""
    rng = random.Random(seed)
    for number in range(60):
        directory = at / f"d{number % 7}" / f"e{number % 3}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{number}").write_bytes(rng.randbytes(rng.choice([0, 1, 4095, 70_000])))
    (at / "large").write_bytes(rng.randbytes(9_000_001))
    (at / "link").symlink_to("d1/e1")
    os.link(at / "large", at / "d0" / "hard")
    return at


def assert_same(left: Path, right: Path) -> None:
    """The same names, contents and targets of links."""
    compared = filecmp.dircmp(left, right)
    assert not compared.left_only
    assert not compared.right_only
    _, different, failed = filecmp.cmpfiles(left, right, compared.common_files, shallow=False)
    assert not different
    assert not failed
    for name in compared.common_dirs:
        assert_same(left / name, right / name)


def repository(at: Path) -> Path:
    """A local git repository with a pack, loose objects, and a tree of real sources."""
    git = (tool("git"), "-C", at)
    sources = Path(__file__).parents[1] / "cluster"
    shutil.copytree(sources, at, ignore=shutil.ignore_patterns("__pycache__"))
    run(*git, "init", "--quiet", **GIT)
    for step in ("--all", "--update"):
        run(*git, "add", step, **GIT)
        run(*git, "commit", "--quiet", "--message", step, **GIT)
        if step == "--all":
            run(*git, "gc", "--quiet", **GIT)
        for source in at.rglob("*.py"):
            source.write_text(source.read_text() + "# changed\n")
    return at


@pytest.mark.timeout(240)
def test_git_clones_commits_and_finds_nothing_broken(place: Path, tmp_path: Path) -> None:
    git = tool("git")
    clone = place / "clone"
    run(git, "clone", "--quiet", "--no-hardlinks", repository(tmp_path / "origin"), clone, **GIT)
    (clone / "conftest.py").write_text("changed\n")
    run(git, "-C", clone, "commit", "--quiet", "--all", "--message", "m", **GIT)
    run(git, "-C", clone, "gc", "--quiet", **GIT)
    run(git, "-C", clone, "fsck", "--full", "--strict", **GIT)
    assert run(git, "-C", clone, "status", "--porcelain", **GIT) == ""


def test_a_c_program_is_built_with_make(place: Path) -> None:
    make, _ = tool("make"), tool("gcc")
    for number in range(4):
        (place / f"part{number}.c").write_text(f"int part{number}(void) {{ return {number}; }}\n")
    (place / "main.c").write_text(
        "#include <stdio.h>\nint part0(void), part1(void), part2(void), part3(void);\n"
        'int main(void) { printf("%d\\n", part0() + part1() + part2() + part3()); }\n'
    )
    (place / "Makefile").write_text(
        "CC = gcc\nprogram: main.o part0.o part1.o part2.o part3.o\n\t$(CC) -o $@ $^\n"
    )
    run(make, "-j2", cwd=place)
    assert run(place / "program") == "6\n"
    assert "up to date" in run(make, cwd=place)


WRITER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
for number in range(50):
    database.execute("BEGIN IMMEDIATE")
    database.execute("INSERT INTO t VALUES (?, ?)", (sys.argv[2], number))
    database.execute("COMMIT")
"""


@pytest.mark.timeout(240)
def test_sqlite_with_a_write_ahead_log_and_concurrent_writers(place: Path) -> None:
    file = place / "database"
    database = sqlite3.connect(file)
    assert database.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
    database.execute("CREATE TABLE t (writer TEXT, number INTEGER)")
    database.commit()
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, file, str(number)]) for number in range(3)
    ]
    assert [writer.wait(timeout=100) for writer in writers] == [0, 0, 0]
    rows = database.execute("SELECT writer, count(*), sum(number) FROM t GROUP BY 1").fetchall()
    assert rows == [("0", 50, 1225), ("1", 50, 1225), ("2", 50, 1225)]
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_tar_packs_and_unpacks(place: Path, tmp_path: Path) -> None:
    tar = tool("tar")
    source = tree(tmp_path)
    run(tar, "-C", source, "-cf", place / "archive.tar", ".")
    (place / "out").mkdir()
    run(tar, "-C", place / "out", "-xf", place / "archive.tar")
    assert_same(source, place / "out")
    assert (place / "out/large").stat().st_nlink == 2
    assert (place / "out/link").readlink() == Path("d1/e1")
    run(tar, "-C", place / "out", "-df", place / "archive.tar")


def test_rsync_copies_nothing_the_second_time(place: Path, tmp_path: Path) -> None:
    rsync = tool("rsync")
    source = tree(tmp_path)
    run(rsync, "-aH", f"{source}/", f"{place}/copy/")
    assert_same(source, place / "copy")
    second = run(rsync, "-aH", "--itemize-changes", "--stats", f"{source}/", f"{place}/copy/")
    assert re.search(r"Number of regular files transferred: 0\b", second), second
    assert not [line for line in second.splitlines() if re.match(r"[<>ch.*]f", line)], second


def test_numpy_maps_a_file_shared_and_writable(place: Path) -> None:
    numpy = pytest.importorskip("numpy", reason="needs numpy (the extra bench)")
    file = place / "array"
    written = numpy.memmap(file, dtype="int64", mode="w+", shape=(1000, 1000))
    written[:] = numpy.arange(1_000_000).reshape(1000, 1000)
    written.flush()
    other = numpy.memmap(file, dtype="int64", mode="r+", shape=(1000, 1000))
    assert int(other.sum()) == 499_999_500_000
    other[500, 500] = -1
    assert written[500, 500] == -1
    other.flush()
    del written, other
    assert numpy.fromfile(file, dtype="int64")[500_500] == -1


def test_an_editor_saves_by_renaming_a_new_file_over_the_old(place: Path) -> None:
    file, new, backup = place / "text", place / ".text.new", place / "text~"
    file.write_text("one\n")
    for round_ in range(20):
        with new.open("w") as handle:
            handle.write(f"round {round_}\n")
            handle.flush()
            os.fsync(handle.fileno())
        backup.unlink(missing_ok=True)
        os.link(file, backup)
        new.rename(file)
        assert file.read_text() == f"round {round_}\n"
        assert (backup.read_text() == f"round {round_ - 1}\n") or round_ == 0
    assert sorted(path.name for path in place.iterdir()) == ["text", "text~"]


def test_vim_saves_a_file(place: Path) -> None:
    vim = tool("vim")
    file = place / "text"
    file.write_text("one\n")
    run(vim, "-e", "-s", "-u", "NONE", "-c", "set backup", "-c", "normal Gotwo", "-c", "wq", file)
    assert file.read_text() == "one\ntwo\n"


def test_pytest_of_a_small_project(place: Path) -> None:
    (place / "code.py").write_text("def double(x):\n    return 2 * x\n")
    (place / "test_code.py").write_text(
        "from code_ import double\n\n\ndef test_double(tmp_path):\n    assert double(2) == 4\n"
    )
    (place / "code.py").rename(place / "code_.py")
    (place / "pytest.ini").write_text("[pytest]\n")
    output = run(
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:randomly",
        "--basetemp",
        place / "tmp",
        cwd=place,
    )
    assert "1 passed" in output
    assert (place / ".pytest_cache").is_dir()
