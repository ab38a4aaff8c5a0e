"""Files that are removed or replaced while clients have them open, and clients that die."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import benchfs
from benchfs.budget import ByteBudget
from benchfs.inode import home_group
from benchfs.rpc.connection import Answer, Connection
from benchfs.rpc.messages import Release

CHUNK = 65_536
LEASE_SECONDS = 2


@pytest.fixture(scope="module")
def shared() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(
        nodes=3, chunk_size=CHUNK, settings={"lease_seconds": LEASE_SECONDS}
    ) as running:
        yield running


@pytest.fixture
async def fs(shared: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(shared.url, cache_bytes=0, local_reads=False) as client:
        yield client


@pytest.fixture
async def other(shared: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(shared.url) as client:
        yield client


def chunk_files(cluster: benchfs.LocalCluster, ino: int) -> list[Path]:
    """The files of an inode's chunks on all nodes."""
    return list(cluster.directory.glob(f"*/data/chunks/*/{ino:016x}.*"))


def started(program: str, url: str) -> subprocess.Popen[str]:
    """A Python process that was given the cluster's URL."""
    command = [sys.executable, "-c", program, url]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


def some(seed: int, size: int = 5 * CHUNK + 77) -> bytes:
    return random.Random(seed).randbytes(size)


async def test_an_unlinked_file_is_read_and_written_until_it_is_closed(
    shared: benchfs.LocalCluster, fs: benchfs.AsyncClient, other: benchfs.AsyncClient
) -> None:
    data = some(1)
    await fs.write_bytes("/f", data)
    async with await fs.open("/f", "r+b") as file:
        await other.unlink("/f")
        assert not await other.exists("/f")
        assert await file.pread(len(data), 0) == data
        await file.pwrite(b"more", len(data))
        found = await file.stat()
        assert (found.st_nlink, found.st_size) == (0, len(data) + 4)
        await file.truncate(10)
        assert await file.pread(100, 0) == data[:10]
        assert chunk_files(shared, found.st_ino)
    await until(lambda: not chunk_files(shared, found.st_ino))


async def test_the_last_close_of_all_clients_frees_an_unlinked_file(
    shared: benchfs.LocalCluster, fs: benchfs.AsyncClient, other: benchfs.AsyncClient
) -> None:
    data = some(2)
    await fs.write_bytes("/f", data)
    first, second = await fs.open("/f"), await other.open("/f")
    third = await other.open("/f")
    ino = (await first.stat()).st_ino
    await fs.unlink("/f")
    await first.close()
    await third.close()
    await fs.write_bytes("/f", b"another")
    assert await second.read() == data
    await second.close()
    await until(lambda: not chunk_files(shared, ino))
    assert await fs.read_bytes("/f") == b"another"


async def test_a_file_that_a_rename_replaced_stays_readable_while_open(
    shared: benchfs.LocalCluster, fs: benchfs.AsyncClient, other: benchfs.AsyncClient
) -> None:
    data = some(3)
    await fs.write_bytes("/target", data)
    await fs.write_bytes("/new", b"new")
    async with await fs.open("/target") as file:
        await other.rename("/new", "/target")
        assert await file.read() == data
        assert (await file.stat()).st_nlink == 0
        ino = (await file.stat()).st_ino
    await until(lambda: not chunk_files(shared, ino))
    assert await fs.read_bytes("/target") == b"new"


@pytest.mark.parametrize("far", [False, True], ids=["one group", "two groups"])
async def test_a_hard_linked_file_goes_with_its_last_name_and_its_last_close(
    shared: benchfs.LocalCluster,
    fs: benchfs.AsyncClient,
    other: benchfs.AsyncClient,
    far: bool,
) -> None:
    """Opened by one name, removed by another, in the group of the inode and elsewhere."""
    data = some(8)
    directory = await directory_in(fs, elsewhere=far)
    await fs.write_bytes("/first", data)
    await fs.link("/first", f"{directory}/second")
    ino = (await fs.stat("/first")).st_ino
    async with (
        await fs.open("/first", "r+b") as one,
        await other.open(f"{directory}/second") as two,
    ):
        await other.unlink("/first")
        assert (await one.stat()).st_nlink == 1
        await other.unlink(f"{directory}/second")
        assert (await one.stat()).st_nlink == 0
        assert await two.read() == data
        await one.pwrite(b"x", 0)
        await one.close()
        assert await two.pread(1, 0) == b"x"
        assert chunk_files(shared, ino)
    await until(lambda: not chunk_files(shared, ino))


