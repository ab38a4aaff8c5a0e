"""Walking over the records of all chunks of a node, in the order of their keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from benchfsd import rows
from benchfsd.chunks.record import ChunkRecord
from benchfsd.chunks.table import ChunkTable
from benchfsd.database import CorruptRowError

LAST_GROUP = 0xFFFF


class Position(NamedTuple):
    """A chunk. All walks go by group, inode and index."""

    group: int
    ino: int
    chunk: int  # its index


def chunk_records(
    table: ChunkTable, after: Position | None = None
) -> Iterator[tuple[Position, ChunkRecord | None]]:
    """All chunks, those after `after` if it is given; None for a record that is damaged.

    The records of dirty chunks are old: look into memory. Chunks may come and go meanwhile.
    """
    group = after.group if after is not None else 0
    key_after = rows.chunk_key(*after) if after is not None else b""
    while group <= LAST_GROUP:
        prefix = rows.kind_prefix(group, rows.Kind.CHUNK)
        key = _first_key_after(table, prefix)
        if key is None:
            return
        if key.startswith(prefix):
            for chunk, record in table.scan(prefix, key_after):
                yield Position(*rows.chunk_of_key(chunk)), record
            group += 1
        else:
            group = max(int.from_bytes(key[:2]), group + 1)
        key_after = b""


def _first_key_after(table: ChunkTable, after: bytes) -> bytes | None:
    try:
        return next(table.database.scan(b"", after), (None, b""))[0]
    except CorruptRowError as problem:
        return problem.key
