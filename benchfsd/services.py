"""What a node answers, and the work behind it: the handlers of all operations, wired together.

A daemon runs this behind sockets, a simulation behind links in memory. Nothing here knows of
either; it belongs to the event loop of its node.
"""

from __future__ import annotations

from benchfs.rpc.messages import Op
from benchfs.rpc.server import Handler
from benchfsd import metrics
from benchfsd.handlers import chunks, cluster, copying, inodes, opens, sparse, wide, xattrs
from benchfsd.handlers.changes import Changes
from benchfsd.handlers.checking import Checking
from benchfsd.handlers.links import HardLinks
from benchfsd.handlers.locks import LockHandlers
from benchfsd.handlers.names import NameHandlers, retry_rmdir
from benchfsd.handlers.quotas import AllowanceKeeper, QuotaHandlers
from benchfsd.handlers.small import SmallFiles
from benchfsd.node import Node
from benchfsd.orphans import Orphans
from benchfsd.purge import Purger
from benchfsd.rows import IntentKind
from benchfsd.sizes import LiveSizes


class Services:
    """The handlers of one node. Its root directory, if it leads it, must be there already."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._purger = Purger(node)
        self._allowances = AllowanceKeeper(node)
        self._changes = Changes(node, self._purger, self._allowances)
        self._hard_links = HardLinks(node, self._purger, self._changes)
        self.orphans = Orphans(node, self._purger)
        self.orphans.load()

    def handlers(self) -> dict[Op, Handler]:
        """What answers each operation; every call is counted."""
        node = self._node
        sizes, small = LiveSizes(node), SmallFiles(node)
        of_inodes = inodes.table(node, sizes)
        table = {
            **cluster.table(node),
            **NameHandlers(node, self._changes, sizes).table(),
            **self._changes.table(),
            **of_inodes,
            **{op: self._changes.patient(of_inodes[op]) for op in inodes.GROWING},
            **wide.table(node, self._changes, self._allowances, of_inodes),
            **QuotaHandlers(node, self._allowances).table(),
            **self._hard_links.table(),
            **opens.table(node, self.orphans),
            **xattrs.table(node),
            **chunks.ChunkHandlers(node).table(),
            **small.table(),
            **sparse.table(node),
            **copying.table(node),
            **LockHandlers(node).table(),
            **Checking(node, self._purger, self._changes).table(),
        }
        for op in (Op.OPEN, Op.OPEN_INODE):
            table[op] = small.bringing(table[op])
        return {op: metrics.counted(node, op, handler) for op, handler in table.items()}

    def resume(self) -> None:
        """Take up what an earlier process began and did not finish."""
        node = self._node
        for group in node.map.groups_led_by(node.node_id):
            self._changes.resume(group)
            wide.resume(node, self._changes, group)
            for intent in node.namespace(group).intents.pending():
                if intent.kind is IntentKind.PURGE:
                    self._purger.add(group, intent)
                elif intent.kind in {IntentKind.LINK, IntentKind.SETTLE}:
                    self._hard_links.resume(group, intent)
                elif intent.kind is IntentKind.RMDIR:
                    node.spawn(retry_rmdir(node, group, intent), "rmdir")
                else:
                    node.spawn(inodes.retry_truncate(node, group, intent), "truncate")
