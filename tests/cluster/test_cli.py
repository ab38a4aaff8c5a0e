"""The `benchfs` command as people use it: real processes, exit statuses, JSON."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchfs import Client, instancedir


def benchfs(
    *arguments: str | bytes, status: int = 0, umask: int = -1
) -> subprocess.CompletedProcess[bytes]:
    """Run the command, and hold its exit status against what is expected."""
    done = subprocess.run(
        [sys.executable, "-m", "benchfs.cli.main", *arguments],
        capture_output=True,
        umask=umask,
        timeout=100,
        check=False,
    )
    assert done.returncode == status, (arguments, done.stdout, done.stderr)
    return done


def document(*arguments: str, status: int = 0) -> object:
    return json.loads(benchfs(*arguments, "--json", status=status).stdout)


@pytest.fixture(scope="module")
def instance() -> Iterator[str]:
    url = benchfs("up", "--nodes", "2").stdout.decode().strip()
    yield url
    benchfs("down")


@pytest.fixture(autouse=True)
def _empty(instance: str) -> Iterator[None]:
    yield
    with Client(instance) as fs:
        fs.rmtree("/")


def test_a_tree_goes_in_and_comes_out_unchanged(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/large").write_bytes(os.urandom(5 << 20))
    (tree / "a/small").write_bytes(b"small")
    (tree / "a/small").chmod(0o751)
    os.utime(tree / "a/small", ns=(1_500_000_000_123_456_789, 1_400_000_000_123_456_789))
    (tree / "empty").touch()
    (tree / "link").symlink_to("a/small")
    put = document("put", "-r", "--verify", str(tree), "/tree")
    assert put["files"] == 4
    assert put["failures"] == []
    back = tmp_path / "back"
    document("get", "-r", "--verify", "/tree", str(back))
    for path in ("a/b/large", "a/small", "empty", "link"):
        assert (back / path).read_bytes() == (tree / path).read_bytes()
    found = (back / "a/small").stat()
    assert found.st_mode & 0o777 == 0o751
    assert found.st_mtime_ns == 1_400_000_000_123_456_789
    assert not list(back.rglob("*.benchfs-part"))


def test_what_cannot_be_put_is_reported_and_the_rest_is_there(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "good").write_bytes(b"good")
    (tree / "nowhere").symlink_to("missing")
    (tree / "loop").symlink_to(".")
    result = document("put", "-r", str(tree), "/tree", status=1)
    assert {Path(failure["path"]).name for failure in result["failures"]} == {"nowhere", "loop"}
    assert benchfs("cat", "/tree/good").stdout == b"good"


def test_listing_and_finding() -> None:
    benchfs("mkdir", "-p", "/d/e")
    source = Path(os.environ["TMPDIR"]) / "cli-source"
    source.write_bytes(b"x" * 5000)
    try:
        benchfs("put", str(source), "/d/e/f.txt")
        benchfs("put", str(source), "/d/")
    finally:
        source.unlink()
    assert benchfs("ls", "/d").stdout == b"cli-source\ne\n"
    assert b"5000" in benchfs("ls", "-l", "/d").stdout
    assert benchfs("find", "/", "--name", "*.txt").stdout == b"/d/e/f.txt\n"
    assert document("find", "/d", "--type", "d") == ["/d/e"]
    assert document("find", "/d", "--size", "+4k") == ["/d/cli-source", "/d/e/f.txt"]
    assert document("du", "/d") == {"path": "/d", "bytes": 10000, "files": 2}
    assert document("stat", "/d/e/f.txt")["size"] == 5000


def test_copying_moving_and_removing(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"one")
    benchfs("put", str(tmp_path / "f"), "/f")
    benchfs("mkdir", "/d", "/other")
    benchfs("cp", "/f", "/d")
    benchfs("cp", "-r", "/d", "/copy")
    benchfs("mv", "/f", "/other")  # perhaps another group: then it is copied and removed
    benchfs("mv", "/d", "/other/d")
    assert benchfs("cat", "/other/f", "/other/d/f", "/copy/f").stdout == b"one" * 3
    assert benchfs("ls", "/").stdout == b"copy\nother\n"
    assert b"itself" in benchfs("mv", "/other", "/other/d", status=1).stderr
    assert b"use -r" in benchfs("cp", "/copy", "/x", status=1).stderr
    benchfs("rm", "-r", "/copy")
    benchfs("rm", "-f", "/copy")
    benchfs("mkdir", "/x", "/y")
    result = document("rm", "-r", "/x", "/none", "/y", status=1)
    assert result["removed"] == ["/x", "/y"]
    assert [failure["path"] for failure in result["failures"]] == ["/none"]
    assert b"No such file" in benchfs("rm", "/copy", status=1).stderr


def test_names_that_are_no_text(tmp_path: Path) -> None:
    name = b"caf\xe9\n\xff"
    local = os.fsencode(tmp_path) + b"/" + name
    Path(os.fsdecode(local)).write_bytes(b"odd")
    benchfs("put", local, b"/" + name)
    assert benchfs("ls").stdout == name + b"\n"
    assert document("ls")[0]["name"] == os.fsdecode(name)
    assert benchfs("cat", b"/" + name).stdout == b"odd"


def test_status_and_space(instance: str) -> None:
    status = document("status")
    assert [node["node_id"] for node in status["nodes"]] == ["node-0", "node-1"]
    assert benchfs("status", "--cluster", instance).stdout.count(b"node-") == 2
    space = document("df")
    assert 0 < space["free_bytes"] <= space["total_bytes"]


def test_measuring() -> None:
    result = document("bench", "ior", "-t", "64k", "-b", "1m", "-N", "2", "-F")
    assert [row["access"] for row in result["tests"][0]["Results"]] == ["write", "read"]
    assert b"multiple" in benchfs("bench", "ior", "-t", "3", "-b", "10", status=2).stderr
    columns = document("bench", "md", "-n", "20", "--large", "1m", "--processes", "1")["columns"]
    assert [rate["operations"] for column in columns for rate in column["rates"]] == [20] * 18
    assert b"whole MiB" in benchfs("bench", "md", "--large", "5000", status=2).stderr


def test_transfers_that_were_changed_make_the_exit_status_1() -> None:
    flags = ("-t", "4k", "-b", "16k", "-G", "1")
    benchfs("bench", "ior", "-w", "-e", "-k", *flags, "-o", "/checked")
    benchfs("bench", "ior", "-r", "-R", *flags, "-o", "/checked")
    data = bytearray(benchfs("cat", "/checked").stdout)
    data[5000] ^= 1
    with tempfile.NamedTemporaryFile() as changed:
        changed.write(data)
        changed.flush()
        benchfs("put", changed.name, "/swapped")

    failed = benchfs("bench", "ior", "-r", "-R", *flags, "-o", "/swapped", status=1)

    assert b"1 transfers" in failed.stderr
    assert b"\nread " in failed.stdout


def test_errors_say_what_where_and_how_to_go_on() -> None:
    failed = benchfs("stat", "/none", status=1)
    assert failed.stderr.startswith(b"benchfs: stat /none on node-")
    assert b": No such file or directory" in failed.stderr
    assert failed.stdout == b""
    benchfs("stat", status=2)
    benchfs("nonsense", status=2)
    assert benchfs("--version").stdout.startswith(b"benchfs ")
    assert b"benchfs://host:port" in benchfs("ls", "--cluster", "benchfs://", status=1).stderr
    assert b"no instance" in benchfs("ls", "--cluster", "nowhere", status=1).stderr
    assert b"running already" in benchfs("up", status=1).stderr
    assert b"there is no instance" in benchfs("down", "--name", "nowhere", status=1).stderr


def test_down_with_keep_and_up_again_finds_the_files(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"kept")
    benchfs("up", "--name", "second", "--nodes", "1")
    try:
        benchfs("put", str(tmp_path / "f"), "/f", "--cluster", "second")
        assert b"name one" in benchfs("ls", status=1).stderr
        benchfs("down", "--name", "second", "--keep")
        benchfs("up", "--name", "second")
        assert benchfs("cat", "/f", "--cluster", "second").stdout == b"kept"
    finally:
        benchfs("down", "--name", "second")


@pytest.mark.parametrize("name", ["{0}", "../../../{0}"])
def test_down_takes_names_of_instances_only(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    for command in ("down", "up"):
        failed = benchfs(command, "--name", name.format(tmp_path), status=2)
        assert b"Invalid value" in failed.stderr
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_down_leaves_a_directory_that_holds_no_instance() -> None:
    directory = instancedir.home() / "notes"
    directory.mkdir()
    try:
        (directory / "mine").write_bytes(b"mine")
        assert b"there is no instance" in benchfs("down", "--name", "notes", status=1).stderr
        assert b"no instance" in benchfs("up", "--name", "notes", status=1).stderr
        assert (directory / "mine").read_bytes() == b"mine"
    finally:
        shutil.rmtree(directory)


def test_an_up_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    before = set(Path(os.environ["TMPDIR"]).iterdir())
    no_directory = tmp_path / "file"
    no_directory.touch()
    failed = benchfs("up", "--name", "new", "--data", str(no_directory), status=1)
    assert b"the daemon ended" in failed.stderr
    assert [path.name for path in instancedir.home().iterdir()] == ["default"]
    assert set(Path(os.environ["TMPDIR"]).iterdir()) == before
    benchfs("up", "--name", "new", "--nodes", "1", "--data", str(tmp_path))
    benchfs("down", "--name", "new")
    assert list(tmp_path.iterdir()) == [no_directory]


def test_an_up_that_fails_leaves_an_instance_that_was_there_before(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"kept")
    benchfs("up", "--name", "old", "--nodes", "2")
    settings = instancedir.home() / "old/node-1/node.toml"
    try:
        benchfs("put", str(tmp_path / "f"), "/f", "--cluster", "old")
        benchfs("down", "--name", "old", "--keep")
        good = settings.read_text()
        settings.write_text(good + "nonsense = 1\n")
        assert b"nonsense" in benchfs("up", "--name", "old", status=1).stderr
        settings.write_text(good)
        benchfs("up", "--name", "old")
        assert benchfs("cat", "/f", "--cluster", "old").stdout == b"kept"
    finally:
        benchfs("down", "--name", "old")


def test_nothing_is_copied_onto_or_into_itself(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"precious")
    benchfs("put", str(tmp_path / "f"), "/f")
    benchfs("mkdir", "/d")
    assert b"same file" in benchfs("cp", "f", "/f", status=1).stderr
    assert b"same file" in benchfs("mv", "f", "/", status=1).stderr
    assert b"in itself" in benchfs("cp", "-r", "d", "/d/x", status=1).stderr
    assert b"in itself" in benchfs("mv", "d", "/d/x", status=1).stderr
    assert benchfs("cat", "/f").stdout == b"precious"
    assert document("find") == ["/d", "/f"]


def test_modes_of_new_directories_are_as_given_whatever_the_umask() -> None:
    benchfs("mkdir", "-p", "-m", "1777", "/deep/down", umask=0o077)
    assert document("stat", "/deep/down")["mode"] == "1777"
    assert document("stat", "/deep")["mode"] == "0700"
    assert b"octal" in benchfs("mkdir", "-m", "-1", "/x", status=2).stderr


def test_settings_come_from_the_file(
    instance: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.toml"
    monkeypatch.setenv("BENCHFS_CONFIG", str(file))
    file.write_text('cluster = "nowhere"\n')
    assert b"no instance" in benchfs("ls", status=1).stderr
    assert document("status", "--cluster", instance)["name"] == "default"
    file.write_text("speed = 11\n")
    assert b"unknown key 'speed'" in benchfs("ls", status=1).stderr


def test_the_secret_of_another_cluster_does_not_reach_new_daemons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_bytes(b"another secret of thirty-two byte")
    (tmp_path / "secret").chmod(0o600)
    monkeypatch.setenv("BENCHFS_SECRET_FILE", str(tmp_path / "secret"))
    benchfs("up", "--name", "third", "--nodes", "1")
    try:
        benchfs("ls", "--cluster", "third")
    finally:
        benchfs("down", "--name", "third")
