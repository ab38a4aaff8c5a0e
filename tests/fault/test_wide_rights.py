"""Rights of a wide directory that a node could not be told when they changed."""

from __future__ import annotations

import asyncio
import os

import pytest

import benchfs
from benchfs.errors import BenchFSError
from benchfs.inode import ROOT_INO, home_group
from benchfs.rpc.messages import SetAttributes

ALICE = benchfs.User(50_001, 60_001)
GIVE_UP_SECONDS = 20
NAMES = 20

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may act for other users")


@pytest.mark.parametrize("home_restarts", [False, True])
async def test_a_part_that_was_away_during_chmod_is_told_when_it_is_back(
    home_restarts: bool,
) -> None:
    async with (
        benchfs.LocalCluster(nodes=2) as cluster,
        benchfs.AsyncClient(cluster.url, timeout=GIVE_UP_SECONDS) as fs,
        benchfs.AsyncClient(cluster.url, user=ALICE, timeout=GIVE_UP_SECONDS) as alice,
    ):
        wide, home = await wide_directory_beside_the_root(fs)
        await fs.chmod(wide, 0o777)
        for number in range(NAMES):
            await alice.write_bytes(f"{wide}/{number}", b"1")
        (home_node,) = [node for node in cluster.nodes if node.node_id == home]
        (other,) = [node for node in cluster.nodes if node.node_id != home]
        ino = (await fs.stat(wide)).st_ino
        other.kill()

        with pytest.raises(BenchFSError):
            await set_mode(fs, ino, 0o755)  # what chmod asks for when it has found the inode
        if home_restarts:
            home_node.kill()
            await asyncio.to_thread(home_node.start)
        await asyncio.to_thread(other.start)

        async with asyncio.timeout(GIVE_UP_SECONDS):
            for number in range(NAMES):
                while await may_replace(alice, f"{wide}/{number}"):
                    await asyncio.sleep(0.01)


async def wide_directory_beside_the_root(fs: benchfs.AsyncClient) -> tuple[str, str]:
    """A wide directory, and the node that leads its home group and that of the root."""
    root = fs.cluster_map.primary(home_group(ROOT_INO))
    for number in range(100):
        path = f"/{number}"
        await fs.mkdir(path, wide=True)
        if fs.cluster_map.primary(home_group((await fs.stat(path)).st_ino)) == root:
            return path, root
    pytest.fail("no directory came to the root's node")


async def set_mode(fs: benchfs.AsyncClient, ino: int, mode: int) -> None:
    cluster = fs._use().cluster
    request = SetAttributes(ino, mode, None, None, None, None, False, False)
    await cluster.mutate(cluster.intent("chmod", None, 3), home_group(ino), request)


async def may_replace(client: benchfs.AsyncClient, path: str) -> bool:
    """Whether the client may remove the name, which it makes again then, if it may do that."""
    try:
        await client.unlink(path)
        await client.symlink("x", path)
    except PermissionError:
        return False
    return True
