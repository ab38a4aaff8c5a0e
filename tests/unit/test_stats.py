"""The sums over the nodes that statvfs gives."""

from __future__ import annotations

from benchfs.rpc.messages import StatusReply
from benchfs.stats import directory_total

MIB = 1 << 20


def node(disk: str, total: int, free: int, inodes: int) -> StatusReply:
    return StatusReply(
        node_id="",
        version="",
        transport="",
        mode="",
        uptime_ms=0,
        rss_bytes=0,
        connections=0,
        total_bytes=total,
        free_bytes=free,
        chunk_bytes=0,
        chunks=0,
        inodes=inodes,
        groups_led=0,
        disk=disk,
        time_ns=0,
    )


def test_space_and_inodes_of_disks_add_up() -> None:
    figures = directory_total([node("a:1", 8 * MIB, MIB, 5), node("b:1", 4 * MIB, 3 * MIB, 7)])

    assert figures.f_blocks * figures.f_frsize == 12 * MIB
    assert figures.f_bavail * figures.f_frsize == figures.f_bfree * figures.f_bsize == 4 * MIB
    assert figures.f_files - figures.f_ffree == 12


def test_a_disk_of_several_nodes_counts_once_and_their_inodes_each() -> None:
    same = [node("a:1", 8 * MIB, MIB, 5), node("a:1", 8 * MIB, 2 * MIB, 5), node("a:2", MIB, 0, 1)]

    for order in (same, same[::-1]):
        figures = directory_total(order)
        assert figures.f_blocks * figures.f_frsize == 9 * MIB
        assert figures.f_bavail * figures.f_frsize == 2 * MIB
        assert figures.f_files - figures.f_ffree == 11