@pytest.mark.parametrize("far", [False, True], ids=["one group", "two groups"])
async def test_closing_a_file_that_has_a_name_left_frees_nothing(
    fs: benchfs.AsyncClient, far: bool
) -> None:
    directory = await directory_in(fs, elsewhere=far)
    await fs.write_bytes("/first", b"kept")
    async with await fs.open("/first"):
        await fs.link("/first", f"{directory}/second")
        await fs.unlink("/first")
    assert await fs.read_bytes(f"{directory}/second") == b"kept"
    assert (await fs.stat(f"{directory}/second")).st_nlink == 1


async def directory_in(fs: benchfs.AsyncClient, *, elsewhere: bool) -> str:
    """A new directory, at home in the root's group or in another one."""
    for number in range(10_000):
        path = f"/directory-{number}"
        if await fs.exists(path):
            continue
        await fs.mkdir(path)
        if bool(home_group((await fs.stat(path)).st_ino)) is elsewhere:
            return path
    raise AssertionError("no directory where it is wanted")


async def test_a_file_that_nobody_has_open_is_freed_at_once(
    shared: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    await fs.write_bytes("/f", some(4))
    ino = (await fs.stat("/f")).st_ino
    await fs.unlink("/f")
    await until(lambda: not chunk_files(shared, ino))


async def test_the_open_files_of_a_client_that_died_are_freed_after_its_lease(
    shared: benchfs.LocalCluster, fs: benchfs.AsyncClient, other: benchfs.AsyncClient
) -> None:
    for name in ("/dies", "/lives"):
        await fs.write_bytes(name, some(5))
    dies, lives = (await fs.stat("/dies")).st_ino, (await fs.stat("/lives")).st_ino
    program = (
        "import benchfs, sys\n"
        "with benchfs.Client(sys.argv[1]) as fs:\n"
        "    file = fs.open('/dies')\n"
        "    print('open', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    async with await other.open("/lives") as file:
        with started(program, shared.url) as holder:
            assert holder.stdout is not None
            assert await asyncio.to_thread(holder.stdout.readline) == "open\n"
            await fs.unlink("/dies")
            await fs.unlink("/lives")
            holder.kill()
        assert chunk_files(shared, dies)
        await until(lambda: not chunk_files(shared, dies))
        assert await file.read() == some(5)  # its client renewed meanwhile
    await until(lambda: not chunk_files(shared, lives))


async def test_unlinked_open_files_survive_a_restart_of_all_nodes() -> None:
    with benchfs.LocalCluster(
        nodes=2, chunk_size=CHUNK, settings={"lease_seconds": LEASE_SECONDS}
    ) as cluster:
        data = some(6)
        async with benchfs.AsyncClient(cluster.url, local_reads=False, cache_bytes=0) as fs:
            await fs.write_bytes("/kept", data)
            await fs.write_bytes("/lost", data)
            kept = await fs.open("/kept", "r+b")
            ino = (await fs.stat("/lost")).st_ino
            async with benchfs.AsyncClient(cluster.url) as other:
                lost = await other.open("/lost")
                await fs.unlink("/kept")
                await fs.unlink("/lost")
                for node in cluster.nodes:
                    await asyncio.to_thread(node.kill)
                    await asyncio.to_thread(node.start)
                await lost.close()
            await until(lambda: not chunk_files(cluster, ino))  # nobody claimed it in the grace
            assert await kept.pread(len(data), 0) == data
            await kept.pwrite(b"still", 0)
            assert await kept.pread(5, 0) == b"still"
            kept_ino = (await kept.stat()).st_ino
            await kept.close()
            await until(lambda: not chunk_files(cluster, kept_ino))


async def test_a_handle_whose_lease_ended_says_that_its_file_is_gone(
    shared: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    """The holder's process stands still for so long that it counts as dead."""
    await fs.write_bytes("/f", some(7))
    ino = (await fs.stat("/f")).st_ino
    program = (
        "import benchfs, os, signal, sys\n"
        "with benchfs.Client(sys.argv[1], local_reads=False, cache_bytes=0) as fs:\n"
        "    file = fs.open('/f')\n"
        "    print('open', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    try:\n"
        "        file.pread(100, 0)\n"
        "    except OSError as problem:\n"
        "        print(problem.errno, flush=True)\n"
    )
    with started(program, shared.url) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert await asyncio.to_thread(holder.stdout.readline) == "open\n"
        await fs.unlink("/f")
        holder.send_signal(19)
        await until(lambda: not chunk_files(shared, ino))
        holder.send_signal(18)
        holder.stdin.write("go\n")
        holder.stdin.flush()
        line = await asyncio.to_thread(holder.stdout.readline)
        assert int(line) == errno.ESTALE


async def test_opening_creating_removing_and_closing_cost_what_they_must(
    fs: benchfs.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request each; a file that was only read closes without waiting for any."""
    asked: list[str] = []
    call = Connection.call

    async def counted(connection: Connection, request: tuple[object, ...], **more: Any) -> Answer:
        asked.append(type(request).__name__)
        return await call(connection, request, **more)

    assert await fs.isdir("/")  # so there is a connection
    monkeypatch.setattr(Connection, "call", counted)
    await (await fs.open("/new", "xb")).close()
    assert asked == ["Open"]
    await until(lambda: asked == ["Open", "Release"])
    asked.clear()
    file = await fs.open("/new")
    assert asked == ["Open"]
    await file.close()
    assert asked == ["Open"]
    await until(lambda: asked == ["Open", "Release"])
    asked.clear()
    await fs.unlink("/new")
    assert asked == ["Unlink"]


async def test_many_files_closed_together_are_released_together(
    fs: benchfs.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[int] = []
    call = Connection.call

    async def counted(connection: Connection, request: tuple[object, ...], **more: Any) -> Answer:
        if isinstance(request, Release):
            released.append(len(request.holds))
        return await call(connection, request, **more)

    monkeypatch.setattr(Connection, "call", counted)
    files = [await fs.open(f"/many-{number}", "wb") for number in range(50)]
    for file in files:
        await file.close()
    await until(lambda: sum(released) == 50)
    assert len(released) < 10


def test_the_synchronous_file_has_the_same_methods(shared: benchfs.LocalCluster) -> None:
    with benchfs.Client(shared.url) as fs, fs.open("/sync", "w+b") as file:
        file.lock(0, 10)
        file.flock(fcntl.LOCK_EX)
        file.write(b"x" * 3 * CHUNK)
        file.fallocate(0, CHUNK, punch_hole=True)
        assert file.seek(0, os.SEEK_DATA) == CHUNK
        assert file.seek(CHUNK, os.SEEK_HOLE) == 3 * CHUNK
        with fs.open("/copy", "w+b") as copy:
            assert fs.copy_file_range(file, copy, 5, 2 * CHUNK, 0) == 5
            assert copy.pread(10, 0) == b"xxxxx"
        assert file.stat().st_size == 3 * CHUNK
        fs.unlink("/sync")
        assert file.stat().st_nlink == 0
        file.flock(fcntl.LOCK_UN)
        file.unlock()
    here = {name for name in dir(benchfs.AsyncFile) if not name.startswith("_")}
    there = {name for name in dir(type(file)) if not name.startswith("_")}
    assert here - there == {"aclose", "holds_back", "inode", "size"}


async def test_one_client_opens_a_limited_number_of_files(
    fs: benchfs.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchfs.holds.HOLDS_MOST", 2)
    async with await fs.open("/a", "wb"), await fs.open("/b", "wb"):
        with pytest.raises(OSError, match="Too many open files") as caught:
            await fs.open("/c", "wb")
        assert caught.value.errno == errno.EMFILE
    await (await fs.open("/c", "wb")).close()


async def test_a_cancelled_write_that_was_sending_what_others_wrote_is_not_forgotten(
    fs: benchfs.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await fs.open("/f", "wb")
    await file.write(b"before")
    taking = asyncio.Event()

    async def never(budget: ByteBudget, size: int) -> None:
        taking.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(ByteBudget, "take", never)
        flushing = asyncio.create_task(file.flush())
        await taking.wait()
        flushing.cancel()
        await asyncio.gather(flushing, return_exceptions=True)
    with pytest.raises(OSError, match="cancel") as caught:
        await file.close()
    assert caught.value.errno == errno.ECANCELED
