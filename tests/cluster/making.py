"""Two clients who make names in one directory: one all the time, the other in every way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import benchfs
from benchfs.errors import NotFoundError
from benchfs.inode import home_group
from benchfs.localcluster import LocalNode
from benchfs.rpc.messages import Attributes, Repair, RepairHow, RepairReply

PATIENCE_SECONDS = 20
OWNER = benchfs.User(0, 0)
ABSENT = b"never made"


def node_of(cluster: benchfs.LocalCluster, node_id: str) -> LocalNode:
    """The daemon of this name."""
    return next(node for node in cluster.nodes if node.node_id == node_id)


class Maker:
    """Makes files in a directory, each after a look for its name."""

    def __init__(self, client: benchfs.AsyncClient, directory: int) -> None:
        self.inodes = client.by_inode
        self.directory = directory
        self.made: list[str] = []
        self.was_alone = asyncio.Event()

    @property
    def is_alone(self) -> bool:
        """Whether names are known to be missing now."""
        return self.inodes.is_absent(self.directory, ABSENT)

    async def find(self, name: bytes) -> Attributes | None:
        """As a mount looks up."""
        if self.inodes.is_absent(self.directory, name):
            return None
        try:
            return await self.inodes.find(self.directory, name)
        except NotFoundError:  # a wide directory has no part there yet
            return None

    async def make(self) -> None:
        """One file."""
        name = f"{len(self.made)}"
        assert await self.find(name.encode()) is None
        await self.inodes.make_file(self.directory, name.encode(), 0o644, OWNER)
        self.made.append(name)
        if self.is_alone:
            self.was_alone.set()

    @asynccontextmanager
    async def at_work(self, *, alone: bool = True) -> AsyncIterator[None]:
        """Makes files all the time until the block ends, which begins when it is alone."""
        stop = asyncio.Event()

        async def work() -> None:
            while not stop.is_set():
                await self.make()

        async with asyncio.TaskGroup() as group:
            group.create_task(work())
            try:
                if alone:
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        await self.was_alone.wait()
                yield
            finally:
                stop.set()


@dataclass(frozen=True)
class Places:
    """Directories. `same` has its home in the group of `here`, `elsewhere` at another node."""

    fs: benchfs.AsyncClient
    here: str
    same: str
    elsewhere: str

    async def ino(self, path: str) -> int:
        """The number of what is there."""
        return (await self.fs.stat(path)).st_ino


async def by_open(places: Places, new: str) -> None:
    await (await places.fs.open(new, "xb")).close()


async def by_mkdir(places: Places, new: str) -> None:
    await places.fs.mkdir(new)


async def by_symlink(places: Places, new: str) -> None:
    await places.fs.symlink("anywhere", new)


async def by_mkfifo(places: Places, new: str) -> None:
    await places.fs.mkfifo(new)


async def by_link(places: Places, new: str) -> None:
    await places.fs.link(f"{places.same}/f", new)


async def by_link_of_a_file_elsewhere(places: Places, new: str) -> None:
    await places.fs.link(f"{places.elsewhere}/f", new)


async def by_rename_in_the_directory(places: Places, new: str) -> None:
    await places.fs.rename(f"{places.here}/0", new)


async def by_rename_in_the_group(places: Places, new: str) -> None:
    await places.fs.rename(f"{places.same}/f", new)


async def by_rename_from_elsewhere(places: Places, new: str) -> None:
    await places.fs.rename(f"{places.elsewhere}/f", new)


async def by_rename_that_keeps(places: Places, new: str) -> None:
    await places.fs.rename(f"{places.elsewhere}/f", new, replace=False)


async def by_rename_of_a_directory(places: Places, new: str) -> None:
    await places.fs.rename(f"{places.elsewhere}/d", new)


async def by_repair(places: Places, new: str) -> None:
    cluster = places.fs._use().cluster
    parent, ino = await places.ino(places.here), await places.ino(f"{places.elsewhere}/f")
    change = (await places.fs.by_inode.attributes(ino)).change
    counted = Repair(RepairHow.SET_LINKS, ino, 0, b"", 2, change)
    named = Repair(RepairHow.ADD_ENTRY, ino, parent, new.rpartition("/")[2].encode(), 0, 0)
    for group, request in ((home_group(ino), counted), (home_group(parent), named)):
        answer = await cluster.call(cluster.intent("repair", new, 10), group, request)
        assert answer.message == RepairReply(True)


WAYS = [
    *(by_open, by_mkdir, by_symlink, by_mkfifo, by_link, by_link_of_a_file_elsewhere),
    *(by_rename_in_the_directory, by_rename_in_the_group, by_rename_from_elsewhere),
    *(by_rename_that_keeps, by_rename_of_a_directory, by_repair),
]


async def fill(places: Places) -> None:
    for directory in (places.same, places.elsewhere):
        await places.fs.write_bytes(f"{directory}/f", b"1")
        await places.fs.mkdir(f"{directory}/d")
