"""`statvfs` says what the nodes' disk says, and how many inodes there are."""

from __future__ import annotations

import os

import benchfs


def test_a_disk_that_nodes_share_counts_once_and_every_inode_counts() -> None:
    with benchfs.LocalCluster(nodes=3) as cluster, benchfs.Client(cluster.url) as fs:
        empty = fs.statvfs()
        for number in range(20):
            fs.mkdir(f"/{number}")
            fs.write_bytes(f"/{number}/file", b"x")
        full = fs.statvfs("/3/file")
        disk = os.statvfs(cluster.directory)

        assert {node.reply.disk for node in fs.status() if node.reply} == {
            f"{_host(fs)}:{cluster.directory.stat().st_dev}"
        }
    assert full.f_blocks == disk.f_blocks * disk.f_frsize // full.f_frsize
    assert 0 < full.f_bavail < full.f_blocks
    assert full.f_bfree == full.f_bavail
    assert empty.f_files - empty.f_ffree == 1  # the root
    assert full.f_files - full.f_ffree == 41
    assert full.f_namemax == 255


def _host(fs: benchfs.Client) -> str:
    (host,) = {node.reply.disk.rpartition(":")[0] for node in fs.status() if node.reply}
    return host
