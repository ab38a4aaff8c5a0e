"""What every engine promises, whatever carries the bytes."""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchfs.rpc.transports.base import HIGH_WATER_BYTES, Link, Listener
from tests.contract.links import (
    LITTLE_BY_LITTLE,
    PASSING_DESCRIPTORS,
    WITH_PATHS,
    Engine,
    Recorder,
    descriptors_fall_to,
    open_descriptors,
    turns,
)
from tests.contract.rpc_node import until

MIB = 1024 * 1024


class Pair:
    """A listener, and both ends of one link to it."""

    def __init__(self, listener: Listener, near: Recorder, far: Recorder) -> None:
        self.listener = listener
        self.near = near
        self.far = far

    @property
    def link(self) -> Link:
        return self.near.link


@pytest.fixture
async def pair(engine: Engine) -> AsyncIterator[Pair]:
    far = Recorder()
    listener = await engine.transport.listen(engine.address(), lambda: far)
    near = Recorder()
    link = await engine.transport.connect(listener.address, near)
    assert link is near.link
    await far.until(lambda far: far.connected_count == 1)
    yield Pair(listener, near, far)
    listener.close()
    for recorder in (near, far):
        recorder.link.abort()
        assert len(recorder.lost_reasons) == 1


async def test_bytes_arrive_in_order_both_ways(pair: Pair) -> None:
    for number in range(500):
        pair.link.write([f"{number},".encode()])
        if number % 7 == 0:
            pair.link.flush()
        pair.far.link.write([f"{number};".encode()])
    pair.link.flush()
    pair.far.link.flush()

    await pair.far.until(lambda far: far.data.endswith(b"499,"))
    await pair.near.until(lambda near: near.data.endswith(b"499;"))
    assert pair.far.data == "".join(f"{number}," for number in range(500)).encode()
    assert pair.near.data == "".join(f"{number};" for number in range(500)).encode()


async def test_nothing_is_sent_before_the_flush(pair: Pair) -> None:
    pair.link.write([b"abc"])
    await turns()
    assert pair.far.data == b""
    assert pair.link.waiting_bytes == 3

    pair.link.flush()
    await pair.far.until(lambda far: far.data == b"abc")
    assert pair.link.waiting_bytes == 0


async def test_a_list_of_buffers_of_any_kind_and_size_is_one_stream(pair: Pair) -> None:
    parts = [bytes([number % 256]) * (number % 50) for number in range(1000)]
    kinds = (bytes, bytearray, memoryview)
    sent: list[bool] = []

    pair.link.write(
        [kinds[number % 3](part) for number, part in enumerate(parts)],
        then=lambda: sent.append(True),
    )
    pair.link.flush()

    whole = b"".join(parts)
    await pair.far.until(lambda far: len(far.data) >= len(whole))
    assert pair.far.data == whole
    assert sent == [True]


@pytest.mark.parametrize("buffers", [[], [b""], [b"", b""], [b"x", b""], [b"", b"x", b""]])
async def test_empty_buffers_are_sent_like_others(pair: Pair, buffers: list[bytes]) -> None:
    sent: list[bool] = []

    pair.link.write(buffers, then=lambda: sent.append(True))
    pair.link.write([b"end"])
    pair.link.flush()

    await pair.far.until(lambda far: far.data.endswith(b"end"))
    assert sent == [True]
    assert pair.link.waiting_bytes == 0


async def test_16_mib_reach_a_slow_reader_and_the_sender_is_told(pair: Pair) -> None:
    payload = os.urandom(MIB) * 16
    sent: list[int] = []
    pair.far.link.pause_reading()

    pair.link.write([b"head", payload], then=lambda: sent.append(len(pair.far.data)))
    pair.link.write([b"tail"])
    pair.link.flush()
    await turns(50)
    assert sent == []
    assert pair.link.waiting_bytes > HIGH_WATER_BYTES

    expected = len(payload) + 8
    while len(pair.far.data) < expected:  # now and then a few bytes
        before = len(pair.far.data)
        pair.far.link.resume_reading()
        await pair.far.until(lambda far: len(far.data) > before)  # noqa: B023
        pair.far.link.pause_reading()
    pair.far.link.resume_reading()
    await pair.near.until(lambda near: near.drained_count == 1)

    assert pair.far.data == b"head" + payload + b"tail"
    assert len(sent) == 1
    assert pair.link.waiting_bytes == 0
    assert pair.near.drained_count == 1


@pytest.mark.parametrize("engine", LITTLE_BY_LITTLE, indirect=True)
async def test_what_waits_becomes_less_while_a_slow_peer_reads(pair: Pair) -> None:
    pair.link.write([bytes(16 * MIB)])
    pair.link.flush()
    seen = {pair.link.waiting_bytes}

    def slowly(count: int) -> None:
        pair.far.count += count
        seen.add(pair.link.waiting_bytes)
        pair.far.note()

    pair.far.received = slowly  # type: ignore[method-assign]
    await pair.far.until(lambda far: far.count == 16 * MIB)

    assert len(seen) > 3


