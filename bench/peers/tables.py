"""A record as tables, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchfs.bench.peers.choose import (
    DURABLE,
    GLUSTERFS,
    MOUNT,
    NATIVE,
    PEERS,
    RAW,
    RESTING,
)
from benchfs.bench.peers.record import Record, Round, Spread
from benchfs.bench.peers.work import ROWS, Row
from benchfs.bench.peers.yardstick import (
    IOR_DISK,
    IOR_READ,
    IOR_WRITE,
    LOOP_DISK,
    LOOP_READ,
    LOOP_WRITE,
)

NOTHING = "–"
EXACT_BELOW = 10


class Grid(NamedTuple):
    """Titles of columns, and rows whose first cell names them."""

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]


def figures(record: Record) -> Grid:
    """Medians of every row and system."""
    names = record.systems
    rows = [
        (row.title, row.unit, *(_number(record.rate(name, row)) for name in names)) for row in ROWS
    ]
    return Grid(("", "unit", *names), rows)


def ratios(record: Record) -> Grid:
    """BenchFS to the others: medians of the rounds' own ratios, the first with its spread."""
    peers = peers_of(record)
    better = "better peer" if len(peers) > 1 else "".join(peers)
    titles = ("", f"mount ÷ {better}", f"no polling ÷ {better}", "durable ÷ GlusterFS",
              f"native ÷ {better}", "mount ÷ raw disk", "mount ÷ floor")  # fmt: skip
    rows = [
        (
            row.title,
            _with_spread(to_peers(record, row)),
            _ratio(record.ratio(row, RESTING, peers) if peers else None),
            _ratio(record.ratio(row, DURABLE, (GLUSTERFS,))),
            _ratio(record.ratio(row, NATIVE, peers) if peers else None),
            _ratio(record.ratio(row, MOUNT, (RAW,))),
            _ratio(record.ratio_to_floor(row, MOUNT)),
        )
        for row in ROWS
    ]
    return Grid(titles, rows)


def cpu(record: Record) -> Grid:
    """Microseconds on CPUs, of clients and servers together, for each MiB or operation."""
    names = record.systems
    rows = []
    for row in ROWS:
        found = [record.cpu_s(name, row) for name in names]
        cells = [_number(None if one is None else one * 1e6) for one in found]
        rows.append((row.title, "µs/MiB" if row.is_bandwidth else "µs each", *cells))
    return Grid(("", "unit", *names), rows)


def loops(record: Record) -> Grid:
    """IOR beside a bare loop: medians of ratios within a round, of what the record has."""
    turns = (
        ("write", IOR_WRITE, LOOP_WRITE),
        ("read", IOR_READ, LOOP_READ),
        ("write to the disk, with fsync", IOR_DISK, LOOP_DISK),
    )
    rows = [
        (
            title,
            _number(_loop(record, ior)),
            _number(_loop(record, bare)),
            _ratio(_to_loop(record, ior, bare)),
        )
        for title, ior, bare in turns
        if _loop(record, ior) is not None
    ]
    return Grid(("1 MiB", "`benchfs bench ior`, MiB/s", "bare loop, MiB/s", "ratio"), rows)


def _loop(record: Record, name: str) -> float | None:
    found = record.spread(lambda one: one.yardstick.get(name))
    return None if found is None else found.median


def _to_loop(record: Record, ior: str, bare: str) -> Spread | None:
    def of_round(one: Round) -> float | None:
        rates = one.yardstick
        return rates[ior] / rates[bare] if ior in rates and bare in rates else None

    return record.spread(of_round)


def floor_line(record: Record) -> str:
    """Medians of what two plain processes reach."""
    found = (
        ("copying {} MiB/s", record.spread(lambda one: one.floor.copy_mib_s)),
        ("{} answers a second on one CPU", record.spread(lambda one: one.floor.pings_together_s)),
        ("{} on two", record.spread(lambda one: one.floor.pings_apart_s)),
    )
    return ", ".join(words.format(_number(one.median)) for words, one in found if one is not None)


def peers_of(record: Record) -> list[str]:
    """The peers that were measured."""
    return [name for name in PEERS if name in record.systems]


def to_peers(record: Record, row: Row) -> Spread | None:
    """The mount to the better peer of the same round."""
    peers = peers_of(record)
    return record.ratio(row, MOUNT, peers) if peers else None


def text(grid: Grid) -> str:
    """Columns as wide as they need: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(grid.titles, *grid.rows, strict=True)]
    lines = []
    for row in (grid.titles, *grid.rows):
        first, *others = (f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join((f"{first.strip():<{widths[0]}}", *others)).rstrip())
    return "\n".join(lines)


def markdown(grid: Grid, *, numbers: bool = True) -> str:
    """The same for a page; other cells than numbers stand to the left."""
    ruler = ["---", *("---:" if numbers else "---" for _ in grid.titles[1:])]
    return "\n".join(
        f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in row)}|"
        for row in (grid.titles, ruler, *grid.rows)
    )


def _number(value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if value >= EXACT_BELOW else f"{value:.1f}"


def _ratio(found: Spread | None) -> str:
    return NOTHING if found is None else f"{found.median:.2f}"


def _with_spread(found: Spread | None) -> str:
    if found is None:
        return NOTHING
    if found.least == found.most:
        return f"{found.median:.2f}"
    return f"{found.median:.2f} ({found.least:.2f} to {found.most:.2f})"
