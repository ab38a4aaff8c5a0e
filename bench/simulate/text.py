"""The figures of simulations as tables: rows of cells, and those as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchfs.bench.simulate.costs import OPERATIONS, Cost
from benchfs.bench.simulate.load import Balance
from benchfs.bench.simulate.run import Size

BEGIN = "<!-- simulated: python -m benchfs.bench.simulate docs/BENCHMARKS.md -->"
END = "<!-- end of simulated -->"


class Table(NamedTuple):
    """`titles` and `rows` have the same number of cells; the first of each names the row."""

    heading: str
    titles: tuple[str, ...]
    rows: list[tuple[str, ...]]


def tables(sizes: Sequence[Size]) -> list[Table]:
    """All figures but those of this machine: a column for each number of nodes."""
    titles = tuple(f"{size.nodes:,} nodes" for size in sizes)

    def row(name: str, cell: Callable[[Size], str]) -> tuple[str, ...]:
        return (name, *map(cell, sizes))

    def each(heading: str, cell: Callable[[Cost], str]) -> Table:
        rows = [
            (operation.name, *(cell(size.costs[operation.name]) for size in sizes))
            for operation in OPERATIONS
        ]
        return Table(heading, ("operation", *titles), rows)

    cluster = [
        row("groups", lambda size: f"{size.groups:,}"),
        row("groups that the busiest node leads", lambda size: f"{size.most_groups_of_a_node:,}"),
        row("bytes in the registry", lambda size: f"{size.registry_bytes:,}"),
        row("bytes to connect a client, once", lambda size: f"{size.connect_bytes:,}"),
        row("round trips to connect a client", lambda size: _short(size.connect_round_trips)),
    ]
    load = [
        (f"{name}: {what}", *(cell(size.balances[name]) for size in sizes))
        for name in sizes[0].balances
        for what, cell in _LOAD
    ]
    return [
        Table("The cluster", ("", *titles), cluster),
        each("Requests until it returns + behind it", _requests),
        each("Round trips, those of new connections included", lambda c: _short(c.round_trips)),
        each("Bytes on the wire, payload included", lambda cost: f"{cost.bytes:,.0f}"),
        Table("The load on the nodes", ("", *titles), load),
    ]


def markdown(table: Table) -> str:
    """The table, without its heading."""
    lines = [table.titles, ("---", *["---:"] * (len(table.titles) - 1)), *table.rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def in_page(page: str, found: Sequence[Table]) -> str:
    """The page with the tables between its marks. ValueError if it has none."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no place for the tables: {BEGIN} and {END}")
    text = "\n".join(f"{table.heading}:\n\n{markdown(table)}" for table in found)
    return f"{head}{begin}\n{text}{end}{tail}"


def _requests(cost: Cost) -> str:
    front = _short(cost.requests)
    return f"{front} + {_short(cost.behind)}" if cost.behind else front


def _short(value: float) -> str:
    """Two digits behind the point, where they say something."""
    return f"{value:,.2f}".rstrip("0").rstrip(".")


_LOAD: tuple[tuple[str, Callable[[Balance], str]], ...] = (
    ("requests an operation", lambda balance: _short(balance.requests)),
    ("requests/s, mean of the nodes", lambda balance: f"{balance.mean:,.0f}"),
    ("requests/s, busiest node", lambda balance: f"{balance.busiest:,.0f}"),
    ("busiest to mean", lambda balance: _short(balance.imbalance)),
    ("connections of a client", lambda balance: _short(balance.connections_of_a_client)),
    ("connections of a node", lambda balance: _short(balance.connections_of_a_node)),
)
