"""Who moves what, in which order: pure arithmetic over ranks and transfers.

*Whose data*: with -C every rank reads what the rank `task_offset` further wrote, with -Z that of
a rank drawn by lot, each once and none its own. IOR counts both in nodes where neighbours share
one, so do we; ranks that are all on one host have caches of their own here, so they are shifted
as well, where IOR would leave them.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence

from benchfs.bench.ior.settings import Settings

DRAWS = 100


def sources(settings: Settings, hosts: Sequence[str], repetition: int, shift: int) -> list[int]:
    """For each rank whose data it reads; `hosts` names each rank's machine.

    `shift` is how far, in tasks or nodes: `settings.task_offset` for reading.
    """
    tasks = len(hosts)
    if tasks == 1 or not (settings.reorder or settings.reorder_random):
        return list(range(tasks))
    step = shift * _ranks_of_host(hosts) % tasks or shift % tasks or 1
    shifted = [(rank + step) % tasks for rank in range(tasks)]
    if settings.reorder:
        return shifted
    seed = settings.random_seed
    rng = random.Random(seed if seed >= 0 else repetition - seed)
    for _ in range(DRAWS):
        drawn = rng.sample(range(tasks), tasks)
        if all(_distance(rank, source, tasks) >= step for rank, source in enumerate(drawn)):
            return drawn
    # Few permutations keep such a distance: a cycle of all ranks, none reads its own.
    drawn = rng.sample(range(tasks), tasks)
    following = dict(zip(drawn, [*drawn[1:], drawn[0]], strict=True))
    return [following[rank] for rank in range(tasks)]


def _ranks_of_host(hosts: Sequence[str]) -> int:
    """How many neighbours share a host, if ranks were placed host by host; else 1."""
    if len(set(hosts)) == 1 or hosts[0] != hosts[1]:
        return 1
    return hosts.count(hosts[0])


def _distance(rank: int, source: int, tasks: int) -> int:
    return (source - rank) % tasks


class Offsets:
    """Where a rank's transfers lie in its file, by number: `offsets[7]`, in bytes."""

    def __init__(self, settings: Settings, rank: int, tasks: int) -> None:
        self._transfer = settings.transfer
        self._of_block = settings.transfers_of_block
        in_file = 1 if settings.file_per_process else tasks
        self._segment = settings.block * in_file
        self._start = 0 if settings.file_per_process else rank * settings.block
        self._shuffled: array[int] | None = None
        if settings.random_offsets:
            numbers = list(range(settings.transfers))
            random.Random(rank).shuffle(numbers)
            self._shuffled = array("Q", numbers)

    def __getitem__(self, number: int) -> int:
        if self._shuffled is not None:
            number = self._shuffled[number]
        segment, inside = divmod(number, self._of_block)
        return segment * self._segment + self._start + inside * self._transfer
