"""The cluster map: which nodes there are, and which of them keep each group.

A map is a value that never changes; a change makes a new map. Each group's entry has its own
epoch, and of two entries for a group the one with the greater epoch holds, so maps can be
learned piece by piece and out of order. Where entries are kept and agreed on: the registry.
How they are planned: `benchfs/placement.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from benchfs.layout import MAX_GROUPS

Record = list[list[list[int | str | list[str]]]]
"""A map as plain lists, for MessagePack: [nodes, groups], each entry a list of its fields."""


class NodeEntry(NamedTuple):
    """A node: one running daemon and its data directory."""

    node_id: str
    host: str  # the machine, as failure domain
    addresses: tuple[str, ...]  # where it listens: tcp://host:port, unix:///path
    incarnation: int  # tells a store from an earlier one of the same node that was lost


class GroupEntry(NamedTuple):
    """The nodes of a group, primary first, since the epoch `epoch`."""

    group: int
    epoch: int  # 1 and more; each change of the nodes adds to it
    nodes: tuple[str, ...]

    @property
    def primary(self) -> str:
        """The id of the node that answers requests for the group."""
        return self.nodes[0]


class ClusterMap:
    """All nodes and all groups of a cluster. Groups are numbered 0 to `group_count` - 1.

    Look-ups by group raise IndexError for a number beyond that, by node KeyError for an id
    that is not in the map: the map may be older than what asked.
    """

    __slots__ = ("_groups", "_leaders", "_nodes", "version")

    version: int
    """The sum of all epochs. Of two maps of one cluster, the one with less misses something."""

    def __init__(self, nodes: Iterable[NodeEntry], groups: Iterable[GroupEntry]) -> None:
        """Raise ValueError unless there is just one good entry for every group and node."""
        listed = list(nodes)
        self._nodes = {node.node_id: node for node in listed}
        if len(self._nodes) != len(listed):
            raise ValueError("cluster map lists a node twice")
        self._groups = tuple(sorted(groups))
        if len(self._groups) > MAX_GROUPS:
            raise ValueError(f"cluster map of {len(self._groups)} groups: limit {MAX_GROUPS}")
        for number, entry in enumerate(self._groups):
            if entry.group != number:
                raise ValueError(f"cluster map has no group {number}, or has one twice")
            _check_entry(entry)
        self.version = sum(entry.epoch for entry in self._groups)
        self._leaders: frozenset[str] | None = None

    @property
    def group_count(self) -> int:
        """How many groups the cluster has; fixed when it was created."""
        return len(self._groups)

    @property
    def nodes(self) -> tuple[NodeEntry, ...]:
        """All nodes, ordered by id."""
        return tuple(node for _, node in sorted(self._nodes.items()))

    @property
    def groups(self) -> tuple[GroupEntry, ...]:
        """All groups, ordered by number."""
        return self._groups

    def primary(self, group: int) -> str:
        """The id of the node that leads the group."""
        return self._groups[group].nodes[0]

    @property
    def leaders(self) -> frozenset[str]:
        """The ids of all nodes that lead a group."""
        if self._leaders is None:
            self._leaders = frozenset(entry.nodes[0] for entry in self._groups)
        return self._leaders

    def epoch(self, group: int) -> int:
        """The epoch of the group's entry."""
        return self._groups[group].epoch

    def group(self, group: int) -> GroupEntry:
        """The group's entry."""
        return self._groups[group]

    def node(self, node_id: str) -> NodeEntry:
        """The node with this id."""
        return self._nodes[node_id]

    def __contains__(self, node_id: object) -> bool:
        """Whether there is a node with this id."""
        return node_id in self._nodes

    def groups_led_by(self, node_id: str) -> tuple[int, ...]:
        """The groups whose primary the node is, ascending; none for an unknown node."""
        return tuple(entry.group for entry in self._groups if entry.nodes[0] == node_id)

    def with_group(self, entry: GroupEntry) -> ClusterMap:
        """The map with this entry; the same map if it knows the group at this epoch or later.

        Raises ValueError for an entry without nodes, or for a group that the cluster has not.
        """
        if not 0 <= entry.group < len(self._groups):
            raise ValueError(f"group {entry.group}: the cluster has {len(self._groups)}")
        if entry.epoch <= self._groups[entry.group].epoch:
            return self
        _check_entry(entry)
        groups = list(self._groups)
        old, groups[entry.group] = groups[entry.group], entry
        return self._changed(self._nodes, tuple(groups), self.version - old.epoch + entry.epoch)

    def with_node(self, entry: NodeEntry) -> ClusterMap:
        """The map with this node, in place of what it knew of it. `version` stays."""
        if self._nodes.get(entry.node_id) == entry:
            return self
        return self._changed({**self._nodes, entry.node_id: entry}, self._groups, self.version)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClusterMap):
            return NotImplemented
        return self._nodes == other._nodes and self._groups == other._groups

    def __hash__(self) -> int:
        return hash(self._groups)

    def __repr__(self) -> str:
        return (
            f"ClusterMap({len(self._nodes)} nodes, {len(self._groups)} groups, "
            f"version {self.version})"
        )

    def to_record(self) -> Record:
        """The map as plain lists."""
        return [
            [
                [node.node_id, node.host, list(node.addresses), node.incarnation]
                for node in self.nodes
            ],
            [[entry.group, entry.epoch, list(entry.nodes)] for entry in self._groups],
        ]

    @staticmethod
    def from_record(record: object) -> ClusterMap:
        """The map that `to_record` described. Raises ValueError if it is not of that form."""
        match record:
            case [[*nodes], [*groups]]:
                return ClusterMap(map(_node_entry, nodes), map(_group_entry, groups))
            case _:
                raise ValueError("cluster map record: not a list of nodes and one of groups")

    def _changed(
        self, nodes: dict[str, NodeEntry], groups: tuple[GroupEntry, ...], version: int
    ) -> ClusterMap:
        # Past the constructor, which would look at every group again.
        changed = object.__new__(ClusterMap)
        changed._nodes = nodes
        changed._groups = groups
        changed.version = version
        changed._leaders = None
        return changed


def _check_entry(entry: GroupEntry) -> None:
    if not entry.nodes or len(set(entry.nodes)) != len(entry.nodes):
        raise ValueError(f"group {entry.group}: no nodes, or one of them twice")
    if entry.epoch < 1:
        raise ValueError(f"group {entry.group}: epoch {entry.epoch} is less than 1")


def _node_entry(fields: object) -> NodeEntry:
    match fields:
        case [str(node_id), str(host), [*addresses], int(incarnation)]:
            return NodeEntry(node_id, host, _texts(addresses), incarnation)
        case _:
            raise ValueError(f"cluster map record: no node in {fields!r:.200}")


def _group_entry(fields: object) -> GroupEntry:
    match fields:
        case [int(group), int(epoch), [*nodes]]:
            return GroupEntry(group, epoch, _texts(nodes))
        case _:
            raise ValueError(f"cluster map record: no group in {fields!r:.200}")


def _texts(values: list[object]) -> tuple[str, ...]:
    texts = tuple(value for value in values if isinstance(value, str))
    if len(texts) != len(values):
        raise ValueError(f"cluster map record: not text throughout: {values!r:.200}")
    return texts
