"""Going over all rows of a cluster, a share of the inodes at a time, for the rules."""

from __future__ import annotations

from collections.abc import Mapping

from benchfs.fsck.ask import Questions
from benchfs.fsck.findings import Finding, Kind
from benchfs.fsck.rules import Tally
from benchfs.inode import FileType, home_group
from benchfs.rpc.messages import PendingRecord

PURGE = "purge"


async def collect_pending(ask: Questions) -> dict[bytes, tuple[int, PendingRecord]]:
    """What is unfinished in all groups: mark -> group and record."""
    found: dict[bytes, tuple[int, PendingRecord]] = {}

    async def of_group(group: int) -> None:
        async for record in ask.pending(group):
            found[record.mark] = (group, record)

    await ask.each_group(of_group)
    return found


def busy_inodes(pending: dict[bytes, tuple[int, PendingRecord]]) -> frozenset[int]:
    """The inodes whose names or sizes are about to change."""
    return frozenset(record.ino for _, record in pending.values() if record.kind != PURGE)


async def collect_quotas(ask: Questions) -> dict[int, int]:
    """What directories count to, of those that count to a quota."""
    found: dict[int, int] = {}

    async def of_group(group: int) -> None:
        async for page in ask.inodes(group, 0, 1):
            for inode, *_ in page.inodes:
                if inode.quota and inode.type == FileType.DIRECTORY:
                    found[inode.ino] = inode.quota

    await ask.each_group(of_group)
    return found


async def collect(  # noqa: PLR0917 (what a tally needs)
    ask: Questions,
    share: int,
    shares: int,
    busy: frozenset[int],
    quotas: Mapping[int, int] | None,
    age_ns: int,
) -> list[Finding]:
    """What seems to be wrong about a share of the inodes, and rows that fail their check."""
    tally = Tally(share, shares, ask.map.group_count, busy, quotas)
    damaged: dict[bytes, Finding] = {}

    def note(group: int, keys: tuple[bytes, ...], node: str = "") -> None:
        for key in keys:
            damaged[key] = Finding(Kind.DAMAGED_ROW, group, name=key, node=node)

    async def inodes(group: int) -> None:
        async for page in ask.inodes(group, share, shares):
            tally.add_inodes(page.inodes, now_ns=page.time_ns, age_ns=age_ns)
            for key in page.damaged:
                tally.add_unreadable(int.from_bytes(key[-8:], "big"))
            note(group, page.damaged)

    async def parts(group: int) -> None:
        async for page in ask.parts(group, share, shares):
            tally.add_parts(group, page.inodes)
            note(group, page.damaged)

    async def entries(group: int) -> None:
        async for page in ask.entries(group, share, shares):
            tally.add_entries(group, page.entries)
            note(group, page.damaged)

    async def chunks(node: str) -> None:
        led = frozenset(ask.map.groups_led_by(node))
        async for page in ask.chunks(node, share, shares):
            tally.add_chunks(node, page.chunks, led)
            note(page.group, page.damaged, node)

    await ask.each_group(inodes)
    await ask.each_group(parts)
    await ask.each_group(entries)
    for ino in tally.wide_directories():
        tally.add_used(ino, (await ask.inode(home_group(ino), ino)).parts)
    await ask.each_node(chunks)
    return [*tally.findings(), *damaged.values()]
