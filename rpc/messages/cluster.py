"""The cluster map, and how a node is."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from benchfs.rpc.messages.envelope import Operation
from benchfs.rpc.messages.numbers import Op
from benchfs.rpc.schema import I64, U16, U32, U64, Limit, Text


class NodeRecord(NamedTuple):
    """A node of the cluster map."""

    node_id: Text
    host: Text  # the machine, as failure domain
    addresses: Annotated[tuple[Text, ...], Limit(16)]  # tcp://host:port, unix:///path
    incarnation: U64


class GroupRecord(NamedTuple):
    """A group of the cluster map."""

    group: U16
    epoch: U64
    nodes: Annotated[tuple[Text, ...], Limit(16)]  # primary first


class MapRecord(NamedTuple):
    """All nodes and groups. In a payload: of thousands of nodes it has more than a body may."""

    nodes: Annotated[tuple[NodeRecord, ...], Limit(65_536)]
    groups: Annotated[tuple[GroupRecord, ...], Limit(65_536)]


class GetMap(NamedTuple):
    """The whole cluster map."""


class MapReply(NamedTuple):
    """The cluster as this node knows it; the payload is its map: a MapRecord, as MessagePack."""

    cluster_id: Text
    name: Text
    mode: Text  # volatile, writeback or durable
    chunk_size: U32
    lease_ms: U32  # a session that is not renewed for so long has lost its open files and locks


class GetStatus(NamedTuple):
    """How the node is."""


class StatusReply(NamedTuple):
    """A node's own figures; also what statvfs sums up."""

    node_id: Text
    version: Text
    transport: Text  # engine in use, and why if it is a fallback
    mode: Text
    uptime_ms: U64
    rss_bytes: U64
    connections: U32
    total_bytes: U64
    free_bytes: U64  # that can still be written: above the reserve
    chunk_bytes: U64
    chunks: U64
    inodes: U64
    groups_led: U32
    disk: Text  # host and device of the data: nodes with the same one share its space
    time_ns: I64  # the node's wall clock when it answered


OPERATIONS = (
    Operation(Op.GET_MAP, GetMap, MapReply, False),
    Operation(Op.GET_STATUS, GetStatus, StatusReply, False),
)
