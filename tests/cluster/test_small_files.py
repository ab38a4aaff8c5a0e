"""Files that are small and written once: what they cost, and that nothing of them gets lost."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

import pytest

import benchfs
from benchfs.checks import piece_checks
from benchfs.cluster import Cluster
from benchfs.inode import READ, WRITE, home_group
from benchfs.rpc.connection import Answer
from benchfs.rpc.messages import OpenInode, ReportSize, WriteFirst, WriteFirstReply
from tests.cluster.users import ALICE, only_root

SMALL = b"a small file" * 300


@pytest.fixture(scope="module")
def cluster() -> Iterator[benchfs.LocalCluster]:
    with benchfs.LocalCluster(nodes=3) as running:
        yield running


@pytest.fixture
async def fs(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    async with benchfs.AsyncClient(str(cluster.directory)) as client:
        yield client
        await client.rmtree("/")


async def chunk_files(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient, path: str
) -> list[str]:
    ino = (await fs.stat(path)).st_ino
    return [file.name for file in cluster.directory.glob(f"node-*/data/chunks/*/{ino:016x}.*")]


async def test_one_is_made_by_two_requests_and_read_by_one(
    fs: benchfs.AsyncClient,
) -> None:
    await fs.stat("/")
    before = fs.requests

    async with await fs.open("/f", "xb") as file:
        await file.write(SMALL)
    written = fs.requests - before
    async with await fs.open("/f", "rb") as file:
        assert await file.pread(len(SMALL), 0) == SMALL

    assert written == 2
    assert fs.requests - before - written <= 2  # one may be the release of the file that was made


async def test_they_have_no_chunk_files_until_they_are_changed(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    await fs.write_bytes("/f", SMALL)
    assert await chunk_files(cluster, fs, "/f") == []

    async with await fs.open("/f", "r+b") as file:
        await file.pwrite(b"changed", 2)

    assert len(await chunk_files(cluster, fs, "/f")) == 1
    assert await fs.read_bytes("/f") == SMALL[:2] + b"changed" + SMALL[9:]


async def test_kill_of_all_nodes_loses_none_that_was_closed(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    for number in range(20):
        await fs.write_bytes(f"/{number}", SMALL + b"%d" % number)

    for node in cluster.nodes:
        node.kill()
    for node in cluster.nodes:
        await asyncio.to_thread(node.start)

    for number in range(20):
        assert await fs.read_bytes(f"/{number}") == SMALL + b"%d" % number


async def test_another_handle_waits_for_what_a_close_is_writing(fs: benchfs.AsyncClient) -> None:
    writer = await fs.open("/f", "w+b")
    reader = await fs.open("/f", "rb")
    await writer.write(SMALL)

    closing = asyncio.create_task(writer.close())
    await asyncio.sleep(0)

    assert await reader.read() == SMALL
    await closing
    await reader.close()


async def cancelled_on_its_way(
    cluster: benchfs.LocalCluster, work: Coroutine[object, object, None]
) -> asyncio.Task[None]:
    """Have `work` ask nodes that do not answer, and cancel it."""
    for node in cluster.nodes:
        node.pause()
    try:
        task = asyncio.create_task(work)
        await asyncio.sleep(0)
        task.cancel()
    finally:
        for node in cluster.nodes:
            node.resume()
    return task


async def test_a_close_that_was_cancelled_while_it_wrote_is_never_a_success(
    fs: benchfs.AsyncClient, cluster: benchfs.LocalCluster
) -> None:
    writer = await fs.open("/f", "xb")
    await writer.write(SMALL)
    closing = await cancelled_on_its_way(cluster, writer.close())

    with pytest.raises(asyncio.CancelledError):
        await closing
    assert writer.closed
    assert await fs.read_bytes("/f") in {b"", SMALL}


async def test_a_flush_that_was_cancelled_while_it_wrote_the_first_bytes_is_told(
    fs: benchfs.AsyncClient, cluster: benchfs.LocalCluster
) -> None:
    file = await fs.open("/f", "xb")
    await file.write(SMALL)
    flushing = await cancelled_on_its_way(cluster, file.flush())
    with pytest.raises(asyncio.CancelledError):
        await flushing

    with pytest.raises(OSError, match="cancel"):
        await file.write(SMALL)
    with pytest.raises(OSError, match="cancel"):
        await file.close()


async def test_a_size_whose_report_was_cancelled_is_reported_by_the_close(
    fs: benchfs.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = 0
    call = Cluster.call

    async def cancelled_once(self: Cluster, *arguments: Any, **options: Any) -> Answer:
        nonlocal reports
        if isinstance(arguments[2], ReportSize):
            reports += 1
            if reports == 1:
                raise asyncio.CancelledError
        return await call(self, *arguments, **options)

    monkeypatch.setattr(Cluster, "call", cancelled_once)
    file = await fs.open("/f", "xb")
    await file.write(SMALL * 2)
    with pytest.raises(asyncio.CancelledError):
        await file.flush()

    await file.close()

    assert reports == 2
    assert (await fs.stat("/f")).st_size == 2 * len(SMALL)


async def test_two_who_write_one_that_is_empty_do_not_lose_each_other_s_bytes(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    async with benchfs.AsyncClient(str(cluster.directory)) as other:
        for number in range(8):  # their chunks are to be at any of the nodes
            mine = await fs.open(f"/{number}", "xb")
            theirs = await other.open(f"/{number}", "r+b")
            await mine.write(b"mine")
            await theirs.pwrite(b"theirs", 4)
            await mine.flush()
            await theirs.close()
            await mine.close()

            assert await fs.read_bytes(f"/{number}") == b"minetheirs"


async def test_two_opens_of_one_that_is_empty_do_not_lose_each_other_s_bytes(
    fs: benchfs.AsyncClient,
) -> None:
    for number in range(8):
        first = await fs.open(f"/{number}", "xb")
        await first.write(b"first")
        closing, opening = first.close(), fs.open(f"/{number}", "r+b")
        second, _ = await asyncio.gather(opening, closing)
        await second.pwrite(b"second", 5)
        await second.close()

        assert await fs.read_bytes(f"/{number}") == b"firstsecond"


async def test_who_has_one_open_since_it_was_empty_reads_and_writes_what_it_became(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    async with benchfs.AsyncClient(str(cluster.directory), attribute_seconds=0) as other:
        for number in range(8):
            writer = await fs.open(f"/{number}", "xb")
            reader = await other.open(f"/{number}", "rb")
            assert await reader.pread(10, 0) == b""
            await writer.write(b"written")
            await writer.flush()

            assert await reader.pread(10, 0) == b"written"
            await writer.write(b" and more")
            await writer.close()
            assert await reader.pread(20, 0) == b"written and more"
            await reader.close()


async def test_what_came_with_an_open_is_not_read_when_others_changed_it(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fs.write_bytes("/f", b"before")
    async with benchfs.AsyncClient(str(cluster.directory)) as other:
        fresh, late = [await other.open("/f", "rb") for _ in range(2)]
        own = await other.open("/f", "r+b")
        async with await fs.open("/f", "r+b") as file:
            await file.write(b"after!")

        assert await fresh.pread(6, 0) == b"before"  # as it was when it was opened
        assert await fresh.pread(6, 0) == b"after!"
        monkeypatch.setattr("benchfs.file.BROUGHT_SECONDS", 0.0)
        assert await late.pread(6, 0) == b"after!"
        await own.pwrite(b"own", 0)
        assert await own.pread(6, 0) == b"owner!"


async def test_a_first_write_that_is_repeated_undoes_no_later_one(
    fs: benchfs.AsyncClient,
) -> None:
    file = await fs.open("/f", "xb")
    cluster, inode = fs._use().cluster, file.inode
    intent, group = cluster.intent("test", "/f", 20), home_group(inode.ino)
    request = WriteFirst(inode.ino, inode.number, 1, piece_checks(b"first", 0))
    slot = await cluster.session.take()

    first = await cluster.call(intent, group, request, slot=slot, payload=(b"first",))
    async with await fs.open("/f", "r+b") as later:
        await later.write(b"later")
    again = await cluster.call(intent, group, request, slot=slot, payload=(b"first",))
    another = await cluster.call(
        intent, group, request, slot=await cluster.session.take(), payload=(b"first",)
    )

    replies = [first.message, again.message, another.message]
    assert [isinstance(reply, WriteFirstReply) and reply.written for reply in replies] == [
        True,
        True,
        False,
    ]
    assert await fs.read_bytes("/f") == b"later"
    await file.close()


async def test_who_has_opened_one_again_does_not_write_it_under_the_first_open(
    fs: benchfs.AsyncClient,
) -> None:
    first, second = await fs.open("/f", "xb"), await fs.open("/f", "r+b")
    cluster, ino = fs._use().cluster, first.inode.ino

    async def written(number: int) -> bool:
        intent = cluster.intent("test", "/f", 20)
        request = WriteFirst(ino, number, 1, piece_checks(b"1", 0))
        answer = await cluster.call(intent, home_group(ino), request, payload=(b"1",))
        assert isinstance(answer.message, WriteFirstReply)
        return answer.message.written

    assert not await written(first.inode.number)
    assert await written(second.inode.number)
    await first.close()
    await second.close()


@only_root
async def test_who_may_not_read_one_is_not_brought_its_content(
    cluster: benchfs.LocalCluster, fs: benchfs.AsyncClient
) -> None:
    await fs.write_bytes("/f", SMALL)
    await fs.chmod("/f", 0o602)
    async with benchfs.AsyncClient(str(cluster.directory), user=ALICE) as alice:
        mine, theirs = fs._use().cluster, alice._use().cluster
        ino = (await fs.stat("/f")).st_ino

        async def brought(of: Cluster, wanted: int) -> bytes:
            request = OpenInode(ino, 1, False, wanted, 4096)
            intent = of.intent("test", "/f", 20)
            return bytes((await of.call(intent, home_group(ino), request)).payload or b"")

        assert await brought(mine, READ) == SMALL
        assert await brought(theirs, WRITE) == b""
        assert await brought(theirs, 0) == b""
        with pytest.raises(PermissionError):
            await brought(theirs, READ)
