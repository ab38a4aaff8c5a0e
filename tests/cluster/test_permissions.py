"""Owner, group and mode, enforced by the nodes of a real cluster for users who are not its owner.

The clients state their users, as a client of the cluster's owner may: the cluster runs as the one
who runs the tests.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import benchfs
from benchfs.checks import piece_checks
from benchfs.inode import ROOT_INO, home_group
from benchfs.inode_handle import InodeHandle
from benchfs.instance import find
from benchfs.paths import parse
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    ChangeLinks,
    Conclude,
    DropInode,
    DropLink,
    GetMap,
    MakeInode,
    MapReply,
    PrepareName,
    PrepareParent,
    ReadChunk,
    SettleLinks,
    WriteChunk,
)
from benchfs.rpc.pool import Credentials, Peer, Pool
from benchfs.rpc.transports.choose import choose

ALICE = benchfs.User(50_001, 60_001, (60_100,))
BOB = benchfs.User(50_002, 60_002, (60_100,))
CAROL = benchfs.User(50_003, 60_003)
SHARED = 60_100

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may act for other users")


@pytest.fixture
async def alice(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(cluster.url, user=ALICE) as client:
        yield client


@pytest.fixture
async def bob(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(cluster.url, user=BOB) as client:
        yield client


@pytest.fixture
async def carol(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(cluster.url, user=CAROL) as client:
        yield client


async def home(fs: benchfs.AsyncClient, user: benchfs.User, mode: int = 0o755) -> str:
    path = f"/home-{user.uid}"
    await fs.mkdir(path)
    await fs.chown(path, user.uid, user.gid)
    await fs.chmod(path, mode)
    return path


async def denied(ask: Awaitable[object], code: int = errno.EACCES) -> None:
    with pytest.raises(PermissionError) as failure:
        await ask
    assert failure.value.errno == code


# ---------------------------------------------------------------------------- directories


async def test_what_a_user_makes_is_his(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient
) -> None:
    place = await home(fs, ALICE)

    await alice.write_bytes(f"{place}/f", b"1")
    await alice.mkdir(f"{place}/d")
    await alice.symlink("f", f"{place}/s")
    await alice.mkfifo(f"{place}/p")

    for name in "fdsp":
        found = await fs.lstat(f"{place}/{name}")
        assert (found.st_uid, found.st_gid) == (ALICE.uid, ALICE.gid)


async def test_making_and_removing_need_the_directorys_write_permission(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    place = await home(fs, ALICE)
    await alice.write_bytes(f"{place}/f", b"1")
    await alice.mkdir(f"{place}/d")
    other = await home(fs, BOB)
    attempts: list[Callable[[], Awaitable[object]]] = [
        lambda: bob.write_bytes(f"{place}/new", b"1"),
        lambda: bob.mkdir(f"{place}/new"),
        lambda: bob.symlink("f", f"{place}/new"),
        lambda: bob.mkfifo(f"{place}/new"),
        lambda: bob.link(f"{place}/f", f"{place}/new"),
        lambda: bob.unlink(f"{place}/f"),
        lambda: bob.rmdir(f"{place}/d"),
        lambda: bob.rename(f"{place}/f", f"{place}/new"),
        lambda: bob.mkdir("/new"),
    ]

    for attempt in attempts:
        await denied(attempt())

    assert await fs.listdir(place) == ["d", "f"]
    await bob.write_bytes(f"{other}/f", b"1")
    await fs.chmod(place, 0o777)
    for attempt in attempts[:5]:
        await attempt()
        await fs.rename(f"{place}/new", f"{place}/made-{len(await fs.listdir(place))}")
    await bob.unlink(f"{place}/f")


async def test_what_is_there_or_not_is_told_before_what_may_not_be_done(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    place = await home(fs, ALICE)
    await alice.write_bytes(f"{place}/f", b"1")

    for make in (
        bob.mkdir(place),
        bob.mkdir(f"{place}/f"),
        bob.symlink("x", f"{place}/f"),
        bob.mkfifo(f"{place}/f"),
        bob.link(f"{place}/f", f"{place}/f"),
        bob.open(f"{place}/f", "x"),
    ):
        with pytest.raises(FileExistsError):
            await make
    for remove in (
        bob.unlink(f"{place}/no"),
        bob.rmdir(f"{place}/no"),
        bob.rename(f"{place}/no", f"{place}/f"),
    ):
        with pytest.raises(FileNotFoundError):
            await remove
    await fs.chmod(place, 0o777)
    await bob.makedirs(f"{place}/a/b")


async def test_looking_up_needs_search_and_listing_needs_read_permission(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    place = await home(fs, ALICE)
    await alice.write_bytes(f"{place}/f", b"1")

    await fs.chmod(place, 0o711)
    assert await bob.read_bytes(f"{place}/f") == b"1"
    await denied(bob.listdir(place))

    await fs.chmod(place, 0o744)
    assert await bob.listdir(place) == ["f"]
    await denied(bob.read_bytes(f"{place}/f"))
    await denied(bob.stat(f"{place}/f"))
    await denied(bob.stat(f"{place}/none"))
    (entry,) = [entry async for entry in bob.scandir(place)]
    await denied(entry.stat())


async def test_a_closed_directory_on_the_way_closes_what_is_below(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    place = await home(fs, ALICE)
    await alice.mkdir(f"{place}/in")
    await alice.write_bytes(f"{place}/in/f", b"1")
    await fs.symlink(f"{place}/in/f", "/s")
    await fs.chmod(place, 0o700)

    await denied(bob.read_bytes(f"{place}/in/f"))
    await denied(bob.read_bytes("/s"))
    assert await alice.read_bytes("/s") == b"1"


async def test_in_a_sticky_directory_everybody_removes_his_own(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    await fs.mkdir("/tmp")
    await fs.chmod("/tmp", 0o1777)
    await alice.write_bytes("/tmp/a", b"1")
    await alice.mkdir("/tmp/d")
    await bob.write_bytes("/tmp/b", b"2")

    await denied(bob.unlink("/tmp/a"), errno.EPERM)
    await denied(bob.rmdir("/tmp/d"), errno.EPERM)
    await denied(bob.rename("/tmp/a", "/tmp/c"), errno.EPERM)
    await denied(bob.rename("/tmp/d", "/tmp/e"), errno.EPERM)
    await denied(bob.rename("/tmp/b", "/tmp/a"), errno.EPERM)

    await alice.rename("/tmp/a", "/tmp/c")
    await alice.rename("/tmp/d", "/tmp/e")
    await alice.unlink("/tmp/c")
    await alice.rmdir("/tmp/e")
    await fs.unlink("/tmp/b")


async def test_in_a_sticky_directory_a_link_belongs_to_its_files_owner(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    place = await home(fs, ALICE)
    await alice.write_bytes(f"{place}/f", b"1")
    await fs.mkdir("/tmp")
    await fs.chmod("/tmp", 0o1777)
    for number in range(8):
        await fs.mkdir(f"/tmp/{number}")
        await fs.chmod(f"/tmp/{number}", 0o1777)
        await alice.link(f"{place}/f", f"/tmp/{number}/l")

        await denied(bob.unlink(f"/tmp/{number}/l"), errno.EPERM)
        await alice.unlink(f"/tmp/{number}/l")


async def test_a_setgid_directory_gives_its_group(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, carol: benchfs.AsyncClient
) -> None:
    await fs.mkdir("/shared")
    await fs.chown("/shared", -1, SHARED)
    await fs.chmod("/shared", 0o2777)

    await alice.mkdir("/shared/d")
    await alice.write_bytes("/shared/d/f", b"1")

    found = await fs.stat("/shared/d")
    assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (SHARED, 0o2755)
    assert (await fs.stat("/shared/d/f")).st_gid == SHARED
    await carol.mknod("/shared/tool", stat.S_IFREG | 0o2755)
    assert stat.S_IMODE((await fs.stat("/shared/tool")).st_mode) == 0o755


# ---------------------------------------------------------------------------------- files


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

    await denied(read())
    await denied(write())
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


# --------------------------------------------------------------------------- who is who


@pytest.mark.parametrize(("root", "may"), [("squashed", False), ("trusted", True)])
async def test_root_is_nobody_unless_the_settings_trust_him(root: str, may: bool) -> None:
    settings: dict[str, str | int] = {"superuser": ALICE.uid, "root": root}
    async with (
        benchfs.LocalCluster(nodes=1, settings=settings) as cluster,
        benchfs.AsyncClient(cluster.url) as as_root,
        benchfs.AsyncClient(cluster.url, user=ALICE) as owner,
    ):
        assert (await owner.stat("/")).st_uid == ALICE.uid
        if may:
            await as_root.mkdir("/d")
        else:
            await denied(as_root.mkdir("/d"))
            await owner.mkdir("/open")
            await owner.chmod("/open", 0o777)
            await as_root.write_bytes("/open/f", b"1")
            assert (await owner.stat("/open/f")).st_uid == 65_534
        await owner.rmtree("/")


@asynccontextmanager
async def connected(
    cluster: benchfs.LocalCluster, role: str
) -> AsyncIterator[tuple[Pool, MapReply]]:
    endpoints = await find(str(cluster.directory))
    who = Credentials(endpoints.secret, os.urandom(16), role, 0, 0, os.urandom)
    pool = Pool(choose().transport, who)
    first = await pool.connect(Peer("", endpoints.addresses[:1]), "calls", timeout=5)
    answer = await first.call(GetMap(), timeout=5)
    assert isinstance(answer.message, MapReply)
    yield pool, answer.message
    await pool.close()


async def test_what_nodes_ask_one_another_is_refused_to_clients(
    cluster: benchfs.LocalCluster,
) -> None:
    async with connected(cluster, "client") as (pool, cluster_map):
        group = cluster_map.groups[home_group(ROOT_INO)]
        node = next(node for node in cluster_map.nodes if node.node_id == group.nodes[0])
        connection = await pool.connect(Peer(node.node_id, node.addresses), "calls", timeout=5)
        token = b"\1" * 16
        for request in (
            MakeInode(ROOT_INO, 0o777, 0, 0, 1),
            DropInode(ROOT_INO),
            ChangeLinks(ROOT_INO, 1),
            SettleLinks(ROOT_INO, 1, keep=False),
            DropLink(token, 0, ROOT_INO),
            Conclude(token, commit=True),
            PrepareName(token, 0, ROOT_INO, b"x", ROOT_INO, 2, 1, 0, None),
            PrepareParent(token, 0, ROOT_INO, ROOT_INO, None),
        ):
            with pytest.raises(RemoteError) as failure:
                await connection.call(request, timeout=5, group=group.group, epoch=group.epoch)
            assert failure.value.code == errno.EPERM


PROGRAM = """
import asyncio, os, sys
from benchfs.rpc.messages import MakeDirectory
from benchfs.rpc.pool import Credentials, Peer, Pool
from benchfs.rpc.transports.choose import choose

