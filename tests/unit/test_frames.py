"""The frame codec: the same bytes give the same frames, however they arrive."""

import itertools
import struct
from collections.abc import Iterable, Iterator

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchfs.rpc.errors import LocalProtocolError, ProtocolError
from benchfs.rpc.frames import (
    HANDSHAKE_LIMITS,
    HEADER_BYTES,
    LIMITS,
    MANY_FRAMES_BYTES,
    SCRATCH_BYTES,
    Frame,
    FrameReader,
    Kind,
    Limits,
    encode,
)

Seen = tuple[Kind, int, list[object], bytes | None, int]

kinds = st.sampled_from(Kind)
ids = st.integers(0, 2**32 - 1)
scalars = st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=20)
bodies = st.lists(scalars | st.none() | st.booleans() | st.lists(scalars, max_size=3), min_size=1)
payloads = st.binary(max_size=300)


@st.composite
def frames(draw: st.DrawFn) -> tuple[bytes, Seen]:
    kind, call_id, body, payload = draw(kinds), draw(ids), draw(bodies), draw(payloads)
    check = draw(st.integers(0, 2**64 - 1))
    encoded = encode(kind, call_id, msgpack.packb(body), len(payload), check) + payload
    return encoded, (kind, call_id, body, payload or None, check)


class Reading:
    """A reader, what it was asked to allocate, and what it gave."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.allocated: list[int] = []
        self.seen: list[Seen] = []
        self.reader = FrameReader(self._allocate, self._deliver, limits)

    def _allocate(self, kind: Kind, call_id: int, body: list[object], size: int) -> memoryview:
        self.allocated.append(size)
        return memoryview(bytearray(size))

    def _deliver(
        self, kind: Kind, call_id: int, body: list[object], payload: memoryview | None, check: int
    ) -> None:
        whole = None if payload is None else bytes(payload)
        self.seen.append((kind, call_id, body, whole, check))

    def feed(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                buffer = self.reader.get_buffer()
                assert len(buffer) > 0, "a buffer is never empty"
                count = min(len(rest), len(buffer))
                buffer[:count] = rest[:count]
                rest = rest[count:]
                self.reader.received(count)


def keeping(target: bytearray) -> tuple[FrameReader, list[Frame]]:
    """A reader of payloads into `target`, and the frames it delivers."""
    delivered: list[Frame] = []
    reader = FrameReader(
        lambda *_: memoryview(target), lambda *fields: delivered.append(Frame(*fields))
    )
    return reader, delivered


def cut(stream: bytes, places: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted({place % (len(stream) + 1) for place in places}), len(stream)]
    for start, end in itertools.pairwise(edges):
        yield stream[start:end]


@given(st.lists(frames(), max_size=6), st.lists(st.integers(0, 10_000), max_size=12))
def test_a_stream_gives_the_same_frames_however_it_is_cut(
    encoded: list[tuple[bytes, Seen]], places: list[int]
) -> None:
    stream = b"".join(whole for whole, _ in encoded)
    expected = [meaning for _, meaning in encoded]

    for pieces in ([stream], cut(stream, places), (bytes([byte]) for byte in stream)):
        reading = Reading()
        reading.feed(pieces)
        assert reading.seen == expected


@given(st.lists(frames(), max_size=3), st.lists(st.integers(0, 10_000), max_size=8))
def test_frames_before_garbage_are_given_however_it_is_cut(
    encoded: list[tuple[bytes, Seen]], places: list[int]
) -> None:
    stream = b"".join(whole for whole, _ in encoded) + b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"

    for pieces in ([stream], cut(stream, places), (bytes([byte]) for byte in stream)):
        reading = Reading()
        with pytest.raises(ProtocolError, match="not a BenchFS connection"):
            reading.feed(pieces)
        assert reading.seen == [meaning for _, meaning in encoded]


def test_a_payload_is_received_straight_into_the_given_buffer() -> None:
    target = bytearray(3 * SCRATCH_BYTES)
    reader, delivered = keeping(target)
    head = encode(Kind.REPLY, 9, msgpack.packb([50]), len(target))
    reader.get_buffer()[: len(head)] = head

    reader.received(len(head))
    assert delivered == []
    rest = reader.get_buffer()
    assert rest.obj is target
    assert len(rest) == len(target)
    rest[:] = b"x" * len(target)
    reader.received(len(target))
    (frame,) = delivered
    assert frame.payload is not None
    assert frame.payload.obj is target
    assert bytes(target) == b"x" * len(target)


def test_an_abandoned_payload_does_not_touch_its_buffer_any_more() -> None:
    target = bytearray(1000)
    reader, delivered = keeping(target)
    stream = encode(Kind.REPLY, 9, msgpack.packb([50]), 1000) + b"a" * 300
    reader.get_buffer()[: len(stream)] = stream
    reader.received(len(stream))
    assert delivered == []

    reader.abandon(8)  # another call
    reader.abandon(9)
    after = encode(Kind.PING, 1, b"")
    reader.get_buffer()[:700] = b"b" * 700
    reader.received(700)
    reader.get_buffer()[: len(after)] = after
    reader.received(len(after))
    frame, ping = delivered

    assert bytes(target) == b"a" * 300 + bytes(700)
    assert (frame.call_id, frame.payload) == (9, None)
    assert ping.kind is Kind.PING


@pytest.mark.parametrize("limits", [LIMITS, HANDSHAKE_LIMITS])
@pytest.mark.parametrize("over", ["body", "payload"])
def test_a_header_over_the_limits_is_refused_before_anything_is_allocated(
    limits: Limits, over: str
) -> None:
    body = limits.body + 1 if over == "body" else 1
    payload = limits.payload + 1 if over == "payload" else 0
    reading = Reading(limits)

    with pytest.raises(ProtocolError, match=f"a {over} of .* is over"):
        reading.feed([header(body=body, payload=payload)])

    assert reading.allocated == []
    assert len(reading.reader.get_buffer()) < SCRATCH_BYTES


@pytest.mark.parametrize("size", [LIMITS.body, LIMITS.body - 1, SCRATCH_BYTES, SCRATCH_BYTES - 24])
def test_a_body_at_its_limit_is_read_and_the_memory_shrinks_again(size: int) -> None:
    body = b"\x91\xc6" + struct.pack(">I", size - 6) + b"x" * (size - 6)
    reading = Reading()

    reading.feed([encode(Kind.REPLY, 1, body), encode(Kind.PING, 2, b"")])

    assert [(kind, call_id) for kind, call_id, *_ in reading.seen] == [
        (Kind.REPLY, 1),
        (Kind.PING, 2),
    ]
    assert len(reading.reader.get_buffer()) == SCRATCH_BYTES


def test_many_small_frames_are_received_in_larger_pieces_until_a_bulk_payload_comes() -> None:
    small = encode(Kind.REPLY, 1, msgpack.packb([50]), 4096) + bytes(4096)
    bulk = encode(Kind.REPLY, 2, msgpack.packb([50]), LIMITS.payload) + bytes(LIMITS.payload)
    after = encode(Kind.PING, 3, b"")
    reading = Reading()

    reading.feed([small * 100])
    larger = len(reading.reader.get_buffer().obj)
    reading.feed([bulk, after])

    assert larger == MANY_FRAMES_BYTES
    assert len(reading.reader.get_buffer()) == SCRATCH_BYTES
    assert [call_id for _, call_id, *_ in reading.seen] == [1] * 100 + [2, 3]


def test_a_payload_at_its_limit_is_read() -> None:
    reading = Reading()

    reading.feed([encode(Kind.REPLY, 1, msgpack.packb([1]), LIMITS.payload)])
    reading.feed([bytes(LIMITS.payload)])

    assert reading.allocated == [LIMITS.payload]
    assert len(reading.seen) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"magic": b"XX"}, "not a BenchFS connection"),
        ({"version": 2}, "frame format 2, this side speaks 1"),
        ({"kind": 0}, "unknown frame kind 0"),
        ({"kind": 8}, "unknown frame kind 8"),
        ({"kind": 255}, "unknown frame kind 255"),
        ({"kind": 1, "body": 0}, "REQUEST frame without a body"),
        ({"kind": 2, "body": 0}, "REPLY frame without a body"),
        ({"kind": 3, "body": 0}, "ERROR frame without a body"),
    ],
)
def test_a_wrong_header_is_refused_as_soon_as_it_is_there(
    change: dict[str, object], message: str
) -> None:
    whole = header(**change)
    for pieces in ([whole], (bytes([byte]) for byte in whole)):
        with pytest.raises(ProtocolError, match=message):
            Reading().feed(pieces)


@given(st.binary(min_size=HEADER_BYTES, max_size=200))
def test_garbage_is_refused(garbage: bytes) -> None:
    reading = Reading()
    if garbage[:3] != b"BF\x01":
        with pytest.raises(ProtocolError):
            reading.feed([garbage])


@given(frames(), st.integers(0, 10_000))
def test_a_truncated_frame_gives_nothing(encoded: tuple[bytes, Seen], place: int) -> None:
    stream = encoded[0]
    reading = Reading()

    reading.feed([stream[: place % len(stream)]])

    assert reading.seen == []


@given(
    st.lists(frames(), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8),
    st.lists(st.integers(0, 10_000), max_size=4),
)
def test_changed_bytes_give_frames_or_a_protocol_error(
    encoded: list[tuple[bytes, Seen]], changes: list[tuple[int, int]], places: list[int]
) -> None:
    stream = bytearray(b"".join(whole for whole, _ in encoded))
    for place, value in changes:
        stream[place % len(stream)] = value
    reading = Reading()

    try:
        reading.feed(cut(bytes(stream), places))
    except ProtocolError:
        pass
    assert all(size <= LIMITS.payload for size in reading.allocated)


def test_this_side_refuses_to_send_what_the_other_would_refuse() -> None:
    with pytest.raises(LocalProtocolError):
        encode(Kind.REPLY, 1, bytes(LIMITS.body + 1))
    with pytest.raises(LocalProtocolError):
        encode(Kind.REPLY, 1, b"\x91\x01", LIMITS.payload + 1)


def header(
    magic: object = b"BF",
    version: object = 1,
    kind: object = 1,
    body: object = 1,
    payload: object = 0,
) -> bytes:
    return struct.pack("<2sBBIIIQ", magic, version, kind, 7, body, payload, 0)