async def test_drained_is_not_told_below_the_high_water_mark(pair: Pair) -> None:
    pair.link.write([bytes(HIGH_WATER_BYTES)])
    pair.link.flush()
    await pair.far.until(lambda far: far.count == HIGH_WATER_BYTES)
    await turns()

    assert pair.near.drained_count == 0


async def test_a_paused_link_receives_nothing_until_it_resumes(pair: Pair) -> None:
    pair.far.link.pause_reading()
    pair.far.link.pause_reading()
    pair.link.write([b"abc"])
    pair.link.flush()
    await turns(50)
    assert pair.far.data == b""

    pair.far.link.resume_reading()
    pair.far.link.resume_reading()
    await pair.far.until(lambda far: far.data == b"abc")


async def test_then_is_called_once_for_each_write_in_order(pair: Pair) -> None:
    called: list[int] = []
    for number in range(300):
        pair.link.write([b"x" * 1000], then=lambda number=number: called.append(number))
    pair.link.flush()
    await pair.far.until(lambda far: far.count == 300_000)

    assert called == list(range(300))


async def test_then_is_called_on_loss_and_after_it(pair: Pair) -> None:
    called: list[str] = []
    pair.far.link.pause_reading()
    pair.link.write([bytes(16 * MIB)], then=lambda: called.append("waiting"))
    pair.link.flush()
    pair.link.write([b"never flushed"], then=lambda: called.append("queued"))

    pair.link.abort()
    assert called == ["waiting", "queued"]
    pair.link.write([b"late"], then=lambda: called.append("late"))

    assert called == ["waiting", "queued", "late"]
    assert pair.link.waiting_bytes == 0


async def test_then_may_abort_the_link(pair: Pair) -> None:
    called: list[str] = []
    pair.link.write([b"a"], then=pair.link.abort)
    for name in "bcd":
        pair.link.write([b"x"], then=lambda name=name: called.append(name))

    pair.link.flush()

    assert sorted(called) == ["b", "c", "d"]
    assert len(pair.near.lost_reasons) == 1


async def test_then_may_write_and_flush(pair: Pair) -> None:
    def more() -> None:
        pair.link.write([b"second"], then=pair.near.note)
        pair.link.flush()

    pair.link.write([b"first "], then=more)
    pair.link.flush()

    await pair.far.until(lambda far: far.data == b"first second")


async def test_close_sends_what_is_queued_and_then_ends(pair: Pair) -> None:
    pair.link.write([b"x" * MIB, b"last words"])
    pair.link.close()
    pair.link.close()

    await pair.far.until(lambda far: bool(far.lost_reasons))
    await pair.near.until(lambda near: bool(near.lost_reasons))
    assert pair.far.count == MIB + 10
    assert pair.far.data.endswith(b"last words")


async def test_a_closing_link_receives_nothing_more_even_when_resumed(pair: Pair) -> None:
    pair.far.link.pause_reading()
    pair.link.write([bytes(16 * MIB)])
    pair.link.close()
    assert pair.near.lost_reasons == []

    pair.link.resume_reading()
    pair.far.link.write([b"are you there"])
    pair.far.link.flush()
    await turns(50)

    assert pair.near.data == b""


async def test_close_gives_up_on_a_peer_that_does_not_read(pair: Pair) -> None:
    called: list[bool] = []
    pair.far.link.pause_reading()
    pair.link.write([bytes(16 * MIB)], then=lambda: called.append(True))
    pair.link.close()

    await pair.near.until(lambda near: bool(near.lost_reasons))

    assert called == [True]


async def test_abort_ends_both_sides_exactly_once(pair: Pair) -> None:
    pair.link.abort()
    pair.link.abort()
    pair.link.close()
    pair.link.flush()
    pair.link.pause_reading()
    pair.link.resume_reading()
    assert len(pair.near.lost_reasons) == 1

    await pair.far.until(lambda far: bool(far.lost_reasons))
    pair.far.link.abort()
    await turns()
    assert len(pair.far.lost_reasons) == 1


async def test_abort_inside_received_is_the_end(pair: Pair) -> None:
    def abort(count: int) -> None:
        pair.far.count += count
        pair.far.link.abort()

    pair.far.received = abort  # type: ignore[method-assign]
    for _ in range(100):
        pair.link.write([bytes(64 * 1024)])
    pair.link.flush()

    await pair.near.until(lambda near: bool(near.lost_reasons))
    assert len(pair.far.lost_reasons) == 1
    assert pair.far.count <= 64 * 1024


async def test_connecting_where_nobody_listens_is_an_os_error(engine: Engine) -> None:
    listener = await engine.transport.listen(engine.address(), Recorder)
    address = listener.address
    listener.close()
    listener.close()

    with pytest.raises(OSError):
        await engine.transport.connect(address, Recorder())


