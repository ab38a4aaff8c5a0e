"""Hard links between nodes that are killed at the worst moment: no name is lost or counted twice.

The entry's node is held between its first transaction and the answer of the inode's node, by
stopping the latter; then one of the two is killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

import benchfs
from benchfs.inode import home_group
from benchfs.localcluster import LocalNode
from benchfs.rpc.messages import Link, Rename, RenameHow, Unlink

TIMEOUT_SECONDS = 30.0
LEASE_SECONDS = 2  # what was open at a node that restarted is kept for so long
ROUND_TRIPS = 3


class Scene(NamedTuple):
    """A file, and a directory that another node leads."""

    fs: benchfs.AsyncClient
    file: str
    ino: int
    directory: str
    parent: int
    file_node: LocalNode
    entry_node: LocalNode

    async def mutate(self, request: tuple[object, ...]) -> None:
        """Send a request to the directory's group, for as long as it takes."""
        cluster = self.fs._use().cluster
        intent = cluster.intent("test", self.directory, TIMEOUT_SECONDS)
        await cluster.mutate(intent, home_group(self.parent), request)

    async def seen(self, ino: int) -> None:
        """Round trips to an inode's node: what it was asked to do before is begun by then."""
        connected = self.fs._use()
        for _ in range(ROUND_TRIPS):
            intent = connected.cluster.intent("test", None, TIMEOUT_SECONDS)
            await connected.names.of_inode(intent, ino)

    async def begun(self, request: tuple[object, ...]) -> asyncio.Task[None]:
        """The request, when the entry's node has done its first step and needs the file's node."""
        self.file_node.pause()
        task = asyncio.create_task(self.mutate(request))
        await self.seen(self.parent)
        return task

    async def link(self) -> None:
        """Make the file's second name, to the last step."""
        await self.fs.link(self.file, f"{self.directory}/g")
        await self.seen(self.ino)
        await self.seen(self.parent)

    async def nlink(self) -> int:
        return (await self.fs.stat(self.file)).st_nlink

    async def counted(self, names: int) -> None:
        """Return when the file has this link count; who restarts makes up for it by itself."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while await self.nlink() != names:
                await asyncio.sleep(0.01)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with (
        benchfs.LocalCluster(nodes=2, settings={"lease_seconds": LEASE_SECONDS}) as cluster,
        benchfs.AsyncClient(cluster.url, timeout=TIMEOUT_SECONDS, attribute_seconds=60) as fs,
    ):
        nodes = {node.node_id: node for node in cluster.nodes}
        places: dict[str, tuple[str, int]] = {}
        for number in range(100):
            path = f"/{number}"
            await fs.mkdir(path)
            ino = (await fs.stat(path)).st_ino
            places[fs.cluster_map.primary(home_group(ino))] = (path, ino)
        (file_id, (file_place, _)), (entry_id, (directory, parent)) = places.items()
        file = f"{file_place}/f"
        await fs.write_bytes(file, b"content")
        ino = (await fs.stat(file)).st_ino
        yield Scene(fs, file, ino, directory, parent, nodes[file_id], nodes[entry_id])
        for node in (nodes[file_id], nodes[entry_id]):
            node.resume()


async def test_a_link_whose_coordinator_is_killed_is_made_once(scene: Scene) -> None:
    task = await scene.begun(Link(scene.parent, b"g", scene.ino))
    assert not task.done()
    scene.entry_node.kill()
    scene.file_node.resume()
    await asyncio.to_thread(scene.entry_node.start)

    await task

    assert await scene.nlink() == 2
    assert await scene.fs.read_bytes(f"{scene.directory}/g") == b"content"


async def test_a_link_whose_inodes_node_is_killed_is_made_once(scene: Scene) -> None:
    task = await scene.begun(Link(scene.parent, b"g", scene.ino))
    assert not task.done()
    scene.file_node.kill()
    await asyncio.to_thread(scene.file_node.start)

    await task

    assert await scene.nlink() == 2
    await scene.fs.unlink(scene.file)
    assert await scene.fs.read_bytes(f"{scene.directory}/g") == b"content"


async def test_an_unlink_whose_coordinator_is_killed_takes_one_name(scene: Scene) -> None:
    await scene.link()

    task = await scene.begun(Unlink(scene.parent, b"g"))
    scene.entry_node.kill()
    scene.file_node.resume()
    await asyncio.to_thread(scene.entry_node.start)

    await task

    assert not await scene.fs.exists(f"{scene.directory}/g")
    await scene.counted(1)
    assert await scene.fs.read_bytes(scene.file) == b"content"


async def test_an_unlink_whose_inodes_node_is_killed_takes_one_name(scene: Scene) -> None:
    await scene.link()

    task = await scene.begun(Unlink(scene.parent, b"g"))
    scene.file_node.kill()
    await asyncio.to_thread(scene.file_node.start)

    await task

    assert not await scene.fs.exists(f"{scene.directory}/g")
    await scene.counted(1)


async def test_the_last_name_may_be_removed_through_a_killed_node(scene: Scene) -> None:
    await scene.link()
    await scene.fs.unlink(scene.file)

    task = await scene.begun(Unlink(scene.parent, b"g"))
    scene.entry_node.kill()
    scene.file_node.resume()
    await asyncio.to_thread(scene.entry_node.start)

    await task

    assert await scene.fs.listdir(scene.directory) == []
    await scene.fs.rmdir(scene.directory)


@pytest.mark.parametrize("killed", ["entry", "file"])
async def test_a_renamed_name_over_a_hard_link_takes_one_name(scene: Scene, killed: str) -> None:
    await scene.link()
    await scene.fs.write_bytes(f"{scene.directory}/other", b"other")
    found = await scene.fs.stat(f"{scene.directory}/other")
    group = home_group(scene.parent)
    rename = Rename(scene.parent, b"other", scene.parent, b"g", group, RenameHow.REPLACE)

    task = await scene.begun(rename)
    node = scene.entry_node if killed == "entry" else scene.file_node
    node.kill()
    if killed == "entry":
        scene.file_node.resume()
    await asyncio.to_thread(node.start)
    await task

    assert (await scene.fs.stat(f"{scene.directory}/g")).st_ino == found.st_ino
    await scene.counted(1)
    assert await scene.fs.read_bytes(scene.file) == b"content"


@pytest.mark.parametrize("killed", ["entry", "file"])
async def test_the_only_name_was_renamed_and_is_removed_through_a_kill(
    scene: Scene, killed: str
) -> None:
    await scene.fs.rename(scene.file, f"{scene.directory}/g")

    task = await scene.begun(Unlink(scene.parent, b"g"))
    node = scene.entry_node if killed == "entry" else scene.file_node
    node.kill()
    if killed == "entry":
        scene.file_node.resume()
    await asyncio.to_thread(node.start)
    await task

    assert await scene.fs.listdir(scene.directory) == []
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while any(node.reply.chunk_bytes for node in await scene.fs.status() if node.reply):
            await asyncio.sleep(0.01)
