"""What is gathered in a turn leaves in its order, packed into few buffers."""

import os
from collections.abc import Callable, Sequence
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from benchfs.rpc.outbox import JOINED_BYTES, SMALL_BYTES, Outbox
from benchfs.rpc.transports.base import Buffer, Link


class Written:
    """A link that keeps what it is given."""

    def __init__(self) -> None:
        self.writes: list[tuple[Buffer, ...]] = []
        self.descriptors: list[tuple[int, ...]] = []
        self.callbacks: list[Callable[[], None] | None] = []

    def write(
        self,
        buffers: Sequence[Buffer],
        *,
        descriptors: Sequence[int] = (),
        then: Callable[[], None] | None = None,
    ) -> None:
        self.writes.append(tuple(buffers))
        self.descriptors.append(tuple(descriptors))
        self.callbacks.append(then)

    @property
    def stream(self) -> bytes:
        return b"".join(bytes(buffer) for buffers in self.writes for buffer in buffers)


def sent(outbox: Outbox) -> Written:
    written = Written()
    outbox.send(cast(Link, written))
    return written


sizes = st.sampled_from([0, 1, 4096, SMALL_BYTES, SMALL_BYTES + 1, JOINED_BYTES + 1])


@given(st.lists(sizes, max_size=12), st.integers(0, 11))
def test_frames_leave_in_their_order_and_their_callbacks_with_them(
    payloads: list[int], lending: int
) -> None:
    outbox, expected, called = Outbox(), bytearray(), list[int]()
    for number, size in enumerate(payloads):
        head, payload = bytes([number]) * 30, os.urandom(size)
        expected += head + payload
        if number == lending:
            outbox.add_bulk((head, payload), 30 + size, (7,), lambda n=number: called.append(n))
        elif size:
            outbox.add_with_payload(head, (payload,), size, lambda n=number: called.append(n))
        else:
            outbox.add(head)

    assert outbox.waiting_bytes == len(expected)
    written = sent(outbox)
    for callback in written.callbacks:
        if callback is not None:
            callback()

    assert written.stream == expected
    with_callback = [n for n, size in enumerate(payloads) if size or n == lending]
    assert called == with_callback
    for buffers, descriptors in zip(written.writes, written.descriptors, strict=True):
        assert not descriptors or bytes(buffers[0]) == bytes([lending]) * 30
    assert outbox.waiting_bytes == 0
    assert sent(outbox).writes == []


def test_small_frames_are_one_buffer() -> None:
    outbox = Outbox()
    for _ in range(10):
        outbox.add_with_payload(b"head", (bytes(1000), bytes(24)), 1024)

    ((buffer,),) = sent(outbox).writes
    assert len(buffer) == 10 * 1028


def test_a_bulk_payload_is_not_copied() -> None:
    outbox, payload = Outbox(), bytes(SMALL_BYTES)
    outbox.add(b"before")
    outbox.add_with_payload(b"head", (payload,), len(payload))

    before, bulk = sent(outbox).writes
    assert before == (b"before",)
    assert bulk[1] is payload
