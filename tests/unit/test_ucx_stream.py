"""The receiving half of a UCX link, with a worker that does only what the test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from benchfs.rpc.buffers import BufferPool
from benchfs.rpc.transports.ucx.incoming import Incoming, StreamError
from benchfs.rpc.transports.ucx.outgoing import (
    DATA,
    FIN,
    NUMBERS,
    OFFER,
    OFFER_MOST_BYTES,
    OFFERS_MOST,
    WINDOW_BYTES,
)
from benchfs.rpc.transports.ucx.worker import Worker


class Hands:
    """Stands for the worker: transfers end when the test says so."""

    gets_buffers_back = True

    def __init__(self) -> None:
        self.transfers: list[tuple[bytes, memoryview, Callable[[int], None]]] = []
        self.dropped: list[object] = []
        self.touched = 0
        self.buffers = BufferPool()

    def receive(self, offer: bytes, into: memoryview, done: Callable[[int], None]) -> None:
        self.transfers.append((offer, into, done))

    def land(self, status: int = 0) -> None:
        data, into, done = self.transfers.pop(0)
        into[:] = data
        done(status)

    def touch(self, _: object) -> None:
        self.touched += 1

    def drop(self, offer: object) -> None:
        self.dropped.append(offer)

    def progress_until(self, condition: Callable[[], bool], _seconds: float) -> bool:
        if self.transfers:
            self.land()
        return condition()


class Reader:
    """A receiver with a buffer of its own."""

    def __init__(self, size: int = 100_000) -> None:
        self.buffer = memoryview(bytearray(size))
        self.data = bytearray()

    def get_buffer(self) -> memoryview:
        return self.buffer

    def received(self, count: int) -> None:
        self.data += self.buffer[:count]


class Stream:
    def __init__(self, buffer_bytes: int = 100_000) -> None:
        self.hands = Hands()
        self.reader = Reader(buffer_bytes)
        self.credits: list[int] = []
        owner = cast(Any, self)
        self.incoming = Incoming(cast(Worker, self.hands), owner, self.credits.append)
        self.incoming.receiver = cast(Any, self.reader)

    def add(self, number: int, data: bytes) -> None:
        self.incoming.add(DATA, number, data, None, len(data))
        self.incoming.pump()

    def offer(self, number: int, data: bytes) -> None:
        self.incoming.add(OFFER, number, b"", data, len(data))
        self.incoming.pump()


def test_bytes_are_told_in_the_streams_order_whatever_comes_first() -> None:
    stream = Stream()

    stream.add(1, b"second ")
    stream.add(2, b"third")
    assert stream.reader.data == b""
    stream.add(0, b"first ")

    assert stream.reader.data == b"first second third"


def test_numbers_begin_again_after_the_last() -> None:
    stream = Stream()
    stream.incoming._number = NUMBERS - 1

    stream.add(NUMBERS - 1, b"last ")
    stream.add(0, b"and first")

    assert stream.reader.data == b"last and first"


def test_taken_bytes_are_not_told_until_the_sender_confirms_them() -> None:
    """The sender may have given up the link and reused the buffer while it was read."""
    stream = Stream()
    stream.offer(0, b"x" * 60_000)
    stream.hands.land()
    stream.incoming.pump()
    assert stream.reader.data == b""

    stream.incoming.confirm(0)
    stream.incoming.pump()

    assert stream.reader.data == b"x" * 60_000


def test_a_confirmation_before_the_bytes_is_kept() -> None:
    stream = Stream()
    stream.offer(0, b"x" * 60_000)
    stream.incoming.confirm(0)
    stream.incoming.pump()
    assert stream.reader.data == b""

    stream.hands.land()
    stream.incoming.pump()

    assert stream.reader.data == b"x" * 60_000


def test_an_offer_is_taken_straight_into_the_receivers_buffer() -> None:
    stream = Stream()

    stream.offer(0, b"x" * 60_000)

    assert stream.hands.transfers[0][1].obj is stream.reader.buffer.obj


def test_an_offer_larger_than_the_buffer_comes_in_pieces() -> None:
    stream = Stream(buffer_bytes=1000)
    data = bytes(range(256)) * 300
    stream.offer(0, data)
    stream.incoming.confirm(0)
    stream.hands.land()

    stream.incoming.pump()

    assert stream.reader.data == data


def test_settling_gives_the_buffer_back_and_keeps_the_bytes() -> None:
    stream = Stream()
    stream.offer(0, b"x" * 60_000)

    assert stream.incoming.settle()
    stream.reader.buffer[:] = bytes(100_000)
    stream.reader.buffer = memoryview(bytearray(100_000))
    stream.incoming.confirm(0)
    stream.incoming.pump()

    assert stream.reader.data == b"x" * 60_000


def test_nothing_is_taken_while_paused() -> None:
    stream = Stream()
    stream.incoming.paused = True

    stream.offer(0, b"x" * 60_000)
    stream.add(1, b"more")

    assert stream.hands.transfers == []
    assert stream.reader.data == b""


def test_the_sender_is_told_what_was_read() -> None:
    stream = Stream()

    for number in range(20):
        stream.add(number, bytes(20_000))

    assert 0 < sum(stream.credits) <= 400_000


def test_what_is_offered_at_the_end_is_dropped() -> None:
    stream = Stream()
    stream.incoming.paused = True
    stream.offer(0, b"x" * 60_000)
    stream.offer(2, b"y" * 60_000)

    stream.incoming.refuse()

    assert stream.hands.dropped == [b"x" * 60_000, b"y" * 60_000]


def test_a_sender_that_ignores_the_window_breaks_the_rules() -> None:
    stream = Stream()
    stream.incoming.paused = True

    with pytest.raises(StreamError, match="more than its window"):
        for number in range(WINDOW_BYTES // 10_000 + 20):
            stream.add(number, bytes(10_000))


def test_a_sender_with_too_many_offers_breaks_the_rules() -> None:
    stream = Stream()
    stream.incoming.paused = True

    with pytest.raises(StreamError, match="more than its window"):
        for number in range(OFFERS_MOST + 3):
            stream.offer(number, bytes(60_000))


@pytest.mark.parametrize(("kind", "size"), [(OFFER, OFFER_MOST_BYTES + 1), (DATA, 0), (OFFER, 0)])
def test_a_part_of_an_impossible_size_breaks_the_rules(kind: int, size: int) -> None:
    stream = Stream()

    with pytest.raises(StreamError):
        stream.incoming.add(kind, 0, b"", b"" if kind == OFFER else None, size)


def test_the_end_is_reached_behind_all_that_was_sent() -> None:
    stream = Stream()
    stream.incoming.add(FIN, 1, b"", None, 0)
    stream.incoming.pump()
    assert not stream.incoming.finished

    stream.add(0, b"last words")

    assert stream.incoming.finished
    assert stream.reader.data == b"last words"
