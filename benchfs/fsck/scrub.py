"""Having all nodes verify their chunks, at a rate that leaves the disks to others."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from benchfs.fsck.ask import Questions
from benchfs.fsck.findings import Finding, Kind
from benchfs.fsck.places import Places
from benchfs.rpc.messages import DamageRecord

PIECE_BYTES = 4 * 1024 * 1024
PIECE_SECONDS = 0.25  # of the rate, in one request


class Damage(NamedTuple):
    """Bytes of a file that fail their check or cannot be read; of no length: the record does."""

    path: str | None  # None: no name leads to it
    ino: int
    chunk: int  # its index
    offset: int  # in the chunk, bytes
    length: int

    def words(self) -> str:
        """What is damaged, for people."""
        what = f"bytes {self.offset} to {self.offset + self.length}" if self.length else "record"
        return f"{self.path or f'inode {self.ino:#x}'}: chunk {self.chunk}, {what}"


class NodeScrub(NamedTuple):
    """What a node verified."""

    node: str
    chunks: int
    bytes: int
    damaged: tuple[Damage, ...]


class Pace:
    """Keeps `rate` bytes a second. `started` and `now` are seconds of the same clock."""

    def __init__(self, rate: int | None, started: float) -> None:
        self._rate = rate
        self._started = started
        self._bytes = 0

    @property
    def piece(self) -> int:
        """Bytes to verify at a time."""
        if self._rate is None:
            return PIECE_BYTES
        return max(1, min(PIECE_BYTES, int(self._rate * PIECE_SECONDS)))

    def wait(self, done: int, now: float) -> float:
        """Seconds to wait after `done` more bytes."""
        self._bytes += done
        if self._rate is None:
            return 0.0
        return max(0.0, self._started + self._bytes / self._rate - now)


async def scrub(ask: Questions, rate: int | None) -> list[NodeScrub]:
    """Verify all chunks of all nodes, each node `rate` bytes a second, at the same time."""
    found: dict[str, tuple[int, int, list[DamageRecord]]] = {}

    async def of_node(node: str) -> None:
        found[node] = await _scrub_node(ask, node, rate)

    await ask.each_node(of_node)
    inos = {record.ino for _, _, damaged in found.values() for record in damaged}
    paths = await Places(ask).of_inodes(inos) if inos else {}
    return [
        NodeScrub(
            node,
            chunks,
            size,
            tuple(
                Damage(paths.get(one.ino), one.ino, one.chunk, one.offset, one.length)
                for one in damaged
            ),
        )
        for node, (chunks, size, damaged) in sorted(found.items())
    ]


async def _scrub_node(
    ask: Questions, node: str, rate: int | None
) -> tuple[int, int, list[DamageRecord]]:
    loop = asyncio.get_running_loop()
    pace = Pace(rate, loop.time())
    chunks = size = 0
    damaged: list[DamageRecord] = []
    place = (0, 0, 0)
    while True:
        done = await ask.verify(node, place, pace.piece)
        chunks += done.chunks
        size += done.verified
        damaged += done.damaged
        if not done.more:
            return chunks, size, damaged
        place = (done.group, done.ino, done.chunk)
        await asyncio.sleep(pace.wait(done.verified, loop.time()))


async def damaged_chunks(ask: Questions, rate: int | None) -> list[Finding]:
    """What `scrub` finds, as findings of a check."""
    return [
        Finding(
            *(Kind.DAMAGED_DATA, 0, damage.ino),
            found=damage.chunk,
            node=result.node,
            text=damage.words().partition(", ")[2],
        )
        for result in await scrub(ask, rate)
        for damage in result.damaged
    ]
