"""Advisory locks between clients: waiting, refusing, dying, restarting."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

import benchfs

LEASE_SECONDS = 2


@pytest.fixture(scope="module")
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=2, settings={"lease_seconds": LEASE_SECONDS}) as running:
        yield running


@pytest.fixture
async def fs(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(cluster.url) as client:
        await client.write_bytes("/f", b"0123456789")
        yield client
        await client.rmtree("/")


@pytest.fixture
async def other(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(cluster.url) as client:
        yield client


def started(program: str, url: str) -> subprocess.Popen[str]:
    """A Python process that was given the cluster's URL."""
    command = [sys.executable, "-c", program, url]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def test_ranges_exclude_each_other_where_they_overlap(
    fs: benchfs.AsyncClient, other: benchfs.AsyncClient
) -> None:
    async with await fs.open("/f", "r+b") as mine, await other.open("/f", "r+b") as theirs:
        await mine.lock(0, 5)
        await theirs.lock(5, 5)
        with pytest.raises(BlockingIOError) as caught:
            await theirs.lock(4, 1, timeout=0)
        assert caught.value.errno == errno.EAGAIN
        await mine.unlock(4, 1)
        await theirs.lock(4, 1, timeout=0)
        await mine.lock(0, 4, exclusive=False)
        await theirs.lock(0, 4, exclusive=False, timeout=0)
        with pytest.raises(BlockingIOError):
            await mine.lock(timeout=0.05)


async def test_a_lock_is_waited_for(fs: benchfs.AsyncClient, other: benchfs.AsyncClient) -> None:
    async with await fs.open("/f", "r+b") as mine, await other.open("/f", "r+b") as theirs:
        await mine.lock()
        waiting = asyncio.create_task(theirs.lock())
        with pytest.raises(BlockingIOError):
            await theirs.lock(timeout=0)
        assert not waiting.done()
        await mine.unlock()
        async with asyncio.timeout(20):
            await waiting
        with pytest.raises(BlockingIOError):
            await mine.lock(timeout=0)


@pytest.mark.parametrize("how", ["lock", "flock"])
async def test_who_locks_reads_what_was_written_under_the_lock_before(
    fs: benchfs.AsyncClient, other: benchfs.AsyncClient, how: str
) -> None:
    """Eight counters in two clients, with their caches and their writing behind."""
    await fs.write_bytes("/count", b"0")

    async def count(client: benchfs.AsyncClient) -> None:
        async with await client.open("/count", "r+b") as file:
            for _ in range(10):
                await (file.lock() if how == "lock" else file.flock(fcntl.LOCK_EX))
                await file.seek(0)
                number = int(await file.read())
                await file.pwrite(b"%d" % (number + 1), 0)
                await (file.unlock() if how == "lock" else file.flock(fcntl.LOCK_UN))

    await asyncio.gather(*[count(client) for client in [fs, other] * 4])

    assert await fs.read_bytes("/count") == b"80"


async def test_closing_a_file_unlocks_it(
    fs: benchfs.AsyncClient, other: benchfs.AsyncClient
) -> None:
    async with await other.open("/f", "r+b") as theirs:
        async with await fs.open("/f", "r+b") as mine, await fs.open("/f", "r+b") as second:
            await mine.lock()
            await mine.flock(fcntl.LOCK_EX)
            await mine.close()
            await theirs.lock(timeout=0)
            await theirs.flock(fcntl.LOCK_EX | fcntl.LOCK_NB)
            with pytest.raises(BlockingIOError):
                await second.lock(timeout=0)


