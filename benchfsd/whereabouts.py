"""Which nodes may have chunks of a removed file: few for most files, else all of its layout.

A writer reports the size before it lets go of a file. So the chunks are those that the size says,
and only their nodes need be told, however large the cluster is. That does not hold, and everybody
is told, if a writer was lost or a write of his failed; if the file was ever cut, since every node
has the cut in its rows; or if the file is older than this process, which then does not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchfs.inode import home_group
from benchfs.layout import Layout, chunk_group
from benchfs.rpc.messages import Attributes
from benchfsd.rows import Intent

if TYPE_CHECKING:
    from benchfsd.node import Node


def nodes_with_chunks(node: Node, purge: Intent) -> set[str]:
    """The nodes to tell of a removal; none if there is surely no chunk."""
    layout, group_count = Layout(*purge.layout), node.map.group_count
    chunks = -(-purge.size // layout.chunk_size)
    sure = is_sure(node, purge.ino, purge.truncation)
    if not sure or chunks >= (len(layout.stripe) or group_count):
        return set(node.nodes_of(purge.layout))
    groups = {chunk_group(layout, index, group_count) for index in range(chunks)}
    return {node.map.primary(group) for group in groups if group < group_count}


def drop_chunks(node: Node, inode: Attributes) -> bool:
    """Have a removed file's chunks go with this turn's batch: none, or a small one at its home.

    False, and nothing is done: there may be others.
    """
    ino, size, (chunk_size, first, stripe) = inode.ino, inode.size, inode.layout
    if size > chunk_size or not is_sure(node, ino, inode.truncation):
        return False
    group = home_group(ino)
    return not size or (
        not stripe and first % node.map.group_count == group and node.store.remove_small(group, ino)
    )


def is_sure(node: Node, ino: int, truncation: int) -> bool:
    """Whether the size covers all chunks that there are."""
    group = home_group(ino)
    return not (
        truncation
        or node.opens.in_grace
        or node.opens.has_spilled(ino)
        or not node.leads(group)
        or not node.namespace(group).inodes.is_new(ino)
    )
