"""Chunks lent to clients on the node's host, which then read them without asking."""

from __future__ import annotations

from typing import NamedTuple

from benchfs.rpc.messages.envelope import Operation
from benchfs.rpc.messages.numbers import Op
from benchfs.rpc.schema import U32, U64, Blob


class LendChunk(NamedTuple):
    """Same host: pass the chunk file's descriptor, read-only, with this reply."""

    ino: U64
    index: U32  # type: ignore[assignment]  # hides tuple.index


class LendChunkReply(NamedTuple):
    """The loan is good while the board's cell `cell` still holds `stamp`."""

    cell: U32
    stamp: U64
    version: U64
    length: U32  # bytes of the chunk; what is missing to its end is a hole
    checks: Blob  # of the whole blocks, the last one to `length`


class LendBoard(NamedTuple):
    """Same host: pass the descriptor of the node's board of loans with this reply."""


class LendBoardReply(NamedTuple):
    """The board: an array of u64 cells, each changed before the chunk lent under it changes."""

    cells: U32


OPERATIONS = (
    Operation(Op.LEND_CHUNK, LendChunk, LendChunkReply, False),
    Operation(Op.LEND_BOARD, LendBoard, LendBoardReply, False),
)

LENDING = frozenset({int(Op.LEND_CHUNK), int(Op.LEND_BOARD)})
"""Operations whose replies take a descriptor along."""
