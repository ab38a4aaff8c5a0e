"""The planner's promises, over all kinds of clusters."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchfs.layout import Layout, chunk_group
from benchfs.placement import NodeSpec, Table, group_count_for, plan

WEIGHTS = st.sampled_from([0.5, 1.0, 2.0, 7.3])
GROUP_COUNTS = st.sampled_from([1, 16, 100, 256])
COPIES = st.integers(1, 4)


def even(node_count: int, per_host: int = 1) -> list[NodeSpec]:
    """Nodes of one weight, as many on each host."""
    return [NodeSpec(f"node-{n}", f"host-{n // per_host}") for n in range(node_count)]


@st.composite
def any_nodes(draw: st.DrawFn) -> list[NodeSpec]:
    """Up to 12 nodes, anyhow weighted and anyhow distributed over hosts."""
    hosts = draw(st.lists(st.integers(0, 5), min_size=1, max_size=12))
    return [NodeSpec(f"n{n}", f"h{host}", draw(WEIGHTS)) for n, host in enumerate(hosts)]


def led(table: Table) -> Counter[str]:
    return Counter(group[0] for group in table)


def held(table: Table) -> Counter[str]:
    return Counter(node for group in table for node in group)


def moved_copies(before: Table, after: Table) -> int:
    return sum(len(set(new) - set(old)) for old, new in zip(before, after, strict=True))


@given(GROUP_COUNTS, any_nodes(), COPIES)
def test_copies_are_on_distinct_nodes_and_on_as_many_hosts_as_there_are(
    groups: int, nodes: list[NodeSpec], copies: int
) -> None:
    hosts = {node.node_id: node.host for node in nodes}

    table = plan(groups, nodes, copies)

    assert len(table) == groups
    for group in table:
        assert len(set(group)) == len(group) == min(copies, len(nodes))
        assert len({hosts[node] for node in group}) == min(len(group), len(set(hosts.values())))


@given(GROUP_COUNTS, any_nodes(), COPIES)
def test_nodes_lead_by_their_weight(groups: int, nodes: list[NodeSpec], copies: int) -> None:
    total = sum(node.weight for node in nodes)

    leads = led(plan(groups, nodes, copies))

    for node in nodes:
        share = groups * node.weight / total
        assert math.floor(share - 1e-9) - 1 <= leads[node.node_id] <= math.ceil(share + 1e-9) + 1


@given(GROUP_COUNTS, st.integers(1, 12), st.integers(1, 4), COPIES)
def test_no_node_holds_more_than_its_part(
    groups: int, hosts: int, per_host: int, copies: int
) -> None:
    nodes = even(hosts * per_host, per_host)
    copies = min(copies, len(nodes))

    table = plan(groups, nodes, copies)

    assert max(held(table).values()) <= math.ceil(groups * copies / len(nodes)) + 1
    assert max(led(table).values()) <= math.ceil(groups / len(nodes)) + 1


@given(GROUP_COUNTS, any_nodes(), COPIES, st.data())
def test_the_order_of_the_nodes_is_no_matter(
    groups: int, nodes: list[NodeSpec], copies: int, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(nodes))

    assert plan(groups, nodes, copies) == plan(groups, shuffled, copies)


def test_a_plan_never_changes() -> None:
    """Another host, another Python, a later version: the same names give the same plan."""
    assert plan(8, even(3), copies=2) == (
        ("node-0", "node-2"),
        ("node-1", "node-0"),
        ("node-1", "node-2"),
        ("node-1", "node-0"),
        ("node-1", "node-0"),
        ("node-2", "node-1"),
        ("node-0", "node-2"),
        ("node-2", "node-1"),
    )


def test_a_plan_by_weight_never_changes() -> None:
    nodes = [NodeSpec("a", "h1", 1.0), NodeSpec("b", "h2", 2.0), NodeSpec("c", "h3", 4.0)]

    assert "".join(group[0] for group in plan(14, nodes)) == "cacbbaccccbbcc"


@pytest.mark.parametrize("copies", [1, 2, 3])
@pytest.mark.parametrize("node_count", [4, 10, 40])
class TestMovement:
    """Bounds with some room above what was measured."""

    def test_little_moves_when_a_node_joins(self, node_count: int, copies: int) -> None:
        groups = group_count_for(node_count)
        before = plan(groups, even(node_count), copies)

        after = plan(groups, even(node_count + 1), copies, before)

        least = groups * copies / (node_count + 1)
        assert moved_copies(before, after) <= 1.3 * least + 2
        assert held(after)[f"node-{node_count}"] >= math.floor(least) - 1
        assert led(after)[f"node-{node_count}"] >= groups // (node_count + 1) - 1

    def test_a_table_made_otherwise_is_kept_as_far_as_possible(
        self, node_count: int, copies: int
    ) -> None:
        groups = group_count_for(node_count)
        before = tuple(
            tuple(f"node-{(group + copy) % node_count}" for copy in range(copies))
            for group in range(groups)
        )

        after = plan(groups, even(node_count + 1), copies, before)

        assert moved_copies(before, after) <= 1.3 * groups * copies / (node_count + 1) + 2

    def test_little_moves_when_a_node_leaves(self, node_count: int, copies: int) -> None:
        groups = group_count_for(node_count)
        before = plan(groups, even(node_count), copies)

        after = plan(groups, even(node_count - 1), copies, before)

        gone = held(before)[f"node-{node_count - 1}"]
        assert gone <= moved_copies(before, after) <= 1.2 * gone + 4
        assert max(led(after).values()) <= math.ceil(groups / (node_count - 1)) + 1

    def test_not_much_more_moves_without_the_current_table(
        self, node_count: int, copies: int
    ) -> None:
        groups = group_count_for(node_count)
        before = plan(groups, even(node_count), copies)

        after = plan(groups, even(node_count + 1), copies)

        factor = 1.6 if node_count <= 10 else 6  # rendezvous order alone; see the planner
        assert moved_copies(before, after) <= factor * groups * copies / (node_count + 1)

    def test_planning_again_changes_nothing(self, node_count: int, copies: int) -> None:
        groups = group_count_for(node_count)
        table = plan(groups, even(node_count), copies)

        assert plan(groups, even(node_count), copies, table) == table
        assert plan(groups, even(node_count), copies, dict(enumerate(table))) == table


@pytest.mark.parametrize("copies", [2, 3])
@pytest.mark.parametrize("node_count", [4, 10, 40])
def test_what_a_lost_node_led_goes_to_nodes_that_have_it(node_count: int, copies: int) -> None:
    groups = group_count_for(node_count)
    before = plan(groups, even(node_count), copies)

    after = plan(groups, even(node_count)[1:], copies, before)

    lost = [group for group in range(groups) if before[group][0] == "node-0"]
    promoted = sum(after[group][0] in before[group] for group in lost)
    assert promoted >= 0.75 * len(lost)


@given(GROUP_COUNTS, any_nodes(), any_nodes(), COPIES)
def test_the_promises_hold_from_any_current_table(
    groups: int, old: list[NodeSpec], new: list[NodeSpec], copies: int
) -> None:
    total = sum(node.weight for node in new)
    hosts = {node.node_id: node.host for node in new}

    table = plan(groups, new, copies, plan(groups, old, copies))

    for group in table:
        assert len({hosts[node] for node in group}) == min(len(group), len(set(hosts.values())))
    for node in new:
        assert led(table)[node.node_id] <= math.ceil(groups * node.weight / total + 1e-9) + 1


def test_a_wild_current_table_does_no_harm() -> None:
    wild = [["node-0"] * 5] * 200 + [[]] * 3 + [["stranger", "node-1", "node-1"]] * 500

    table = plan(256, even(4), 2, wild)

    assert max(led(table).values()) <= 65
    assert max(held(table).values()) <= 129


@pytest.mark.parametrize(
    ("nodes", "groups"),
    [(1, 256), (3, 256), (10, 256), (11, 256), (16, 256), (17, 512), (100, 2048), (9000, 65_536)],
)
def test_groups_of_a_new_cluster(nodes: int, groups: int) -> None:
    assert group_count_for(nodes) == groups


@pytest.mark.parametrize(
    ("groups", "nodes", "copies"),
    [
        (0, even(1), 1),
        (65_537, even(1), 1),
        (8, [], 1),
        (8, even(1), 0),
        (8, even(2) + even(1), 1),
        (8, [NodeSpec("a", "h", 0.0)], 1),
        (8, [NodeSpec("a", "h", -1.0)], 1),
        (8, [NodeSpec("a", "h", math.inf)], 1),
        (8, [NodeSpec("a", "h", math.nan)], 1),
    ],
)
def test_what_cannot_be_planned_is_refused(groups: int, nodes: list[NodeSpec], copies: int) -> None:
    with pytest.raises(ValueError):
        plan(groups, nodes, copies)


def test_the_chunks_of_a_file_are_spread_over_the_nodes() -> None:
    """The whole way: layout, group, primary."""
    table = plan(256, even(3))

    chunks = Counter(table[chunk_group(Layout(first=77), i, 256)][0] for i in range(2560))

    assert max(chunks.values()) <= 1.03 * 2560 / 3
