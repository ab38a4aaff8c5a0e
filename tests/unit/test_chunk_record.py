"""Records of chunks, and the books that are kept of a chunk's blocks while it is written."""

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchfs.checks import piece_checks
from benchfs.layout import BLOCK_SIZE, MAX_CHUNK_SIZE
from benchfsd.chunks.record import (
    ChunkRecord,
    FileRecord,
    RecordError,
    StoreRecord,
    block_count,
    decode_chunk,
    decode_file,
    decode_store,
    encode_chunk,
    encode_file,
    encode_store,
)
from benchfsd.chunks.state import ChunkState, block_bits, blocks_of, check_of

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
EMPTY = ChunkRecord(version=1, truncation=0, length=0, dirty=False, checks=b"")


@given(U64, U32, st.integers(0, MAX_CHUNK_SIZE), st.booleans(), st.randoms())
def test_a_chunk_record_is_read_as_it_was_written(version, truncation, length, dirty, random):
    record = ChunkRecord(
        version, truncation, length, dirty, random.randbytes(8 * block_count(length))
    )

    assert decode_chunk(encode_chunk(record)) == record


@given(U64, U32, st.binary(min_size=1, max_size=3 * BLOCK_SIZE), st.randoms())
def test_the_record_of_a_small_chunk_has_its_bytes(version, truncation, data, random):
    checks = random.randbytes(8 * block_count(len(data)))
    record = ChunkRecord(version, truncation, len(data), False, checks, data)

    assert decode_chunk(encode_chunk(record)) == record


def test_the_layout_of_a_chunk_record_does_not_change() -> None:
    record = ChunkRecord(0x0102030405060708, 0x0A0B0C0D, 3, True, b"checksum")

    assert encode_chunk(record).hex() == "08070605040302010d0c0b0a0300000001" + (b"checksum".hex())


@pytest.mark.parametrize(
    "value",
    [
        b"",
        bytes(16),
        struct.pack("<QIIB", 1, 0, 1, 0),  # a byte without a check
        struct.pack("<QIIB", 1, 0, 0, 0) + bytes(8),  # a check without a byte
        struct.pack("<QIIB", 1, 0, 0, 4),  # a flag of the future
        struct.pack("<QIIB", 1, 0, 0, 2),  # a small chunk without a byte
        struct.pack("<QIIB", 1, 0, 2, 2) + b"checksum" + b"1",  # one that lacks a byte
        struct.pack("<QIIB", 1, 0, 2, 3) + b"checksum" + b"12",  # one that is dirty
        struct.pack("<QIIB", 1, 0, MAX_CHUNK_SIZE + 1, 0) + bytes(8 * 257),
    ],
)
def test_what_is_no_chunk_record_is_refused(value: bytes) -> None:
    with pytest.raises(RecordError):
        decode_chunk(value)


@given(U32, st.sets(st.integers(0, 2**16 - 1), max_size=300))
def test_a_file_record_is_read_as_it_was_written(truncation, groups):
    record = FileRecord(truncation, tuple(sorted(groups)))

    assert decode_file(encode_file(record)) == record


@given(U64, U64, U64, st.booleans())
def test_a_store_record_is_read_as_it_was_written(limit, chunks, size, counted):
    record = StoreRecord(limit, chunks, size, counted)

    assert decode_store(encode_store(record)) == record


@given(st.binary(max_size=40))
def test_garbage_is_refused_or_something_valid(value: bytes) -> None:
    for decode, encode in ((decode_file, encode_file), (decode_store, encode_store)):
        try:
            record = decode(value)
        except RecordError:
            continue
        assert encode(record) == value  # type: ignore[arg-type]


@given(st.integers(0, 2**24), st.integers(0, 2**24))
def test_the_mask_of_a_range_has_the_blocks_it_touches(offset: int, end: int) -> None:
    expected = sorted({byte // BLOCK_SIZE for byte in range(offset, end, BLOCK_SIZE)})
    if end > offset:
        expected = sorted({*expected, (end - 1) // BLOCK_SIZE})

    assert blocks_of(block_bits(offset, end)) == expected


def test_a_check_of_one_piece_is_what_the_wire_calls_its_check() -> None:
    assert check_of(b"bytes") == piece_checks(b"bytes", 0)


# Ranges of a small chunk, close to the edges of blocks.
PLACES = st.builds(
    lambda block, near: max(block * BLOCK_SIZE + near, 0),
    st.integers(0, 4),
    st.sampled_from([-1000, -1, 0, 1, 1000]),
)
WRITE = st.tuples(st.just("write"), PLACES, st.integers(1, 2 * BLOCK_SIZE + 10))
CUT = st.tuples(st.just("cut"), PLACES, st.just(0))
CLEAN = st.tuples(st.just("clean"), st.just(0), st.just(0))


@given(st.lists(st.one_of(WRITE, CUT, CLEAN), max_size=12))
@example([("write", 0, 10), ("clean", 0, 0), ("write", 3 * BLOCK_SIZE + 5, 10)])
@example([("write", 0, BLOCK_SIZE + 1), ("clean", 0, 0), ("cut", BLOCK_SIZE - 1, 0)])
def test_known_checks_are_always_right_and_kept_bytes_are_verified(steps):
    """Against the bytes themselves. Also: a block that keeps old bytes must be looked at."""
    state = ChunkState(0, 1, 0, EMPTY)
    content = bytearray()
    for number, (kind, at, size) in enumerate(steps):
        before = bytes(content)
        if kind == "write":
            payload = bytes([number + 1]) * size
            must_verify = blocks_to_verify(state, before, at, at + size)
            assert blocks_of(state.to_verify(at, at + size)) == must_verify
            content.extend(bytes(max(at + size - len(content), 0)))
            content[at : at + size] = payload
            state.written(at, at + size, piece_checks(payload, at))
        elif kind == "cut" and at < len(content):
            del content[at:]
            state.cut(at)
        elif kind == "clean":
            for block in blocks_of(state.unknown):
                block_bytes = content[block * BLOCK_SIZE : (block + 1) * BLOCK_SIZE]
                state.set_check(block, check_of(block_bytes))
            state.cleaned()
        assert state.length == len(content)
        assert len(state.checks) == 8 * block_count(len(content))
        for block in range(block_count(len(content))):
            if not state.unknown >> block & 1:
                block_bytes = content[block * BLOCK_SIZE : (block + 1) * BLOCK_SIZE]
                assert state.check(block) == check_of(block_bytes), (number, block)


def blocks_to_verify(state: ChunkState, before: bytes, at: int, end: int) -> list[int]:
    """By the words: settled blocks that keep bytes and get new ones, or zeros after their end."""
    found = []
    for block in range(block_count(len(before))):
        start, stop = block * BLOCK_SIZE, min((block + 1) * BLOCK_SIZE, len(before))
        changes = (at < stop and end > start) or (end > stop and stop < (block + 1) * BLOCK_SIZE)
        keeps = not (at <= start and end >= stop)
        settled = not (state.fresh | state.unknown) >> block & 1
        if changes and keeps and settled:
            found.append(block)
    return found


def test_a_failed_write_leaves_the_length_and_doubts_the_blocks() -> None:
    state = ChunkState(0, 1, 0, EMPTY)
    state.written(0, 2 * BLOCK_SIZE, bytes(16))
    state.cleaned()

    state.disturbed(BLOCK_SIZE + 5, 4 * BLOCK_SIZE)

    assert state.length == 2 * BLOCK_SIZE
    assert blocks_of(state.unknown) == [1]
