"""`fsck` finds what was damaged behind the daemons' backs, and repairs it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

import benchfs
from benchfs.fsck import Kind, Options, Report
from benchfs.inode import FileType, home_group, make_ino
from benchfsd import rows
from benchfsd.inodes import new_inode
from benchfsd.rows import NO_LAYOUT
from tests.cluster.stopped_rows import StoppedRows, spoil_row, stopped, stopped_rows

CHUNK = 65536
LEASE_SECONDS = 1
NOW = Options(age=0, patience=20)
REPAIR = NOW._replace(repair=True)


@pytest.fixture
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(
        nodes=2, chunk_size=CHUNK, settings={"lease_seconds": LEASE_SECONDS}
    ) as running:
        yield running


@pytest.fixture
def fs(cluster: benchfs.LocalCluster) -> Iterator[benchfs.Client]:
    with benchfs.Client(str(cluster.directory)) as client:
        yield client


def kinds(report: Report) -> list[Kind]:
    return sorted({one.finding.kind for one in report.found})


def map_of(fs: benchfs.Client) -> benchfs.clustermap.ClusterMap:
    return fs._client._use().cluster.map


def repaired(fs: benchfs.Client, *expected: Kind) -> Report:
    """Repair exactly these kinds of damage; afterwards there is none."""
    report = fs.fsck(REPAIR)
    assert kinds(report) == sorted(expected)
    assert report.clean, report
    assert fs.fsck(NOW).found == []
    return report


def test_a_cluster_that_is_well_has_no_findings(fs: benchfs.Client) -> None:
    fs.mkdir("/wide", wide=True)
    fs.mkdir("/plain")
    for number in range(50):
        fs.write_bytes(f"/wide/{number}", b"x")
        fs.write_bytes(f"/plain/{number}", b"x" * 3 * CHUNK)
    fs.link("/plain/0", "/wide/link")
    fs.rename("/plain/1", "/wide/moved")
    fs.truncate("/plain/2", CHUNK + 1)

    report = fs.fsck(NOW._replace(data=True))

    assert report.found == []
    assert report.inodes == 103


def test_an_empty_directory_without_a_name_is_removed(
    cluster: benchfs.LocalCluster, fs: benchfs.Client
) -> None:
    ino = make_ino(7, 1, 2**31)
    inode = new_inode(ino, FileType.DIRECTORY, mode=0o755, uid=0, gid=0, now_ns=1, layout=NO_LAYOUT)
    with stopped_rows(cluster, map_of(fs)) as stored:
        stored.put_inode(inode._replace(parent=1, fanout=1))

    (only,) = fs.fsck(NOW).found
    assert (only.finding.kind, only.finding.ino, only.repaired) == (Kind.NAMELESS, ino, False)
    repaired(fs, Kind.NAMELESS)


def test_a_file_without_a_name_comes_to_lost_and_found(
    cluster: benchfs.LocalCluster, fs: benchfs.Client
) -> None:
    content = os.urandom(3 * CHUNK)
    fs.mkdir("/d")
    fs.write_bytes("/d/file", content)
    parent, ino = fs.stat("/d").st_ino, fs.stat("/d/file").st_ino
    with stopped_rows(cluster, map_of(fs)) as stored:
        stored.delete_entry(home_group(parent), parent, b"file")

    repaired(fs, Kind.COUNT, Kind.NAMELESS)

    assert fs.read_bytes(f"/lost+found/#{ino:x}") == content
    fs.rmdir("/d")


def test_a_tree_without_a_name_comes_to_lost_and_found_as_it_is(
    cluster: benchfs.LocalCluster, fs: benchfs.Client
) -> None:
    fs.mkdir("/d")
    fs.mkdir("/d/tree")
    fs.write_bytes("/d/tree/file", b"content")
    parent, ino = fs.stat("/d").st_ino, fs.stat("/d/tree").st_ino
    with stopped_rows(cluster, map_of(fs)) as stored:
        stored.delete_entry(home_group(parent), parent, b"tree")

    repaired(fs, Kind.COUNT, Kind.NAMELESS)

    assert fs.read_bytes(f"/lost+found/#{ino:x}/file") == b"content"


def test_a_name_without_an_inode_goes_and_so_do_its_chunks(
    cluster: benchfs.LocalCluster, fs: benchfs.Client
) -> None:
    fs.write_bytes("/file", b"x" * 20 * CHUNK)
    ino = fs.stat("/file").st_ino
    with stopped_rows(cluster, map_of(fs)) as stored:
        stored.delete_inode(ino)

    report = fs.fsck(REPAIR)

    assert kinds(report) == [Kind.LOST_CHUNKS, Kind.DANGLING]
    assert [one.path for one in report.found if one.finding.kind is Kind.DANGLING] == ["/file"]
    assert fs.fsck(NOW).found == []
    assert fs.listdir("/") == []
    assert sum(node.chunks for node in fs.scrub()) == 0


def test_a_wrong_link_count_is_set(cluster: benchfs.LocalCluster, fs: benchfs.Client) -> None:
    fs.mkdir("/d")
    fs.write_bytes("/file", b"x")
    fs.link("/file", "/d/link")
    with stopped_rows(cluster, map_of(fs)) as stored:
        stored.change_inode(fs_ino := ino_of(stored, b"file"), nlink=7)

    repaired(fs, Kind.LINKS)

    assert (fs.stat("/file").st_nlink, fs.stat("/file").st_ino) == (2, fs_ino)


def ino_of(stored: StoppedRows, name: bytes) -> int:
    for _, key, value in stored.of_kind(rows.Kind.ENTRY):
        if rows.name_of_entry_key(key) == name:
            return rows.decode_entry(value).ino
    raise AssertionError(f"no entry {name!r}")


def test_a_wrong_count_and_a_wrong_parent_are_set(
    cluster: benchfs.LocalCluster, fs: benchfs.Client
) -> None:
    fs.makedirs("/a/b")
    with stopped_rows(cluster, map_of(fs)) as stored:
        stored.change_inode(ino_of(stored, b"a"), entries=5)
        stored.change_inode(ino_of(stored, b"b"), parent=1)

    repaired(fs, Kind.COUNT, Kind.PARENT)

    fs.rmdir("/a/b")
    fs.rmdir("/a")


def test_the_files_of_a_wide_directory_that_is_gone_come_to_lost_and_found(
    cluster: benchfs.LocalCluster, fs: benchfs.Client
) -> None:
    fs.mkdir("/wide", wide=True)
    for number in range(40):
        fs.write_bytes(f"/wide/{number}", b"%d" % number)
    ino = fs.stat("/wide").st_ino
    with stopped_rows(cluster, map_of(fs)) as stored:
        stored.delete_inode(ino)

    report = fs.fsck(REPAIR)

    assert report.clean, report
    assert {Kind.LOST_PART, Kind.LOST_ENTRY, Kind.DANGLING, Kind.NAMELESS} <= set(kinds(report))
    assert fs.fsck(NOW).found == []
    contents = {fs.read_bytes(f"/lost+found/{name}") for name in fs.listdir("/lost+found")}
    assert contents == {b"%d" % number for number in range(40)}


def test_a_part_that_its_directory_does_not_know_is_registered(
    cluster: benchfs.LocalCluster, fs: benchfs.Client
) -> None:
    fs.mkdir("/wide", wide=True)
    for number in range(40):
        fs.write_bytes(f"/wide/{number}", b"")
    with stopped_rows(cluster, map_of(fs)) as stored:
        group, key, _ = next(stored.of_kind(rows.Kind.USED))
        stored.at(group).delete(key)
    assert len(fs.listdir("/wide")) < 40

    repaired(fs, Kind.UNKNOWN_PART)

    assert len(fs.listdir("/wide")) == 40


def test_a_size_below_the_bytes_that_arrived_is_set(
    cluster: benchfs.LocalCluster, fs: benchfs.Client
) -> None:
    content = os.urandom(2 * CHUNK + 5)
    fs.write_bytes("/file", content)
    with stopped_rows(cluster, map_of(fs)) as stored:
        stored.change_inode(ino_of(stored, b"file"), size=10)

    # until the clients of before have had their time the file counts as open
    wait_until(lambda: kinds(fs.fsck(NOW)) == [Kind.SHORT_SIZE])
    repaired(fs, Kind.SHORT_SIZE)

    assert fs.read_bytes("/file") == content


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.1)


def test_a_chunk_where_nobody_looks_for_it_is_told_and_left(
    cluster: benchfs.LocalCluster, fs: benchfs.Client
) -> None:
    fs.write_bytes("/file", b"x" * CHUNK)
    with stopped_rows(cluster, map_of(fs)) as stored:
        group, key, value = next(stored.of_kind(rows.Kind.CHUNK))
        _, ino, index = rows.chunk_of_key(key)
        others = (other for other in range(256) if stored.at(other) is stored.at(group))
        wrong = next(other for other in others if other != group)
        stored.at(wrong).put(rows.chunk_key(wrong, ino, index), value)

    report = fs.fsck(REPAIR)

    assert [(one.finding.kind, one.path, one.repaired) for one in report.found] == [
        (Kind.WRONG_GROUP, "/file", False)
    ]
    assert fs.read_bytes("/file") == b"x" * CHUNK


def test_what_does_not_come_to_an_end_is_told(
    cluster: benchfs.LocalCluster, fs: benchfs.Client
) -> None:
    fs.write_bytes("/file", b"x")
    with stopped_rows(cluster, map_of(fs)) as stored:
        ino = ino_of(stored, b"file")
        group = home_group(ino)
        stored.at(group).put(rows.link_change_key(group, ino, 99), b"")

    report = fs.fsck(NOW._replace(patience=1))

    (stuck,) = report.found
    assert (stuck.finding.kind, stuck.finding.ino, stuck.path) == (Kind.STUCK, ino, "/file")


def test_a_row_that_fails_its_check_is_told(
    cluster: benchfs.LocalCluster, fs: benchfs.Client
) -> None:
    fs.write_bytes("/file", b"x")
    ino = fs.stat("/file").st_ino
    node_id, key = map_of(fs).primary(home_group(ino)), rows.inode_key(home_group(ino), ino)
    with stopped(cluster):
        spoil_row(cluster, node_id, key)

    report = fs.fsck(REPAIR)

    assert not report.clean
    assert key in {one.finding.name for one in report.found}


def test_who_is_not_the_superuser_is_refused(cluster: benchfs.LocalCluster) -> None:
    other = benchfs.User(12345, 12345, ())
    with benchfs.Client(cluster.url, user=other) as fs:
        for act in (fs.fsck, fs.scrub):
            with pytest.raises(PermissionError):
                act()


def test_a_node_that_is_down_is_named(cluster: benchfs.LocalCluster) -> None:
    cluster.nodes[1].kill()
    with benchfs.Client(str(cluster.directory)) as fs:
        fs._client._timeout = 1.0
        with pytest.raises(OSError, match="node-1"):
            fs.fsck(NOW)
