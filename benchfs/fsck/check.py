"""A check of a whole cluster that serves: look, look again, repair, until nothing changes.

Repairs uncover what they free: an entry that is removed leaves an inode without a name. So a
repair is followed by another look, a few times.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from benchfs.errors import BenchFSError
from benchfs.fsck.ask import Questions
from benchfs.fsck.collect import busy_inodes, collect, collect_pending, collect_quotas
from benchfs.fsck.confirm import Confirmer
from benchfs.fsck.findings import Finding, Kind
from benchfs.fsck.places import Places
from benchfs.fsck.repair import Repairer
from benchfs.fsck.scrub import damaged_chunks
from benchfs.rpc.messages import Attributes, PendingRecord

INODES_A_SHARE = 250_000
ROUNDS_MOST = 4
NANOSECONDS = 1_000_000_000
LOOK_SECONDS = 0.5
AGE_SECONDS = 60.0
PATIENCE_SECONDS = 15.0


class Options(NamedTuple):
    """How to check. What changed in the last `age` seconds is left alone.

    What is unfinished is stuck if nothing of its kind ends in its group for `patience` seconds.
    `data`: verify all chunks, too, each node `rate` bytes a second (None: as fast as it can).
    """

    repair: bool = False
    data: bool = False
    rate: int | None = None
    age: float = AGE_SECONDS
    patience: float = PATIENCE_SECONDS


class Found(NamedTuple):
    """A finding with its path, if there is one, and what became of it."""

    finding: Finding
    path: str | None
    repaired: bool
    failure: str = ""  # why it was not repaired, if that was tried


class Report(NamedTuple):
    """What a check found, in the order it was found; `inodes` is how many there were."""

    inodes: int
    found: list[Found]

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong, or everything was repaired."""
        return all(one.repaired for one in self.found)


class Check:
    """A check. `make_directory` makes /lost+found when it is needed."""

    def __init__(
        self,
        ask: Questions,
        options: Options,
        make_directory: Callable[[], Awaitable[Attributes]],
    ) -> None:
        self._ask = ask
        self._options = options
        self._age_ns = round(options.age * NANOSECONDS)
        self._confirmer = Confirmer(ask)
        self._repairer = Repairer(ask, make_directory)

    async def run(self, inodes: int) -> Report:
        """Check `inodes` inodes, as many as there are about. Raises BenchFSError."""
        repaired: list[Found] = []
        rest: list[Found] = []
        for _ in range(ROUNDS_MOST):
            rest = await self._round(inodes)
            done = [one for one in rest if one.repaired]
            repaired += done
            rest = [one for one in rest if not one.repaired]
            if not done:
                break
        others = await self._stuck()
        if self._options.data:
            others += await damaged_chunks(self._ask, self._options.rate)
        return Report(inodes, [*repaired, *rest, *await self._placed(others)])

    async def _round(self, inodes: int) -> list[Found]:
        """All that is wrong now, and what became of it."""
        shares = max(1, -(-inodes // INODES_A_SHARE))
        found: list[Found] = []
        quotas = await collect_quotas(self._ask) if shares > 1 else None
        for share in range(shares):
            busy = busy_inodes(await collect_pending(self._ask))
            suspicions = await collect(self._ask, share, shares, busy, quotas, self._age_ns)
            confirmed = await self._confirmer.confirm(suspicions)
            placed = await self._placed(confirmed)
            found += [await self._repaired(one) for one in placed]
        return found

    async def _placed(self, findings: list[Finding]) -> list[Found]:
        if not findings:
            return []
        paths = await Places(self._ask).of_findings(findings)
        return [Found(one, path, False) for one, path in zip(findings, paths, strict=True)]

    async def _repaired(self, found: Found) -> Found:
        if not self._options.repair:
            return found
        try:
            return found._replace(repaired=await self._repairer.repair(found.finding))
        except BenchFSError as exc:
            return found._replace(failure=str(exc))

    async def _stuck(self) -> list[Finding]:
        """What is unfinished, and none of its kind in its group ends as long as we wait."""
        first = await collect_pending(self._ask)
        waiting = _by_kind(first)
        left = self._options.patience
        while waiting and left > 0:
            await asyncio.sleep(min(LOOK_SECONDS, left))
            left -= LOOK_SECONDS
            now = await collect_pending(self._ask)
            waiting = {place: marks for place, marks in waiting.items() if marks <= now.keys()}
        return [
            Finding(Kind.STUCK, group, record.ino, text=record.kind)
            for mark, (group, record) in first.items()
            if (group, record.kind) in waiting
        ]


def _by_kind(
    pending: dict[bytes, tuple[int, PendingRecord]],
) -> dict[tuple[int, str], set[bytes]]:
    """The marks of each kind in each group."""
    found: defaultdict[tuple[int, str], set[bytes]] = defaultdict(set)
    for mark, (group, record) in pending.items():
        found[group, record.kind].add(mark)
    return dict(found)
