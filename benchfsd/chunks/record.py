"""What the database keeps of chunks, of files and of the store: fields and their encoding.

Pure: bytes in, values out, no rules about when what is written. Numbers are little endian. A
chunk's record promises nothing about the file beside it unless `dirty` is False: then the
file has `length` bytes, and its blocks match `checks`. A small chunk has no file: its bytes
are `data`, in the record, and change in one transaction with their check.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from benchfs.checks import CHECK_SIZE
from benchfs.layout import BLOCK_SIZE, MAX_CHUNK_SIZE

_CHUNK = struct.Struct("<QIIB")  # version, truncation, length, flags
_FILE = struct.Struct("<IH")  # truncation, number of groups
_STORE = struct.Struct("<QQQB")  # version limit, chunks, bytes, flags

_DIRTY = 1
_SMALL = 2
_COUNTED = 1


class RecordError(ValueError):
    """The bytes are not what this module encodes."""


class ChunkRecord(NamedTuple):
    """One chunk, as it was when this was written."""

    version: int  # u64; changes with every write, never used twice
    truncation: int  # u32; the file's truncation epoch under which it was last changed
    length: int  # bytes
    dirty: bool  # the file beside it may have changed since: length and checks may be old
    checks: bytes  # 8 for each block of BLOCK_SIZE; the last one covers up to `length`
    data: bytes = b""  # all bytes of a small chunk, which is never dirty; empty: they are in a file


class FileRecord(NamedTuple):
    """One file, as far as this node knows it."""

    truncation: int  # u32; writes under an older epoch are refused
    groups: tuple[int, ...]  # ascending: where this node has chunks of it


class StoreRecord(NamedTuple):
    """The store as such. The figures count only if `counted`: the last stop was clean."""

    version_limit: int  # no version up to this one may be given out again
    chunks: int
    bytes: int
    counted: bool


def block_count(length: int) -> int:
    """Blocks that `length` bytes touch, from the start of a chunk."""
    return -(-length // BLOCK_SIZE)


def encode_chunk(record: ChunkRecord) -> bytes:
    """The row of a chunk. struct.error if a number does not fit."""
    version, truncation, length, dirty, checks, data = record
    flags = _DIRTY if dirty else 0
    if data:
        assert len(data) == length, "small chunks are whole"
        assert not dirty, "and always clean"
        flags = _SMALL
    return _CHUNK.pack(version, truncation, length, flags) + checks + data


def decode_chunk(value: bytes) -> ChunkRecord:
    """What `encode_chunk` made. Raises RecordError."""
    if len(value) < _CHUNK.size:
        raise RecordError(f"a chunk's record has {len(value)} bytes: too few")
    version, truncation, length, flags = _CHUNK.unpack_from(value)
    if length > MAX_CHUNK_SIZE or flags > _SMALL or (flags == _SMALL and not length):
        raise RecordError(f"no chunk's record: {length} bytes, flags {flags}")
    end = _CHUNK.size + CHECK_SIZE * block_count(length)
    checks, data = value[_CHUNK.size : end], value[end:]
    if len(value) != end + (length if flags == _SMALL else 0):
        rest = len(value) - _CHUNK.size
        raise RecordError(f"a chunk of {length} bytes has {rest} bytes of checks and data")
    return ChunkRecord(version, truncation, length, flags == _DIRTY, checks, data)


def encode_file(record: FileRecord) -> bytes:
    """The row of a file. struct.error if a number does not fit."""
    count = len(record.groups)
    return _FILE.pack(record.truncation, count) + struct.pack(f"<{count}H", *record.groups)


def decode_file(value: bytes) -> FileRecord:
    """What `encode_file` made. Raises RecordError."""
    try:
        truncation, count = _FILE.unpack_from(value)
        if len(value) != _FILE.size + 2 * count:
            raise RecordError(f"a file in {count} groups has a record of {len(value)} bytes")
        return FileRecord(truncation, struct.unpack_from(f"<{count}H", value, _FILE.size))
    except struct.error as problem:
        raise RecordError(f"no file's record: {problem}") from None


def encode_store(record: StoreRecord) -> bytes:
    """The row of the store. struct.error if a number does not fit."""
    return _STORE.pack(record.version_limit, record.chunks, record.bytes, record.counted)


def decode_store(value: bytes) -> StoreRecord:
    """What `encode_store` made. Raises RecordError."""
    try:
        version_limit, chunks, size, flags = _STORE.unpack(value)
    except struct.error as problem:
        raise RecordError(f"no store's record: {problem}") from None
    if flags > _COUNTED:
        raise RecordError(f"no store's record: flags {flags}")
    return StoreRecord(version_limit, chunks, size, bool(flags))
