"""Why a row may be behind the peers: what the page says of those rows that are."""

from __future__ import annotations

from collections.abc import Sequence

from benchfs.bench.peers import work
from benchfs.bench.peers.work import Row

NATIVELY_AHEAD = (
    "The native client is ahead on the same nodes: what is slow is the mount's process. Every call "
    "passes through its Python, on one CPU at a time; the peers' clients are C with threads."
)
TRANSACTIONS = (
    "The native client is behind as well. A node of BenchFS commits every change of names to a "
    "database before it answers; MooseFS' master changes its memory, answers, and leaves its log "
    "to another process."
)
REQUESTS = (
    "The native client is behind as well. A call is a request or two to a node that runs Python: "
    "the table of CPU time shows what it costs."
)
PIECES = (
    "The native client is behind as well. A transfer of 47,008 bytes is a request of its own or "
    "two, 22 times as many for each MiB as at 1 MiB, and ends within blocks of 64 KiB that have "
    "one check each."
)
COPIES = (
    "The native client is behind as well. A byte goes through a socket to the node and is checked "
    "on both sides, on as many CPUs as there are here."
)
WAITS = (
    "It waits for the disk when a file is closed, too, and GlusterFS only when a program asks for "
    "fsync."
)

# Of rows on which the native client, too, is behind.
REASONS: dict[str, Sequence[Row]] = {
    TRANSACTIONS: (work.CREATE, work.REMOVE, work.SMALL_CREATE, work.SMALL_REMOVE),
    REQUESTS: (work.STAT, work.SMALL_READ, work.RANDOM_READ),
    PIECES: (work.HARD_WRITE, work.HARD_READ),
    COPIES: (work.WRITE, work.READ, work.COLD_READ),
}


def reasons(mount_behind: Sequence[Row], native_behind: Sequence[Row]) -> dict[str, list[str]]:
    """The titles of the rows on which the mount is behind, by the reason."""
    found = {NATIVELY_AHEAD: [row.title for row in mount_behind if row not in native_behind]}
    for reason, rows in REASONS.items():
        found[reason] = [row.title for row in rows if row in mount_behind and row in native_behind]
    return {reason: titles for reason, titles in found.items() if titles}
