"""The cluster map as a value: epochs decide, whatever the order entries are learned in."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchfs.clustermap import ClusterMap, GroupEntry, NodeEntry

NODES = tuple(
    NodeEntry(f"node-{n}", f"host-{n}", (f"tcp://host-{n}:4000", f"unix:///run/{n}"), n)
    for n in range(3)
)
ENTRIES = st.builds(
    GroupEntry,
    st.integers(0, 3),
    st.integers(1, 9),
    st.permutations([node.node_id for node in NODES]).map(lambda ids: tuple(ids[:2])),
)


def table(epoch: int = 1) -> ClusterMap:
    """Four groups; group g is led by node g mod 3."""
    groups = [GroupEntry(g, epoch, (f"node-{g % 3}", f"node-{(g + 1) % 3}")) for g in range(4)]
    return ClusterMap(NODES, groups)


def test_lookups() -> None:
    cluster_map = table(epoch=5)

    assert cluster_map.group_count == 4
    assert cluster_map.primary(2) == "node-2"
    assert cluster_map.epoch(2) == 5
    assert cluster_map.group(3) == (3, 5, ("node-0", "node-1"))
    assert cluster_map.group(3).primary == "node-0"
    assert cluster_map.node("node-1") == NODES[1]
    assert cluster_map.nodes == NODES
    assert cluster_map.groups_led_by("node-0") == (0, 3)
    assert cluster_map.groups_led_by("nobody") == ()
    assert cluster_map.leaders == {"node-0", "node-1", "node-2"}
    assert cluster_map.version == 20
    assert "node-1" in cluster_map
    assert "node-9" not in cluster_map


def test_what_is_not_in_the_map_is_a_lookup_error() -> None:
    with pytest.raises(KeyError):
        table().node("nobody")
    with pytest.raises(IndexError):
        table().primary(4)


def test_a_newer_entry_replaces_and_leaves_the_old_map_alone() -> None:
    old = table()

    new = old.with_group(GroupEntry(1, 2, ("node-2",)))

    assert (new.primary(1), new.epoch(1), new.version) == ("node-2", 2, 5)
    assert (old.primary(1), old.epoch(1), old.version) == ("node-1", 1, 4)
    assert new.groups_led_by("node-2") == (1, 2)
    assert new != old


def test_who_has_lost_his_last_group_leads_no_more() -> None:
    old = table()
    assert "node-1" in old.leaders

    new = old.with_group(GroupEntry(1, 2, ("node-2",)))

    assert new.leaders == {"node-0", "node-2"}
    assert old.leaders == {"node-0", "node-1", "node-2"}


@pytest.mark.parametrize("epoch", [4, 5])
def test_an_entry_that_is_not_newer_changes_nothing(epoch: int) -> None:
    cluster_map = table(epoch=5)

    assert cluster_map.with_group(GroupEntry(1, epoch, ("node-2",))) is cluster_map


@given(st.lists(ENTRIES, max_size=8, unique_by=lambda entry: entry[:2]), st.data())
def test_the_order_in_which_entries_are_learned_is_no_matter(
    entries: list[GroupEntry], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(entries))
    one, other = table(), table()

    for entry in entries:
        one = one.with_group(entry)
    for entry in shuffled:
        other = other.with_group(entry)

    assert one == other
    assert one.version == other.version == sum(entry.epoch for entry in one.groups)


def test_a_node_that_moved_is_found_at_its_new_address() -> None:
    moved = NODES[1]._replace(addresses=("tcp://host-1:5000",))

    cluster_map = table().with_node(moved)

    assert cluster_map.node("node-1") == moved
    assert cluster_map.version == table().version
    assert cluster_map.with_node(moved) is cluster_map
    assert table().node("node-1") == NODES[1]


def test_a_new_node_leads_nothing_yet() -> None:
    cluster_map = table().with_node(NodeEntry("node-9", "host-9", (), 1))

    assert "node-9" in cluster_map
    assert cluster_map.groups_led_by("node-9") == ()


@given(st.lists(ENTRIES, max_size=8))
def test_a_map_survives_messagepack(entries: list[GroupEntry]) -> None:
    cluster_map = table()
    for entry in entries:
        cluster_map = cluster_map.with_group(entry)

    packed = msgpack.packb(cluster_map.to_record())

    again = ClusterMap.from_record(msgpack.unpackb(packed))
    assert again == cluster_map
    assert hash(again) == hash(cluster_map)
    assert again.version == cluster_map.version


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        [[], [], []],
        [{}, []],
        "ab",
        [[["n", "h", ["a"]]], []],
        [[["n", "h", [1], 0]], []],
        [[[b"n", "h", [], 0]], []],
        [[], [[0, 1, "node"]]],
        [[], [[0, "1", ["n"]]]],
        [[], [[0, 1, []]]],
        [[], [[0, 0, ["n"]]]],
        [[], [[0, 1, ["n", "n"]]]],
        [[], [[1, 1, ["n"]]]],
        [[], [[0, 1, ["n"]], [0, 2, ["n"]]]],
        [[["n", "h", [], 0], ["n", "h", [], 1]], []],
    ],
)
def test_a_record_of_another_form_is_refused(record: object) -> None:
    with pytest.raises(ValueError):
        ClusterMap.from_record(record)


@pytest.mark.parametrize(
    "entry", [GroupEntry(4, 9, ("n",)), GroupEntry(-1, 9, ("n",)), GroupEntry(1, 9, ())]
)
def test_an_entry_that_cannot_be_is_refused(entry: GroupEntry) -> None:
    with pytest.raises(ValueError):
        table().with_group(entry)