async def test_flock_and_ranges_have_nothing_to_do_with_each_other(
    fs: benchfs.AsyncClient, other: benchfs.AsyncClient
) -> None:
    async with await fs.open("/f", "r+b") as mine, await other.open("/f", "rb") as theirs:
        await mine.lock()
        await theirs.flock(fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(BlockingIOError):
            await mine.flock(fcntl.LOCK_SH | fcntl.LOCK_NB)
        await theirs.flock(fcntl.LOCK_SH)
        await mine.flock(fcntl.LOCK_SH | fcntl.LOCK_NB)
        await theirs.flock(fcntl.LOCK_UN)
        await mine.flock(fcntl.LOCK_EX | fcntl.LOCK_NB)


async def test_a_wait_that_is_cancelled_leaves_no_lock(
    fs: benchfs.AsyncClient, other: benchfs.AsyncClient
) -> None:
    async with await fs.open("/f", "r+b") as mine, await other.open("/f", "r+b") as theirs:
        await mine.lock()
        waiting = asyncio.create_task(theirs.lock())
        with pytest.raises(BlockingIOError):
            await theirs.lock(timeout=0)  # so the request before it has arrived
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await theirs.close()
        await mine.unlock()
        await mine.lock(timeout=0)


async def test_clients_that_wait_for_each_other_are_told(
    fs: benchfs.AsyncClient, other: benchfs.AsyncClient
) -> None:
    async with await fs.open("/f", "r+b") as mine, await other.open("/f", "r+b") as theirs:
        await mine.lock(0, 1)
        await theirs.lock(1, 1)
        waiting = asyncio.create_task(theirs.lock(0, 1))
        with pytest.raises(BlockingIOError):
            await theirs.lock(0, 1, timeout=0)
        with pytest.raises(OSError, match="deadlock") as caught:
            await mine.lock(1, 1)
        assert caught.value.errno == errno.EDEADLK
        await mine.unlock(0, 1)
        await waiting


@pytest.mark.parametrize(
    ("mode", "exclusive", "span", "code"),
    [
        ("rb", True, (0, 0), errno.EBADF),
        ("ab", False, (0, 0), errno.EBADF),
        ("r+b", True, (-1, 0), errno.EINVAL),
        ("r+b", True, (0, -1), errno.EINVAL),
    ],
)
async def test_locks_that_make_no_sense_are_refused(
    fs: benchfs.AsyncClient, mode: str, exclusive: bool, span: tuple[int, int], code: int
) -> None:
    async with await fs.open("/f", mode) as file:
        with pytest.raises(OSError) as caught:
            await file.lock(*span, exclusive=exclusive)
        assert caught.value.errno == code
        with pytest.raises(OSError, match="Invalid") as caught:
            await file.flock(fcntl.LOCK_NB)


HOLDER = (
    "import benchfs, sys\n"
    "with benchfs.Client(sys.argv[1], timeout=20) as fs:\n"
    "    file = fs.open('/f', 'r+b')\n"
    "    file.lock()\n"
    "    print('locked', flush=True)\n"
    "    sys.stdin.readline()\n"
    "    try:\n"
    "        file.pwrite(b'late', 0)\n"
    "        print('written', flush=True)\n"
    "    except OSError as problem:\n"
    "        print(problem.errno, flush=True)\n"
    "    file.unlock()\n"
    "    file.lock(timeout=0)\n"
)


async def test_the_locks_of_a_client_that_died_go_with_its_lease(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    async with await fs.open("/f", "r+b") as file:
        with started(HOLDER, cluster.url) as holder:
            assert holder.stdout is not None
            assert await asyncio.to_thread(holder.stdout.readline) == "locked\n"
            with pytest.raises(BlockingIOError):
                await file.lock(timeout=0)
            holder.kill()
        await file.lock(timeout=30)


async def test_a_client_that_stood_still_is_told_that_its_locks_are_lost(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    async with await fs.open("/f", "r+b") as file:
        with started(HOLDER, cluster.url) as holder:
            assert holder.stdin is not None
            assert holder.stdout is not None
            assert await asyncio.to_thread(holder.stdout.readline) == "locked\n"
            holder.send_signal(19)
            await file.lock(timeout=30)
            await file.unlock()
            holder.send_signal(18)
            holder.stdin.write("go\n")
            holder.stdin.flush()
            assert await asyncio.to_thread(holder.stdout.readline) == f"{errno.ENOLCK}\n"
            assert await asyncio.to_thread(holder.wait, 20) == 0


async def test_locks_survive_the_restart_of_their_node() -> None:
    settings = {"lease_seconds": 4}
    with benchfs.LocalCluster(nodes=1, settings=settings) as alone:
        async with (
            benchfs.AsyncClient(alone.url) as first,
            benchfs.AsyncClient(alone.url) as second,
        ):
            await first.write_bytes("/f", b"x")
            async with (
                await first.open("/f", "r+b") as mine,
                await second.open("/f", "r+b") as file,
            ):
                await mine.lock()
                await mine.flock(fcntl.LOCK_SH)
                await asyncio.to_thread(alone.nodes[0].kill)
                await asyncio.to_thread(alone.nodes[0].start)
                with pytest.raises(BlockingIOError):  # waits while locks are claimed again
                    await file.lock(timeout=0)
                await file.flock(fcntl.LOCK_SH | fcntl.LOCK_NB)
                await mine.pwrite(b"y", 0)
                await mine.unlock()
                await file.lock(timeout=0)