async def test_a_malformed_address_is_an_os_error(engine: Engine) -> None:
    for address in ("tcp://", "tcp://host", "http://host:1", "mem://", f"unix:///{'x' * 200}"):
        with pytest.raises(OSError):
            await engine.transport.connect(address, Recorder())


async def test_an_address_in_use_is_refused(engine: Engine) -> None:
    listener = await engine.transport.listen(engine.address(), Recorder)

    with pytest.raises(OSError):
        await engine.transport.listen(listener.address, Recorder)
    listener.close()
    again = await engine.transport.listen(listener.address, Recorder)
    again.close()


async def test_links_stay_when_their_listener_closes(pair: Pair) -> None:
    pair.listener.close()
    pair.link.write([b"still here"])
    pair.link.flush()

    await pair.far.until(lambda far: far.data == b"still here")


@pytest.mark.parametrize("engine", WITH_PATHS, indirect=True)
async def test_a_stale_socket_is_replaced_and_other_things_are_not(engine: Engine) -> None:
    address = engine.address()
    path = Path(urlsplit(address).path)
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    assert path.exists()

    listener = await engine.transport.listen(address, Recorder)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    listener.close()
    assert not path.exists()

    path.write_text("a file of the user")
    with pytest.raises(OSError):
        await engine.transport.listen(address, Recorder)
    assert path.read_text() == "a file of the user"


async def test_the_kernel_vouches_for_the_peer(engine: Engine, pair: Pair) -> None:
    if not engine.knows_the_peer:
        assert pair.far.link.peer[1:] == (None, None, None, ())
        return
    known = (os.getuid(), os.getgid(), os.getpid(), tuple(sorted(os.getgroups())))
    assert pair.far.link.peer._replace(groups=tuple(sorted(pair.far.link.peer.groups)))[1:] == known


@pytest.mark.parametrize("engine", PASSING_DESCRIPTORS, indirect=True)
async def test_descriptors_arrive_with_their_bytes(pair: Pair) -> None:
    pair.far.link.expect_descriptors()
    assert pair.far.link.take_descriptor() is None
    before = open_descriptors()
    pipes = [os.pipe() for _ in range(3)]
    for number, (_, write_end) in enumerate(pipes):
        pair.link.write([b"with", str(number).encode()], descriptors=[write_end])
    pair.link.flush()
    await pair.far.until(lambda far: far.data == b"with0with1with2")

    for number, (read_end, _) in enumerate(pipes):
        received = pair.far.link.take_descriptor()
        assert received is not None
        os.write(received, str(number).encode())
        os.close(received)
        assert os.read(read_end, 10) == str(number).encode()
        assert os.read(read_end, 10) == b"", "the sender's descriptor is closed, too"
        os.close(read_end)
    assert pair.far.link.take_descriptor() is None
    await descriptors_fall_to(before)


@pytest.mark.parametrize("engine", PASSING_DESCRIPTORS, indirect=True)
async def test_descriptors_that_nobody_takes_are_closed(pair: Pair) -> None:
    before = open_descriptors()
    ends = [os.pipe() for _ in range(4)]
    pair.link.write([b"a"], descriptors=[ends[0][1]])  # not expected
    pair.link.flush()
    await pair.far.until(lambda far: far.data == b"a")
    pair.far.link.expect_descriptors()
    pair.link.write([b"b"], descriptors=[ends[1][1]])  # not taken
    pair.link.flush()
    await pair.far.until(lambda far: far.data == b"ab")
    pair.link.write([b"c"], descriptors=[ends[2][1]])  # not sent
    pair.link.abort()
    pair.link.write([b"d"], descriptors=[ends[3][1]])  # too late
    await pair.far.until(lambda far: bool(far.lost_reasons))

    for read_end, _ in ends:
        assert os.read(read_end, 1) == b""
        os.close(read_end)
    await descriptors_fall_to(before)


async def test_200_connections_that_are_gone_leave_no_descriptor(engine: Engine) -> None:
    far: list[Recorder] = []

    def accept() -> Recorder:
        far.append(Recorder(1024))
        return far[-1]

    before = open_descriptors()
    listener = await engine.transport.listen(engine.address(), accept)
    near = [Recorder(1024) for _ in range(200)]
    await asyncio.gather(
        *(engine.transport.connect(listener.address, recorder) for recorder in near)
    )
    await until(lambda: len(far) == 200)
    for number, recorder in enumerate(near):
        recorder.link.write([b"hello"])
        (recorder.link.close if number % 2 else recorder.link.abort)()
    for recorder in (*near, *far):
        await recorder.until(lambda recorder: bool(recorder.lost_reasons))
    listener.close()

    assert all(len(recorder.lost_reasons) == 1 for recorder in (*near, *far))
    await descriptors_fall_to(before)
