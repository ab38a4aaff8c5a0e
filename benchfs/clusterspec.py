"""What the registry holds: the cluster's settings, its nodes and its groups, and their keys.

    cluster      ClusterSpec: settings and the first table of groups, written once
    node/<id>    NodeEntry of a node: where it listens now; written by the node at each start
    group/<n>    GroupEntry of a group whose nodes changed since the cluster was made
    seal         the key that capabilities are sealed with: 32 random bytes, written once

But for the last, values are MessagePack arrays. A group without a key of its own is at epoch 1,
as in the cluster's first table.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgpack

from benchfs.clustermap import ClusterMap, GroupEntry, NodeEntry
from benchfs.placement import Table
from benchfs.registry.base import Registry

CLUSTER_KEY = "cluster"
NODE_PREFIX = "node/"
GROUP_PREFIX = "group/"
SEAL_KEY = "seal"


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """What is fixed when a cluster is made."""

    cluster_id: str
    name: str
    mode: str  # volatile, writeback or durable
    chunk_size: int  # bytes, of files created without another one
    table: Table  # node ids of each group at epoch 1, primary first

    def encode(self) -> bytes:
        """The value of CLUSTER_KEY. Node ids are listed once and referred to by number."""
        node_ids = sorted({node_id for nodes in self.table for node_id in nodes})
        number = {node_id: index for index, node_id in enumerate(node_ids)}
        rows = [[number[node_id] for node_id in nodes] for nodes in self.table]
        value = [self.cluster_id, self.name, self.mode, self.chunk_size, node_ids, rows]
        packed: bytes = msgpack.packb(value)
        return packed

    @staticmethod
    def decode(value: bytes) -> ClusterSpec:
        """The spec that `encode` made. Raises ValueError for anything else."""
        match msgpack.unpackb(value):
            case [str(cluster_id), str(name), str(mode), int(chunk_size), [*node_ids], [*rows]]:
                table = tuple(tuple(str(node_ids[number]) for number in row) for row in rows)
                return ClusterSpec(cluster_id, name, mode, chunk_size, table)
            case _:
                raise ValueError("the registry's entry of the cluster has another form")

    @property
    def node_ids(self) -> tuple[str, ...]:
        """All nodes of the first table, sorted."""
        return tuple(sorted({node_id for nodes in self.table for node_id in nodes}))


def encode_node(entry: NodeEntry) -> bytes:
    """The value of a node's key."""
    packed: bytes = msgpack.packb(entry)
    return packed


def decode_node(value: bytes) -> NodeEntry:
    """The entry that `encode_node` made. Raises ValueError for anything else."""
    match msgpack.unpackb(value):
        case [str(node_id), str(host), [*addresses], int(incarnation)]:
            return NodeEntry(node_id, host, tuple(map(str, addresses)), incarnation)
        case _:
            raise ValueError("the registry's entry of a node has another form")


def encode_group(entry: GroupEntry) -> bytes:
    """The value of a group's key."""
    packed: bytes = msgpack.packb(entry)
    return packed


def decode_group(value: bytes) -> GroupEntry:
    """The entry that `encode_group` made. Raises ValueError for anything else."""
    match msgpack.unpackb(value):
        case [int(group), int(epoch), [*nodes]]:
            return GroupEntry(group, epoch, tuple(map(str, nodes)))
        case _:
            raise ValueError("the registry's entry of a group has another form")


async def read_spec(registry: Registry) -> ClusterSpec | None:
    """The cluster's spec; None if the registry holds no cluster."""
    found = await registry.read(CLUSTER_KEY)
    return ClusterSpec.decode(found.value) if found.revision else None


async def read_map(registry: Registry, spec: ClusterSpec) -> ClusterMap:
    """The cluster map as the registry knows it now; nodes that never started are missing."""
    nodes = [
        decode_node((await registry.read(key)).value) for key in await registry.list(NODE_PREFIX)
    ]
    cluster_map = ClusterMap(
        nodes, (GroupEntry(number, 1, nodes) for number, nodes in enumerate(spec.table))
    )
    for key in await registry.list(GROUP_PREFIX):
        cluster_map = cluster_map.with_group(decode_group((await registry.read(key)).value))
    return cluster_map