async def main():
    address, parent, role, uid, gid, *groups = sys.argv[1:]
    secret = bytes.fromhex(sys.stdin.read())
    who = Credentials(secret, os.urandom(16), role, 0, 0, os.urandom, (0,))
    pool = Pool(choose().transport, who)
    os.setgroups([int(group) for group in groups])
    os.setresgid(int(gid), int(gid), int(gid))
    os.setresuid(int(uid), int(uid), int(uid))
    try:
        connection = await pool.connect(Peer("", (address,)), "calls", timeout=5)
        request = MakeDirectory(int(parent), os.urandom(4).hex().encode(), 0o755, 0, 0, 1)
        await connection.call(request, timeout=5, group=int(parent) >> 48, epoch=1, sequence=1)
        print("made")
    except Exception as failure:
        print(type(failure).__name__, failure)
    await pool.close()

asyncio.run(main())
"""


async def test_on_a_unix_socket_the_kernels_word_counts_not_the_clients(
    monkeypatch: pytest.MonkeyPatch, short_tmp: Path
) -> None:
    short_tmp.chmod(0o711)
    short_tmp.parent.chmod(0o711)
    monkeypatch.setattr(tempfile, "tempdir", str(short_tmp))
    with benchfs.LocalCluster(nodes=1) as cluster:
        endpoints = await find(str(cluster.directory))
        address = next(one for one in endpoints.addresses if one.startswith("unix://"))
        sockets = (cluster.directory / "sockets").resolve()
        sockets.chmod(0o711)
        for socket in sockets.iterdir():
            socket.chmod(0o666)
        async with benchfs.AsyncClient(cluster.url) as fs:
            await fs.mkdir("/shared")
            await fs.chown("/shared", -1, SHARED)
            await fs.chmod("/shared", 0o2770)
            parent = (await fs.stat("/shared")).st_ino

            async def attempt(groups: list[int], role: str = "client") -> str:
                user = [str(number) for number in (ALICE.uid, ALICE.gid, *groups)]
                done = await asyncio.to_thread(
                    subprocess.run,
                    [sys.executable, "-c", PROGRAM, address, str(parent), role, *user],
                    input=endpoints.secret.hex(),
                    capture_output=True,
                    text=True,
                    timeout=30,
                    check=False,
                )
                return done.stdout + done.stderr

            assert await attempt([SHARED]) == "made\n"
            assert "does not let user 50001" in await attempt([])
            assert "same user as the others" in await attempt([], "node")
            (found,) = {(await entry.stat()).st_uid async for entry in fs.scandir("/shared")}
            assert found == ALICE.uid
