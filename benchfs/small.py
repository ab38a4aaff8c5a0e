"""Writing a small file: its bytes and its size by one request, to where its inode is.

Most files are written once, and closed. While a file is empty nobody depends on where its chunks
will be; so its home group takes the first bytes, if they are few, and its layout begins there.
The node decides whether that may be done (`benchfsd/handlers/small.py`).
"""

from __future__ import annotations

from benchfs.checks import joined_checks
from benchfs.cluster import Cluster, Intent
from benchfs.gathering import Extent
from benchfs.inode import WRITE, home_group
from benchfs.inode_handle import InodeHandle
from benchfs.layout import SMALL_BYTES
from benchfs.rpc.messages import WriteFirst, WriteFirstReply


def may_be_first(inode: InodeHandle, size: int) -> bool:
    """Whether `size` bytes from the start on may be all of the file, as far as is known here."""
    known = inode.attributes
    return (
        size <= SMALL_BYTES
        and not (known.size or known.truncation or known.quota or known.layout.stripe)
        and not inode.spilled
        and len(inode.family) == 1
    )


async def write_first(
    cluster: Cluster, intent: Intent, inode: InodeHandle, extent: Extent, mtime_ns: int
) -> WriteFirstReply:
    """Ask for it. Errors as of a write and of a report of the size."""
    group = home_group(inode.ino)
    capability = cluster.unseen_capability(inode.ino, group, WRITE)
    checks = joined_checks(extent.parts, 0)
    request = WriteFirst(inode.ino, inode.number, mtime_ns, checks, capability)
    slot = await cluster.session.take()
    try:
        answer = await cluster.call(intent, group, request, slot=slot, payload=extent.parts)
    finally:
        cluster.session.give_back(slot)
    assert isinstance(answer.message, WriteFirstReply)
    return answer.message
