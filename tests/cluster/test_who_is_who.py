"""Whom the nodes take a peer for: root, another node, a user whom the kernel vouches for."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import benchfs
from benchfs.inode import ROOT_INO, home_group
from benchfs.instance import find
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    ChangeLinks,
    Conclude,
    DropInode,
    DropLink,
    GetMap,
    MakeInode,
    MapRecord,
    PrepareName,
    PrepareParent,
    SettleLinks,
)
from benchfs.rpc.pool import Credentials, Peer, Pool
from benchfs.rpc.schema import decoder, unpack
from benchfs.rpc.transports.choose import choose
from tests.cluster.users import ALICE, SHARED, denied, only_root

pytestmark = only_root


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
) -> AsyncIterator[tuple[Pool, MapRecord]]:
    endpoints = await find(str(cluster.directory))
    who = Credentials(endpoints.secret, os.urandom(16), role, 0, 0, os.urandom)
    pool = Pool(choose().transport, who)
    first = await pool.connect(Peer("", endpoints.addresses[:1]), "calls", timeout=20)
    answer = await first.call(GetMap(), timeout=20)
    cluster_map = decoder(MapRecord)(unpack(answer.payload or b""))
    yield pool, cluster_map
    await pool.close()


async def test_what_nodes_ask_one_another_is_refused_to_clients(
    cluster: benchfs.LocalCluster,
) -> None:
    async with connected(cluster, "client") as (pool, cluster_map):
        group = cluster_map.groups[home_group(ROOT_INO)]
        node = next(node for node in cluster_map.nodes if node.node_id == group.nodes[0])
        connection = await pool.connect(Peer(node.node_id, node.addresses), "calls", timeout=20)
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
                await connection.call(request, timeout=20, group=group.group, epoch=group.epoch)
            assert failure.value.code == errno.EPERM


PROGRAM = """
import asyncio, os, sys
from benchfs.rpc.messages import MakeDirectory
from benchfs.rpc.pool import Credentials, Peer, Pool
from benchfs.rpc.schema import decoder, unpack
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
        connection = await pool.connect(Peer("", (address,)), "calls", timeout=20)
        request = MakeDirectory(int(parent), os.urandom(4).hex().encode(), 0o755, 0, 0, 1)
        await connection.call(request, timeout=20, group=int(parent) >> 48, epoch=1, sequence=1)
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
