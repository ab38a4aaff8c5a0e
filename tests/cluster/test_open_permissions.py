"""What an open file allows, and to whom: appends, holes, copies, locks, and names elsewhere.

The clients state their users, as a client of the cluster's owner may.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hmac
import os
import stat
from collections.abc import AsyncIterator, Iterator

import pytest

import benchfs
from benchfs.inode import READ, WRITE, home_group
from benchfs.inode_handle import InodeHandle
from benchfs.instance import find
from benchfs.paths import parse
from benchfs.rpc.messages import (
    AllocateChunk,
    CopyChunk,
    FileEnd,
    HoldRecord,
    Lock,
    LockRecord,
    MapData,
    OpenInode,
    Present,
    PunchChunk,
    Renew,
    RenewReply,
    ReportSize,
    ReserveEnd,
)
from benchfsd.capabilities import Capabilities
from tests.cluster.users import ALICE, BOB, denied, only_root

CHUNK = 65_536
LEASE_SECONDS = 2

pytestmark = only_root


@pytest.fixture(scope="module")
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=3, chunk_size=CHUNK) as running:
        yield running


@pytest.fixture
async def fs(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    """The client of the cluster's owner; everybody may make files in the root."""
    async with benchfs.AsyncClient(cluster.url) as client:
        await client.chmod("/", 0o777)
        yield client
        await client.rmtree("/")


@pytest.fixture
def caching() -> dict[str, float]:
    return {"cache_bytes": 0}


class Raw:
    """Requests of a client about a file, whether the client has it open or not."""

    def __init__(self, fs: benchfs.AsyncClient, handle: InodeHandle) -> None:
        self.cluster = fs._use().cluster
        self.handle = handle
        self.ino = handle.ino

    async def home(self, request: tuple[object, ...]) -> object:
        intent = self.cluster.intent("test", "f", 5)
        return (await self.cluster.mutate(intent, home_group(self.ino), request)).message

    async def ask_home(self, request: tuple[object, ...]) -> object:
        intent = self.cluster.intent("test", "f", 5)
        return (await self.cluster.call(intent, home_group(self.ino), request)).message

    async def chunk(self, request: tuple[object, ...]) -> object:
        intent = self.cluster.intent("test", "f", 5)
        return (await self.cluster.mutate(intent, self.handle.group_of(0), request)).message

    async def node(self, request: tuple[object, ...]) -> object:
        intent = self.cluster.intent("test", "f", 5)
        node = self.cluster.map.primary(home_group(self.ino))
        return (await self.cluster.call_node(intent, node, request)).message


async def raw(fs: benchfs.AsyncClient, path: str) -> Raw:
    attributes = await fs._use().attributes("test", parse(path))
    return Raw(fs, InodeHandle(fs._use().cluster, attributes, path))


def lock(ino: int, *, whole: bool = False, exclusive: bool = True) -> Lock:
    return Lock(ino, 1, whole, exclusive, 0, 10, 1, 0)


