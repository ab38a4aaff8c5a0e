"""Directories in which one client alone makes names: it asks for none, and misses none of others'.

That client makes files all the time, and looks for each name first, as a mount does; meanwhile
another one makes a name there, in every way that there is. As soon as that call has returned, the
first client sees the name.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

import benchfs
from benchfs.errors import DeadlineError
from benchfs.inode import ROOT_INO, FileType, home_group
from benchfs.rpc.messages import RenameHow
from benchfsd.coordinator import MOVES_GROUP
from benchfsd.delegations import WANTED_SECONDS
from benchfsd.node import PEER_SECONDS
from tests.cluster.making import OWNER, PATIENCE_SECONDS, WAYS, Maker, Places, fill, node_of

WAITS_SECONDS = 0.5  # who has no answer by then waits for the node that is paused
NEW = b"new"


@pytest.fixture(scope="module")
def cluster() -> Iterator[benchfs.LocalCluster]:
    """Of its own: nodes are paused, and killed."""
    with benchfs.LocalCluster(nodes=3) as running:
        yield running


@pytest.fixture
async def fs(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    """The other client, which goes by paths and always asks."""
    async with benchfs.AsyncClient(str(cluster.directory), attribute_seconds=0) as client:
        yield client
        await client.rmtree("/")


@pytest.fixture
async def mine(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    """The client that wants to be alone."""
    async with benchfs.AsyncClient(str(cluster.directory)) as client:
        client.by_inode.use_no_paths()
        yield client


@pytest.fixture
async def places(fs: benchfs.AsyncClient) -> Places:
    """Directories made until there are two of one group, and one at another node."""
    by_group: dict[int, list[str]] = {}
    for number in range(200):
        path = f"/d{number}"
        await fs.mkdir(path)
        by_group.setdefault(home_group((await fs.stat(path)).st_ino), []).append(path)
        pair = next((paths for paths in by_group.values() if len(paths) == 2), None)
        if pair is None:
            continue
        primary = fs.cluster_map.primary
        here = primary(home_group((await fs.stat(pair[0])).st_ino))
        others = [paths[0] for group, paths in by_group.items() if primary(group) != here]
        if others:
            return Places(fs, pair[0], pair[1], others[0])
    raise AssertionError("no two of 200 directories have one home")


# ------------------------------------------------------------------------ what it saves


async def test_files_of_a_new_directory_cost_an_open_each_and_one_look_up(
    mine: benchfs.AsyncClient, requests: list[str]
) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):  # a slow machine takes longer than it has
        for number in itertools.count():
            made = await mine.by_inode.make_directory(ROOT_INO, b"%d" % number, 0o755, OWNER)
            maker = Maker(mine, made.ino)
            requests.clear()
            for _ in range(100):
                await maker.make()
            assert requests.count("Open") == 100
            assert set(requests) == {"Open", "Lookup"}
            if requests.count("Lookup") == 1:
                break


# ------------------------------------------------------------------------ every way to a name


@pytest.mark.parametrize("make", WAYS, ids=lambda way: way.__name__)
async def test_a_name_that_somebody_else_makes_is_seen_at_once(
    mine: benchfs.AsyncClient,
    places: Places,
    make: Callable[[Places, str], Awaitable[None]],
) -> None:
    await fill(places)
    maker = Maker(mine, await places.ino(places.here))
    async with maker.at_work():
        async with asyncio.timeout(PATIENCE_SECONDS):
            await make(places, f"{places.here}/new")

        found = await maker.find(NEW)
        assert found is not None
        assert found.ino == (await places.fs.lstat(f"{places.here}/new")).st_ino


async def test_names_that_a_client_makes_itself_are_seen_at_once(
    mine: benchfs.AsyncClient, places: Places
) -> None:
    await fill(places)
    inodes, maker = mine.by_inode, Maker(mine, await places.ino(places.here))
    here, elsewhere = maker.directory, await places.ino(places.elsewhere)
    file, how = await places.ino(f"{places.same}/f"), RenameHow.REPLACE
    own: dict[bytes, Callable[[], Awaitable[object]]] = {
        b"file": lambda: inodes.make_file(here, b"file", 0o644, OWNER),
        b"directory": lambda: inodes.make_directory(here, b"directory", 0o755, OWNER),
        b"symlink": lambda: inodes.make_symlink(here, b"symlink", b"anywhere", OWNER),
        b"fifo": lambda: inodes.make_special(here, b"fifo", FileType.FIFO, 0o644, OWNER),
        b"link": lambda: inodes.link(file, here, b"link"),
        b"renamed": lambda: inodes.rename(here, b"0", here, b"renamed", how),
        b"from elsewhere": lambda: inodes.rename(elsewhere, b"f", here, b"from elsewhere", how),
    }
    async with maker.at_work(), asyncio.timeout(PATIENCE_SECONDS):
        for name, make in own.items():
            await make()
            assert await maker.find(name) is not None, name


@pytest.mark.parametrize("into", [True, False], ids=["into", "out-of"])
async def test_names_that_are_exchanged_are_seen_at_once(
    mine: benchfs.AsyncClient, places: Places, into: bool
) -> None:
    await fill(places)
    maker = Maker(mine, await places.ino(places.here))
    moved = await places.ino(f"{places.elsewhere}/f")
    async with maker.at_work():
        names = [f"{places.elsewhere}/f", f"{places.here}/0"]
        async with asyncio.timeout(PATIENCE_SECONDS):
            await places.fs.rename(*names[:: 1 if into else -1], exchange=True)

        found = await maker.find(b"0")
        assert found is not None
        assert found.ino == moved


# ------------------------------------------------------------------------ begun, and done later


class Away:
    """The node of `elsewhere`, paused while calls are begun that need it."""

    def __init__(self, places: Places, cluster: benchfs.LocalCluster, node_id: str) -> None:
        self._places = places
        self._node = node_of(cluster, node_id)
        self._numbers = itertools.count()

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[int]:
        """The number of an empty directory at another node, while this one is paused."""
        fs = self._places.fs
        for number in self._numbers:
            directory = f"{self._places.elsewhere}/{number}"
            await fs.mkdir(directory)
            ino = (await fs.stat(directory)).st_ino
            if fs.cluster_map.primary(home_group(ino)) != self._node.node_id:
                break
        self._node.pause()
        try:
            yield ino
        finally:
            self._node.resume()

    def resume(self) -> None:
        """Before the block ends."""
        self._node.resume()


@pytest.fixture
async def away(places: Places, cluster: benchfs.LocalCluster) -> Away:
    await fill(places)
    home = home_group(await places.ino(places.elsewhere))
    return Away(places, cluster, places.fs.cluster_map.primary(home))


@pytest.mark.parametrize("how", ["mkdir", "link"])
async def test_a_name_that_was_begun_before_the_first_file_is_seen_at_once(
    mine: benchfs.AsyncClient, places: Places, away: Away, how: str
) -> None:
    theirs, file = places.fs.by_inode, await places.ino(f"{places.elsewhere}/f")
    for _ in range(200):  # a new directory has its home anywhere
        async with away.paused() as here:
            made = (
                theirs.make_directory(here, NEW, 0o755, OWNER)
                if how == "mkdir"
                else theirs.link(file, here, NEW)
            )
            begun = asyncio.create_task(made)
            await asyncio.wait([begun], timeout=WAITS_SECONDS)
            if begun.done():
                continue
            maker = Maker(mine, here)
            async with maker.at_work():
                away.resume()
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await begun

                assert await maker.find(NEW) is not None
            return
    raise AssertionError("no call had to wait")


async def test_a_client_is_not_alone_where_something_is_being_renamed_to(
    mine: benchfs.AsyncClient,
    fs: benchfs.AsyncClient,
    cluster: benchfs.LocalCluster,
    places: Places,
) -> None:
    primary, theirs = fs.cluster_map.primary, fs.by_inode
    away = next(node for node in cluster.nodes if node.node_id != primary(MOVES_GROUP))
    here = moved = None
    for number in range(200):
        name = b"m%d" % number
        ino = (await theirs.make_directory(ROOT_INO, name, 0o755, OWNER)).ino
        if primary(home_group(ino)) == away.node_id:
            moved = name
        else:
            here = ino
        if here and moved:
            break
    assert here
    assert moved
    maker, loop = Maker(mine, here), asyncio.get_running_loop()
    away.pause()
    try:
        began = loop.time()
        rename = theirs.rename(ROOT_INO, moved, here, NEW, RenameHow.REPLACE)
        begun = asyncio.create_task(rename)
        await asyncio.wait([begun], timeout=WAITS_SECONDS)
        assert not begun.done()
        await maker.make()
        was_alone = maker.is_alone
        assert not was_alone or loop.time() - began > PEER_SECONDS  # then it was taken back
        async with maker.at_work(alone=False), asyncio.timeout(PATIENCE_SECONDS):
            away.resume()
            await begun

            assert await maker.find(NEW) is not None
    finally:
        away.resume()


async def test_an_own_name_that_comes_after_its_call_was_given_up_is_seen_as_soon_as_by_others(
    cluster: benchfs.LocalCluster, places: Places, away: Away
) -> None:
    async with benchfs.AsyncClient(str(cluster.directory), timeout=WAITS_SECONDS) as mine:
        mine.by_inode.use_no_paths()
        for _ in range(200):
            async with away.paused() as here:
                try:
                    await mine.by_inode.make_directory(here, NEW, 0o755, OWNER)
                except DeadlineError:
                    maker = Maker(mine, here)
                    await maker.make()
                    away.resume()
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        while await places.fs.by_inode.find(here, NEW) is None:
                            await maker.make()

                    await maker.make()
                    assert await maker.find(NEW) is not None
                    return
    raise AssertionError("no call had to wait")


# ------------------------------------------------------------------------ two at work


async def test_where_another_client_makes_names_a_client_is_not_alone_for_a_while(
    mine: benchfs.AsyncClient, places: Places
) -> None:
    maker = Maker(mine, await places.ino(places.here))
    loop = asyncio.get_running_loop()
    async with maker.at_work():
        began = loop.time()
        await places.fs.mkdir(f"{places.here}/new")
    for _ in range(50):
        await maker.make()
        was_alone = maker.is_alone
        if loop.time() - began < WANTED_SECONDS:
            assert not was_alone

    assert sorted(await places.fs.listdir(places.here)) == sorted(["new", *maker.made])


async def test_two_clients_who_make_files_in_one_directory_see_all_names_and_wait_for_none(
    mine: benchfs.AsyncClient, places: Places
) -> None:
    directory = await places.ino(places.here)
    maker, theirs = Maker(mine, directory), places.fs.by_inode
    async with maker.at_work(), asyncio.timeout(PATIENCE_SECONDS):
        for number in range(100):
            name = b"their %d" % number
            await theirs.make_file(directory, name, 0o644, OWNER)
            assert await maker.find(name) is not None
            assert await theirs.find(directory, maker.made[-1].encode()) is not None


async def test_a_name_that_was_removed_and_made_anew_by_somebody_else_is_seen(
    mine: benchfs.AsyncClient, places: Places
) -> None:
    directory = await places.ino(places.here)
    maker = Maker(mine, directory)
    async with maker.at_work():
        await mine.by_inode.unlink(directory, b"0")
        assert await maker.find(b"0") is None
        async with asyncio.timeout(PATIENCE_SECONDS):
            await places.fs.write_bytes(f"{places.here}/0", b"1")
        assert await maker.find(b"0") is not None


async def test_in_a_wide_directory_a_client_is_never_alone(
    mine: benchfs.AsyncClient, fs: benchfs.AsyncClient
) -> None:
    await fs.mkdir("/wide", wide=True)
    directory = (await mine.by_inode.lookup(ROOT_INO, b"wide")).ino
    maker = Maker(mine, directory)
    for number in range(30):
        await maker.make()
        await fs.write_bytes(f"/wide/their {number}", b"1")
        assert not maker.is_alone
        assert await maker.find(b"their %d" % number) is not None
    assert len(await fs.listdir("/wide")) == 60


async def test_a_client_is_not_alone_any_more_after_its_node_was_killed(
    mine: benchfs.AsyncClient, cluster: benchfs.LocalCluster, places: Places
) -> None:
    maker = Maker(mine, await places.ino(places.here))
    node = node_of(cluster, places.fs.cluster_map.primary(home_group(maker.directory)))
    async with maker.at_work():
        node.kill()
        await asyncio.to_thread(node.start)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await places.fs.by_inode.make_file(maker.directory, NEW, 0o644, OWNER)

        assert await maker.find(NEW) is not None
    assert sorted(await places.fs.listdir(places.here)) == sorted(["new", *maker.made])
