"""Which nodes may have chunks of a removed file: few for most files, else all of its layout.

A writer reports the size before it lets go of a file. So the chunks are those that the size says,
and only their nodes need be told, however large the cluster is. That does not hold, and everybody
is told, if a writer was lost or a write of his failed; if the file was ever cut, since every node
has the cut in its rows; or if the file is older than this process, which then does not know.
"""

from __future__ import annotations

from benchfs.inode import home_group
from benchfs.layout import Layout, chunk_group
from benchfsd.node import Node
from benchfsd.rows import Intent


def nodes_with_chunks(node: Node, purge: Intent) -> set[str]:
    """The nodes to tell of a removal; none if there is surely no chunk."""
    layout, group_count = Layout(*purge.layout), node.map.group_count
    chunks = -(-purge.size // layout.chunk_size)
    if not _is_sure(node, purge) or chunks >= (len(layout.stripe) or group_count):
        return set(node.nodes_of(purge.layout))
    groups = {chunk_group(layout, index, group_count) for index in range(chunks)}
    return {node.map.primary(group) for group in groups if group < group_count}


def _is_sure(node: Node, purge: Intent) -> bool:
    """Whether the size covers all chunks that there are."""
    group = home_group(purge.ino)
    return not (
        purge.truncation
        or node.opens.in_grace
        or node.opens.has_spilled(purge.ino)
        or not node.leads(group)
        or not node.namespace(group).inodes.is_new(purge.ino)
    )