async def test_a_file_that_is_not_open_is_neither_appended_to_nor_punched_nor_locked(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    await alice.write_bytes("/f", b"12345")
    await alice.chmod("/f", 0o600)
    await bob.write_bytes("/own", b"1")
    file, own = await raw(bob, "/f"), await raw(bob, "/own")
    ino = file.ino

    await denied(file.ask_home(OpenInode(ino, 1, False, 4)))
    await denied(file.ask_home(OpenInode(ino, 1, True, 2)))
    await denied(file.home(ReserveEnd(ino, 9)))
    await denied(file.ask_home(ReportSize(ino, 0, 9, 9)))
    await denied(file.chunk(PunchChunk(ino, 0, 0, 0, 5)))
    await denied(file.chunk(AllocateChunk(ino, 0, 0, 0, 5)))
    await denied(file.node(MapData(ino, CHUNK, 0)))
    await denied(file.node(FileEnd(ino, CHUNK)), errno.EPERM)
    copy_from = CopyChunk(own.ino, 0, 0, 0, 5, file.handle.group_of(0), ino, 0, 0)
    copy_to = CopyChunk(ino, 0, 0, 0, 1, own.handle.group_of(0), own.ino, 0, 0)
    async with await bob.open("/own", "r+b"):
        await denied(own.chunk(copy_from))
        await denied(file.chunk(copy_to))
    await file.node(Renew(0, 1, (HoldRecord(ino, 1, True),), ()))  # it says that it has it open
    await denied(file.ask_home(lock(ino)))
    await denied(file.ask_home(lock(ino, exclusive=False)))
    await denied(file.ask_home(lock(ino, whole=True)))

    assert await alice.read_bytes("/f") == b"12345"
    async with await alice.open("/f", "r+b") as mine:
        await mine.lock(timeout=0)


async def test_who_knows_the_secret_cannot_make_a_capability(
    cluster: benchfs.LocalCluster,
    fs: benchfs.AsyncClient,
    alice: benchfs.AsyncClient,
    bob: benchfs.AsyncClient,
) -> None:
    await alice.write_bytes("/f", b"12345")
    await alice.chmod("/f", 0o600)
    file = await raw(bob, "/f")
    secret = (await find(str(cluster.directory))).secret
    for key in (secret, hmac.digest(secret, b"benchfs-capability", "sha256")):
        made = Capabilities(key).seal(file.cluster.session.session_id, file.ino, READ | WRITE)
        await denied(file.node(Present(file.ino, made)))

    await denied(file.chunk(PunchChunk(file.ino, 0, 0, 0, 5)))
    assert await alice.read_bytes("/f") == b"12345"


async def test_a_lock_is_not_claimed_by_who_has_not_opened_the_file(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    """A node that has restarted believes claims, but not of everybody."""
    settings = {"lease_seconds": 2 * LEASE_SECONDS}  # it lasts over the restart
    async with (
        benchfs.LocalCluster(nodes=1, settings=dict(settings)) as cluster,
        benchfs.AsyncClient(cluster.url) as owner,
        benchfs.AsyncClient(cluster.url, user=ALICE, timeout=30) as honest,
        benchfs.AsyncClient(cluster.url, user=BOB, timeout=30) as liar,
    ):
        await owner.chmod("/", 0o777)
        await honest.write_bytes("/f", b"1")
        await honest.write_bytes("/g", b"1")
        await honest.chmod("/g", 0o600)
        async with await honest.open("/f", "r+b") as file:
            await file.lock(0, 10)
            other = await raw(liar, "/g")
            await asyncio.to_thread(cluster.nodes[0].kill)
            await asyncio.to_thread(cluster.nodes[0].start)
            claim = LockRecord(other.ino, 1, False, True, 0, 10)
            reply = await other.node(Renew(1, 1, (HoldRecord(other.ino, 1, True),), (claim,)))
            assert isinstance(reply, RenewReply)
            assert reply.unlocked == (other.ino,)
            await owner.chmod("/f", 0)
            async with await owner.open("/f", "r+b") as rival:  # answered once the grace is over
                with pytest.raises(BlockingIOError):
                    await rival.lock(0, 1, timeout=0)
            await file.write(b"still mine")
            await file.flush()


async def test_each_kind_of_lock_asks_for_its_right(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    await alice.write_bytes("/f", b"12345")
    await alice.chmod("/f", 0o644)
    file = await raw(bob, "/f")
    async with await bob.open("/f") as reader:
        await reader.lock(0, 5, exclusive=False)
        await reader.unlock()
        await denied(file.ask_home(lock(file.ino)))  # exclusive, by who may only read
        await reader.flock(fcntl.LOCK_EX)
        await reader.flock(fcntl.LOCK_UN)
    await alice.chmod("/f", 0o622)
    async with await bob.open("/f", "ab") as writer:
        await writer.lock(0, 5)


async def test_a_file_open_for_writing_stays_so_when_its_mode_and_owner_change(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    await alice.write_bytes("/f", b"12345")
    await alice.chmod("/f", 0o666)
    append, update = await bob.open("/f", "ab"), await bob.open("/f", "r+b")
    await alice.chmod("/f", 0o600)
    await denied(bob.open("/f", "r+b"))

    await append.write(b"67")
    await append.flush()
    await update.pwrite(b"A", 0)
    await update.flush()
    await update.fallocate(0, 100)
    await update.truncate(4)
    await update.lock(0, 1)
    await append.close()
    await update.close()

    assert await alice.read_bytes("/f") == b"A234"


async def test_bytes_are_copied_by_who_may_read_here_and_write_there(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    data = os.urandom(3 * CHUNK + 5)
    await alice.write_bytes("/source", data)
    await alice.write_bytes("/target", b"")
    await alice.chmod("/source", 0o644)
    await alice.chmod("/target", 0o622)
    async with await bob.open("/source") as source, await bob.open("/target", "ab") as appending:
        with pytest.raises(OSError, match="append"):
            await source.copy_range(appending, 10)
    async with await bob.open("/source") as source, await bob.open("/target", "wb") as target:
        assert await source.copy_range(target, len(data)) == len(data)
        with pytest.raises(benchfs.BenchFSError) as failure:
            await target.copy_range(source, 1)
        assert failure.value.errno == errno.EBADF

    assert await alice.read_bytes("/target") == data
    await alice.chmod("/source", 0o600)
    await denied(bob.open("/source"))


async def test_who_may_only_write_punches_and_finds_holes(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    await alice.write_bytes("/f", b"1" * 4 * CHUNK)
    await alice.chmod("/f", 0o622)
    async with await bob.open("/f", "wb") as file:
        await file.write(b"2" * 4 * CHUNK)
        await file.fallocate(CHUNK, CHUNK, punch_hole=True)
        assert await file.seek(0, os.SEEK_HOLE) == CHUNK
    expected = b"2" * CHUNK + bytes(CHUNK) + b"2" * 2 * CHUNK
    assert await alice.read_bytes("/f") == expected


async def test_appending_takes_setuid_from_a_file(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient
) -> None:
    await alice.write_bytes("/f", b"1")
    await alice.chmod("/f", 0o4755)
    async with await alice.open("/f", "ab") as file:
        await file.write(b"2")
    assert stat.S_IMODE((await fs.stat("/f")).st_mode) == 0o755


async def test_changing_attributes_comes_after_what_was_written(
    alice: benchfs.AsyncClient, fs: benchfs.AsyncClient
) -> None:
    async with await alice.open("/f", "wb") as file:
        await file.write(b"1")
        await alice.utime("/f", ns=(5, 7))
        await alice.chmod("/f", 0o4755)
    found = await alice.stat("/f")
    assert (found.st_mtime_ns, stat.S_IMODE(found.st_mode)) == (7, 0o4755)


async def test_a_name_in_another_directory_opens_and_holds_the_file(
    cluster: benchfs.LocalCluster,
    fs: benchfs.AsyncClient,
    alice: benchfs.AsyncClient,
    bob: benchfs.AsyncClient,
) -> None:
    """Also where name and inode are in different groups: one request more, with all checks."""
    for number in range(8):
        path, there = f"/f{number}", f"/d{number}"
        await alice.write_bytes(path, b"12345" * 1000)  # which is kept in a file
        await alice.chmod(path, 0o644)
        await alice.mkdir(there)
        await alice.link(path, f"{there}/l")
        await denied(bob.open(f"{there}/l", "r+b"))
        async with await bob.open(f"{there}/l") as file:
            await alice.chmod(path, 0o600)
            await alice.unlink(path)
            await alice.unlink(f"{there}/l")
            assert await file.read() == b"12345" * 1000
            assert (await file.stat()).st_nlink == 0
            await file.lock(exclusive=False)
            ino = (await file.stat()).st_ino
            assert list(cluster.directory.glob(f"*/data/chunks/*/{ino:016x}.*"))
        async with asyncio.timeout(20):
            while list(cluster.directory.glob(f"*/data/chunks/*/{ino:016x}.*")):
                await asyncio.sleep(0.02)
