"""Why a row may be behind the peers: what the page says of those rows that are."""

from __future__ import annotations

from collections.abc import Sequence

from benchfs.bench.peers import work
from benchfs.bench.peers.work import Row

THROUGH_PYTHON = (
    "Every call of a program at the mount passes through one process that runs Python on one CPU "
    "at a time; the peers' clients are C with threads. The table of CPU time shows what a call "
    "costs."
)
TRANSACTIONS = (
    "A node of BenchFS commits every change of names to a database before it answers; MooseFS' "
    "master changes its memory, answers, and leaves its log to another process."
)
SMALL_REQUESTS = (
    "A transfer of 47,008 bytes is a request of its own or two, 22 times as many for each MiB as "
    "at 1 MiB, and ends within blocks of 64 KiB that have one check each."
)
COPIES = (
    "A byte goes from the program through the kernel, the mount's process and a socket to the "
    "node, on as many CPUs as there are here; checks are computed on the way."
)
WAITS = (
    "It waits for the disk when a file is closed, too, and GlusterFS only when a program asks for "
    "fsync."
)

REASONS: dict[str, Sequence[Row]] = {
    THROUGH_PYTHON: (
        work.CREATE,
        work.STAT,
        work.REMOVE,
        work.SMALL_CREATE,
        work.SMALL_READ,
        work.SMALL_REMOVE,
        work.RANDOM_READ,
    ),
    TRANSACTIONS: (work.CREATE, work.REMOVE, work.SMALL_CREATE, work.SMALL_REMOVE),
    SMALL_REQUESTS: (work.HARD_WRITE, work.HARD_READ),
    COPIES: (work.WRITE, work.READ, work.COLD_READ),
}
