"""Attributes and extended attributes of a real cluster, and what each operation costs."""

from __future__ import annotations

import asyncio
import errno
import os
import stat

import pytest

import benchfs
from benchfs.cluster import Cluster
from benchfs.errors import BenchFSError
from benchfs.rpc.messages import (
    LendBoard,
    LendChunk,
    Lookup,
    MakeSymlink,
    Open,
    ReadChunk,
    ReadLink,
    RecordReads,
    Unlink,
)

SECOND = 1_000_000_000
WAIT_SECONDS = 30.0


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[type]:
    """The requests that clients send to groups from here on, by their types."""
    sent: list[type] = []
    plain = Cluster.call

    async def counted(self: Cluster, intent, group, request, **options):
        sent.append(type(request))
        return await plain(self, intent, group, request, **options)

    monkeypatch.setattr(Cluster, "call", counted)
    return sent


# --------------------------------------------------------------------------------- stat


async def test_stat_tells_what_the_inode_is(fs: benchfs.AsyncClient) -> None:
    before_ns = fs._env.clock.time_ns()
    await fs.write_bytes("/f", bytes(1025))

    found = await fs.stat("/f")

    assert stat.S_ISREG(found.st_mode)
    assert (found.st_nlink, found.st_uid, found.st_gid) == (1, os.geteuid(), os.getegid())
    assert (found.st_size, found.st_blocks) == (1025, 3)
    assert before_ns <= found.st_ctime_ns <= fs._env.clock.time_ns()
    assert before_ns <= found.st_mtime_ns <= found.st_ctime_ns
    assert found.st_ino > 1
    assert found.st_ino != (await fs.stat("/")).st_ino


async def test_chmod_sets_all_permission_bits_and_ctime(fs: benchfs.AsyncClient) -> None:
    await fs.write_bytes("/f", b"x")
    before = await fs.stat("/f")

    await fs.chmod("/f", 0o6751)

    after = await fs.stat("/f")
    assert stat.S_IMODE(after.st_mode) == 0o6751
    assert after.st_mtime_ns == before.st_mtime_ns
    assert after.st_ctime_ns > before.st_ctime_ns


async def test_times_are_set_in_each_of_the_ways_of_os_utime(fs: benchfs.AsyncClient) -> None:
    await fs.write_bytes("/f", b"x")

    await fs.utime("/f", ns=(1, 2**60 + 1))
    found = await fs.stat("/f")
    assert (found.st_atime_ns, found.st_mtime_ns) == (1, 2**60 + 1)

    await fs.utime("/f", (1.5, -2))
    found = await fs.stat("/f")
    assert (found.st_atime_ns, found.st_mtime_ns) == (1_500_000_000, -2 * SECOND)

    await fs.utime("/f", ns=(benchfs.UTIME_OMIT, 7))
    found = await fs.stat("/f")
    assert (found.st_atime_ns, found.st_mtime_ns) == (1_500_000_000, 7)

    await fs.utime("/f", ns=(8, benchfs.UTIME_NOW))
    found = await fs.stat("/f")
    assert (found.st_atime_ns, found.st_mtime_ns) == (8, found.st_ctime_ns)

    await fs.utime("/f")
    found = await fs.stat("/f")
    assert found.st_atime_ns == found.st_mtime_ns == found.st_ctime_ns
    with pytest.raises(ValueError, match="not both"):
        await fs.utime("/f", (1, 2), ns=(1, 2))


async def test_changing_what_is_not_there_is_enoent(fs: benchfs.AsyncClient) -> None:
    for change in (fs.chmod("/no", 0o600), fs.chown("/no", 1, 1), fs.utime("/no")):
        with pytest.raises(FileNotFoundError):
            await change


