"""Bytes of files: to the group of the chunk, or to the node that has chunks of the file."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from benchfs.rpc.messages.envelope import Empty, Operation
from benchfs.rpc.messages.numbers import Op
from benchfs.rpc.schema import U16, U32, U64, Blob, Limit, Token

EXTENTS_MOST = 1024  # of one request


class Present(NamedTuple):
    """To a node as such: this session may read or write the chunks of this file."""

    ino: U64
    capability: Token


class ReadChunk(NamedTuple):
    """Bytes of a chunk; the payload of the reply ends where the chunk's bytes end."""

    ino: U64
    index: U32  # type: ignore[assignment]  # hides tuple.index
    offset: U32
    length: U32
    capability: Token = b""  # as by Present; empty: the node knows it, or needs none


class ReadChunkReply(NamedTuple):
    """`checks`: xxh3_64 of each piece of the payload, cut at absolute 64 KiB blocks."""

    version: U64  # changes with every write to the chunk; 0: there is no chunk (a hole)
    checks: Blob


class WriteChunk(NamedTuple):
    """The payload belongs at `offset` of the chunk; `checks` as in ReadChunkReply."""

    ino: U64
    index: U32  # type: ignore[assignment]  # hides tuple.index
    truncation: U32
    offset: U32
    checks: Blob
    capability: Token = b""  # as in ReadChunk


class ChunkExtent(NamedTuple):
    """`length` bytes of a chunk from `offset` on."""

    offset: U32
    length: U32


class WriteExtents(NamedTuple):
    """The payload is the bytes of `extents`, one after the other; they do not overlap.

    `checks` are those of the first extent, then those of the second, and so on, each as of a
    WriteChunk. If it fails, some of them may have been written.
    """

    ino: U64
    index: U32  # type: ignore[assignment]  # hides tuple.index
    truncation: U32
    extents: Annotated[tuple[ChunkExtent, ...], Limit(EXTENTS_MOST)]
    checks: Blob
    capability: Token = b""  # as in ReadChunk


class WriteChunkReply(NamedTuple):
    """The chunk's version after the write."""

    version: U64


class SyncFile(NamedTuple):
    """Make the acknowledged bytes of a file on this node as durable as the mode promises."""

    ino: U64


class CutFile(NamedTuple):
    """Between nodes: cut a file's chunks on this node to `size`, under a new epoch."""

    ino: U64
    truncation: U32
    size: U64
    chunk_size: U32


class PurgeFiles(NamedTuple):
    """Between nodes: remove all chunks of these inodes from this node."""

    inos: Annotated[tuple[U64, ...], Limit(4096)]


class FileEnd(NamedTuple):
    """Between nodes: how far a file's chunks on this node reach."""

    ino: U64
    chunk_size: U32


class FileEndReply(NamedTuple):
    """`end` holds in this truncation epoch only."""

    truncation: U32
    end: U64


class MapData(NamedTuple):
    """To a node: where in a file, from `offset` on, it has data. What it has not is a hole."""

    ino: U64
    chunk_size: U32
    offset: U64


class ExtentRecord(NamedTuple):
    """Bytes of a file from `start` up to `end`."""

    start: U64
    end: U64


class MapDataReply(NamedTuple):
    """Ascending. It says nothing about bytes from `until` on: ask again from there."""

    extents: Annotated[tuple[ExtentRecord, ...], Limit(32_768)]
    until: U64


class AllocateChunk(NamedTuple):
    """Have space for these bytes of a chunk, so that writing there does not fail for want of it."""

    ino: U64
    index: U32  # type: ignore[assignment]  # hides tuple.index
    truncation: U32
    offset: U32
    length: U32


class PunchChunk(NamedTuple):
    """Make these bytes of a chunk a hole. Its length stays."""

    ino: U64
    index: U32  # type: ignore[assignment]  # hides tuple.index
    truncation: U32
    offset: U32
    length: U32


class CopyChunk(NamedTuple):
    """Write bytes that another chunk has, or zeros where it has none: the node fetches them."""

    ino: U64
    index: U32  # type: ignore[assignment]  # hides tuple.index
    truncation: U32
    offset: U32
    length: U32
    source_group: U16
    source_ino: U64
    source_index: U32
    source_offset: U32


OPERATIONS = (
    Operation(Op.PRESENT, Present, Empty, False),
    Operation(Op.READ_CHUNK, ReadChunk, ReadChunkReply, False),
    Operation(Op.WRITE_CHUNK, WriteChunk, WriteChunkReply, True),
    Operation(Op.WRITE_EXTENTS, WriteExtents, WriteChunkReply, True),
    Operation(Op.SYNC_FILE, SyncFile, Empty, False),
    Operation(Op.CUT_FILE, CutFile, Empty, False),  # an epoch: repeats do no harm
    Operation(Op.PURGE_FILES, PurgeFiles, Empty, False),
    Operation(Op.FILE_END, FileEnd, FileEndReply, False),
    Operation(Op.MAP_DATA, MapData, MapDataReply, False),
    Operation(Op.ALLOCATE_CHUNK, AllocateChunk, WriteChunkReply, True),
    Operation(Op.PUNCH_CHUNK, PunchChunk, WriteChunkReply, True),
    Operation(Op.COPY_CHUNK, CopyChunk, WriteChunkReply, True),
)
