"""Owner, group and mode of files, their bytes and attributes, for users who do not own the cluster.

The clients state their users, as in test_permissions.py.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat

import pytest

import benchfs
from benchfs.checks import piece_checks
from benchfs.inode_handle import InodeHandle
from benchfs.paths import parse
from benchfs.rpc.messages import (
    ChunkExtent,
    ReadChunk,
    WriteChunk,
    WriteExtents,
)
from tests.cluster.users import ALICE, BOB, SHARED, denied, home, only_root

pytestmark = only_root


async def test_reading_and_writing_need_the_files_permission(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    place = await home(fs, ALICE)
    await alice.write_bytes(f"{place}/f", b"1")

    assert await bob.read_bytes(f"{place}/f") == b"1"
    for mode in ("r+b", "wb", "ab"):
        await denied(bob.open(f"{place}/f", mode))
    await denied(bob.truncate(f"{place}/f", 0))
    await fs.chmod(f"{place}/f", 0o622)
    await denied(bob.open(f"{place}/f"))
    await bob.write_bytes(f"{place}/f", b"2")
    assert await alice.read_bytes(f"{place}/f") == b"2"


async def test_supplementary_groups_count(
    fs: benchfs.AsyncClient, bob: benchfs.AsyncClient, carol: benchfs.AsyncClient
) -> None:
    await fs.write_bytes("/f", b"1")
    await fs.chown("/f", ALICE.uid, SHARED)
    await fs.chmod("/f", 0o640)

    assert await bob.read_bytes("/f") == b"1"
    await denied(carol.read_bytes("/f"))


async def test_a_link_to_a_file_elsewhere_opens_no_more_than_the_file(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    place = await home(fs, ALICE)
    await alice.write_bytes(f"{place}/f", b"1")
    await alice.chmod(f"{place}/f", 0o600)
    for number in range(4):
        await alice.mkdir(f"{place}/{number}")
        await alice.link(f"{place}/f", f"{place}/{number}/l")

        await denied(bob.open(f"{place}/{number}/l"))
        assert await alice.read_bytes(f"{place}/{number}/l") == b"1"


async def test_who_makes_a_file_of_a_closed_mode_may_write_it(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient
) -> None:
    place = await home(fs, ALICE)
    async with await alice.open(f"{place}/f", "xb", permissions=0o400) as file:
        await file.write(b"123456")
        await file.truncate(3)
    assert await alice.read_bytes(f"{place}/f") == b"123"
    await denied(alice.open(f"{place}/f", "r+b"))


async def test_chunks_are_for_those_who_opened_the_file_like_that(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    place = await home(fs, ALICE)
    await alice.write_bytes(f"{place}/f", b"1")
    attributes = await bob._use().attributes("test", parse(f"{place}/f"))
    handle = InodeHandle(bob._use().cluster, attributes, f"{place}/f")
    data = b"2"

    async def read() -> None:
        intent = handle._cluster.intent("read", "f", 5)
        request = ReadChunk(handle.ino, 0, 0, 1)
        await handle._cluster.call(intent, handle.group_of(0), request)

    async def write() -> None:
        intent = handle._cluster.intent("write", "f", 5)
        request = WriteChunk(handle.ino, 0, 0, 0, piece_checks(data, 0))
        await handle._cluster.call(intent, handle.group_of(0), request, payload=(data,))

    async def write_extents() -> None:
        intent = handle._cluster.intent("write", "f", 5)
        request = WriteExtents(
            handle.ino, 0, 0, (ChunkExtent(0, len(data)),), piece_checks(data, 0)
        )
        await handle._cluster.call(intent, handle.group_of(0), request, payload=(data,))

    await denied(read())
    await denied(write())
    await denied(write_extents())
    async with await bob.open(f"{place}/f"):
        await read()
        await denied(write())
    assert await alice.read_bytes(f"{place}/f") == b"1"


async def test_a_file_that_is_open_stays_open_over_chmod_and_restarts() -> None:
    async with (
        benchfs.LocalCluster(nodes=2) as cluster,
        benchfs.AsyncClient(cluster.url) as fs,
        benchfs.AsyncClient(cluster.url, user=ALICE, timeout=30, cache_bytes=0) as alice,
    ):
        place = await home(fs, ALICE)
        async with await alice.open(f"{place}/f", "w+b", chunk_size=65_536) as file:
            await file.write(bytes(8 * 65_536))
            await file.flush()
            await fs.chmod(f"{place}/f", 0)
            for node in cluster.nodes:
                await asyncio.to_thread(node.stop)
                await asyncio.to_thread(node.start)
            await file.pwrite(b"1" * 8 * 65_536, 0)
            assert await file.pread(8 * 65_536, 0) == b"1" * 8 * 65_536
        await denied(alice.open(f"{place}/f"))


async def test_attributes_are_changed_by_their_owner(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    place = await home(fs, ALICE)
    await alice.write_bytes(f"{place}/f", b"1")

    await denied(bob.chmod(f"{place}/f", 0o777), errno.EPERM)
    await denied(bob.chown(f"{place}/f", BOB.uid, -1), errno.EPERM)
    await denied(alice.chown(f"{place}/f", BOB.uid, -1), errno.EPERM)
    await denied(alice.chown(f"{place}/f", -1, BOB.gid), errno.EPERM)
    await denied(bob.utime(f"{place}/f", ns=(1, 1)), errno.EPERM)
    await denied(bob.utime(f"{place}/f"))
    await denied(bob.setxattr(f"{place}/f", "user.a", b"1"))
    await denied(bob.removexattr(f"{place}/f", "user.a"))

    await alice.chown(f"{place}/f", -1, SHARED)
    await alice.chmod(f"{place}/f", 0o660)
    await bob.utime(f"{place}/f")
    await bob.setxattr(f"{place}/f", "user.a", b"1")
    await alice.chmod(f"{place}/f", 0o600)
    await denied(bob.getxattr(f"{place}/f", "user.a"))


async def test_writing_takes_setuid_and_setgid_from_a_file(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient
) -> None:
    place = await home(fs, ALICE)
    await alice.write_bytes(f"{place}/f", b"1")
    for change in (
        lambda: alice.write_bytes(f"{place}/f", b"2"),
        lambda: alice.truncate(f"{place}/f", 0),
    ):
        await alice.chmod(f"{place}/f", 0o6775)
        await change()
        assert stat.S_IMODE((await fs.stat(f"{place}/f")).st_mode) == 0o775
    await alice.chmod(f"{place}/f", 0o6775)
    await fs.write_bytes(f"{place}/f", b"3")
    assert stat.S_IMODE((await fs.stat(f"{place}/f")).st_mode) == 0o6775


async def test_access_tells_what_opening_would(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    place = await home(fs, ALICE)
    await alice.write_bytes(f"{place}/f", b"1")
    await alice.chmod(f"{place}/f", 0o640)

    assert await alice.access(f"{place}/f", os.R_OK | os.W_OK)
    assert not await alice.access(f"{place}/f", os.X_OK)
    assert await bob.access(f"{place}/f", os.F_OK)
    assert not await bob.access(f"{place}/f", os.R_OK)
    assert not await bob.access(f"{place}/none", os.F_OK)
    assert not await bob.access(f"{place}/f/below", os.F_OK)
    assert await bob.access(place, os.R_OK | os.X_OK)
    assert not await bob.access(place, os.W_OK)
    assert await fs.access(f"{place}/f", os.R_OK | os.W_OK)
    assert not await fs.access(f"{place}/f", os.X_OK)
    with pytest.raises(OSError, match="Invalid argument"):
        await fs.access(place, 8)


async def test_a_denial_names_operation_path_and_node(
    fs: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    with pytest.raises(benchfs.BenchFSError) as failure:
        await bob.mkdir("/new")
    assert failure.value.operation == "mkdir"
    assert failure.value.filename == "/new"
    assert failure.value.node in {"node-0", "node-1"}