async def test_reading_sets_atime_once_after_each_change(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    await fs.write_bytes("/f", b"x")
    written = await fs.stat("/f")

    async with benchfs.AsyncClient(cluster.url) as reader:
        await reader.read_bytes("/f")
    read = await fs.stat("/f")
    assert read.st_atime_ns > written.st_mtime_ns
    assert (read.st_mtime_ns, read.st_ctime_ns) == (written.st_mtime_ns, written.st_ctime_ns)

    async with benchfs.AsyncClient(cluster.url) as reader:
        await reader.read_bytes("/f")
    assert (await fs.stat("/f")).st_atime_ns == read.st_atime_ns


async def test_atime_is_reported_while_the_client_goes_on(fs: benchfs.AsyncClient) -> None:
    await fs.write_bytes("/f", b"x")
    before = await fs.stat("/f")

    await fs.read_bytes("/f")

    async with asyncio.timeout(WAIT_SECONDS):
        while (await fs.stat("/f")).st_atime_ns == before.st_atime_ns:
            await asyncio.sleep(0.01)


async def test_a_file_that_is_only_written_keeps_its_atime(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    async with benchfs.AsyncClient(cluster.url) as writer:
        await writer.write_bytes("/f", b"x")
        before = await writer.stat("/f")
    assert (await fs.stat("/f")).st_atime_ns == before.st_atime_ns


async def test_the_synchronous_client_changes_attributes_too(
    cluster: benchfs.LocalCluster,
) -> None:
    def use() -> None:
        with benchfs.Client(cluster.url) as client:
            client.write_bytes("/f", b"x")
            client.chmod("/f", 0o600)
            client.utime("/f", ns=(1, benchfs.UTIME_OMIT))
            client.chown("/f", 5, -1)
            client.lchown("/f", -1, 6)
            found = client.stat("/f")
            assert (found.st_uid, found.st_gid, found.st_atime_ns) == (5, 6, 1)
            assert client.access("/f", os.R_OK)
            client.setxattr("/f", "user.a", b"1")
            assert client.listxattr("/f") == ["user.a"]
            assert client.getxattr("/f", "user.a") == b"1"
            client.removexattr("/f", "user.a")
            client.unlink("/f")

    await asyncio.to_thread(use)


# --------------------------------------------------------------------------------- cost


async def test_a_create_an_unlink_and_a_warm_stat_are_one_request_each(
    fs: benchfs.AsyncClient, calls: list[type]
) -> None:
    await fs.mkdir("/d")
    calls.clear()

    await (await fs.open("/d/f", "x")).close()
    assert calls == [Open]
    calls.clear()
    await fs.stat("/d/f")
    assert calls == [Lookup]
    calls.clear()
    await fs.unlink("/d/f")
    assert calls == [Unlink]


async def test_a_symbolic_link_is_one_request_and_following_a_known_one_none(
    fs: benchfs.AsyncClient, calls: list[type]
) -> None:
    await fs.mkdir("/d")
    await fs.write_bytes("/d/f", b"x")
    calls.clear()

    await fs.symlink("d", "/s")
    assert calls == [MakeSymlink]
    calls.clear()
    await fs.stat("/s/f")
    assert calls == [Lookup, ReadLink, Lookup]
    calls.clear()
    await fs.stat("/s/f")
    assert calls == [Lookup]


async def test_reading_a_file_costs_no_request_for_its_atime(
    fs: benchfs.AsyncClient, calls: list[type]
) -> None:
    for number in range(20):
        await fs.write_bytes(f"/f{number}", b"x")
    calls.clear()

    for number in range(20):
        async with await fs.open(f"/f{number}") as file:
            await file.read()

    assert calls.count(Open) == 20
    assert calls.count(RecordReads) <= 1
    assert set(calls) <= {Open, LendBoard, LendChunk, ReadChunk, RecordReads}


# ------------------------------------------------------------------ extended attributes


async def test_extended_attributes_are_kept_as_in_os(fs: benchfs.AsyncClient) -> None:
    await fs.write_bytes("/f", b"x")

    await fs.setxattr("/f", "user.b", b"\0\xff")
    await fs.setxattr("/f", b"user.a", b"", os.XATTR_CREATE)

    assert await fs.listxattr("/f") == ["user.a", "user.b"]
    assert await fs.getxattr("/f", "user.b") == b"\0\xff"
    await fs.removexattr("/f", "user.b")
    assert await fs.listxattr("/f") == ["user.a"]
    assert await fs.listxattr("/") == []


@pytest.mark.parametrize(
    ("name", "value", "flags", "code"),
    [
        ("user.no", b"", os.XATTR_REPLACE, errno.ENODATA),
        ("user.yes", b"", os.XATTR_CREATE, errno.EEXIST),
        ("trusted.a", b"", 0, errno.ENOTSUP),
        ("user." + "n" * 251, b"", 0, errno.ERANGE),
        ("user.", b"", 0, errno.EINVAL),
        ("user.a", b"", 8, errno.EINVAL),
        ("user.a", bytes(65_537), 0, errno.E2BIG),
        ("user.a", bytes(65_530), 0, errno.ENOSPC),
    ],
)
async def test_an_attribute_that_cannot_be_set_is_refused(
    fs: benchfs.AsyncClient, name: str, value: bytes, flags: int, code: int
) -> None:
    await fs.write_bytes("/f", b"x")
    await fs.setxattr("/f", "user.yes", b"1")

    with pytest.raises(BenchFSError) as failure:
        await fs.setxattr("/f", name, value, flags)

    assert failure.value.errno == code
    assert failure.value.operation == "setxattr"
    assert failure.value.filename == "/f"


async def test_an_attribute_that_is_not_there_is_enodata(fs: benchfs.AsyncClient) -> None:
    await fs.write_bytes("/f", b"x")
    for ask in (fs.getxattr("/f", "user.no"), fs.removexattr("/f", "user.no")):
        with pytest.raises(BenchFSError) as failure:
            await ask
        assert failure.value.errno == errno.ENODATA


async def test_a_new_file_of_the_same_name_has_no_attributes(fs: benchfs.AsyncClient) -> None:
    await fs.write_bytes("/f", b"x")
    await fs.setxattr("/f", "user.a", b"1")
    await fs.unlink("/f")
    await fs.write_bytes("/f", b"x")

    assert await fs.listxattr("/f") == []
