"""The rows of a cluster whose daemons are stopped, to be damaged by tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager

import lmdb

import benchfs
from benchfs.clustermap import ClusterMap
from benchfs.inode import home_group
from benchfs.rpc.messages import Attributes
from benchfsd import rows
from benchfsd.database import Database
from benchfsd.rows import Kind


class StoppedRows:
    """All rows, each at the node that leads its group."""

    def __init__(self, cluster_map: ClusterMap, databases: dict[str, Database]) -> None:
        self._map = cluster_map
        self._databases = databases

    def at(self, group: int) -> Database:
        return self._databases[self._map.primary(group)]

    def inode(self, ino: int) -> Attributes:
        value = self.at(home_group(ino)).get(rows.inode_key(home_group(ino), ino))
        assert value is not None
        return rows.decode_inode(value)

    def put_inode(self, inode: Attributes) -> None:
        group = home_group(inode.ino)
        self.at(group).put(rows.inode_key(group, inode.ino), rows.encode_inode(inode))

    def change_inode(self, ino: int, **changes: int) -> None:
        self.put_inode(self.inode(ino)._replace(**changes))

    def delete_inode(self, ino: int) -> None:
        assert self.at(home_group(ino)).delete(rows.inode_key(home_group(ino), ino))

    def delete_entry(self, group: int, parent: int, name: bytes) -> None:
        assert self.at(group).delete(rows.entry_key(group, parent, name))

    def put_entry(self, group: int, parent: int, name: bytes, ino: int, file_type: int) -> None:
        key = rows.entry_key(group, parent, name)
        self.at(group).put(key, rows.encode_entry(ino, file_type))

    def of_kind(self, kind: Kind) -> Iterator[tuple[int, bytes, bytes]]:
        """(group, key, value) of all rows of a kind."""
        for group in range(self._map.group_count):
            for key, value in self.at(group).scan(rows.kind_prefix(group, kind)):
                yield group, key, value


@contextmanager
def stopped_rows(cluster: benchfs.LocalCluster, map_of: ClusterMap) -> Iterator[StoppedRows]:
    """Stop all nodes, let their rows be changed, and start them again."""
    with stopped(cluster), ExitStack() as stack:
        databases = {}
        for node in cluster.nodes:
            path = cluster.directory / node.node_id / "data/rows"
            database = Database(path, sync=False, schedule=_never)
            databases[node.node_id] = stack.enter_context(closing(database))
        yield StoppedRows(map_of, databases)


@contextmanager
def stopped(cluster: benchfs.LocalCluster) -> Iterator[None]:
    """Stop all nodes, and start them again."""
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda node: node.stop(), cluster.nodes))
        yield
        list(threads.map(lambda node: node.start(), cluster.nodes))


def spoil_row(cluster: benchfs.LocalCluster, node_id: str, key: bytes) -> None:
    """Change a bit of a row of a node that is stopped, and not its check."""
    path = str(cluster.directory / node_id / "data/rows")
    with closing(lmdb.open(path)) as env, env.begin(write=True) as batch:
        value = bytearray(batch.get(key) or b"")
        value[0] ^= 1
        batch.put(key, bytes(value))


def _never(_callback: Callable[[], None]) -> None:
    """Nothing runs later: what is open is committed when the database is closed."""
