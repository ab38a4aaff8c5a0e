"""`benchfs bench scale`: the same work on clusters of several sizes, on this host or simulated."""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchfs.bench.floor import default_directory
from benchfs.bench.scale import Size, Work, measure, parse_nodes
from benchfs.bench.surroundings import surroundings
from benchfs.cli.bench_output import TASKS_HELP, checked, columns, command_line, size
from benchfs.cli.output import JsonOption, fail, note, say, say_json


def scale(
    nodes: Annotated[str, typer.Option(help="Sizes of the clusters.")] = "1,2,4,8",
    tasks: Annotated[int, typer.Option("-N", "--tasks", help=TASKS_HELP)] = 2,
    block: Annotated[str, typer.Option("-b", help="Bytes that a task moves.")] = "256m",
    items: Annotated[int, typer.Option("-n", help="Files that a task makes.")] = 1000,
    repetitions: Annotated[int, typer.Option("-i", help="Repetitions.")] = 3,
    directory: Annotated[
        Path | None, typer.Option(help="Where the data goes; default: memory, if there is some.")
    ] = None,
    simulate: Annotated[
        str | None,
        typer.Option(metavar="N,N", help="Count requests of simulated clusters instead."),
    ] = None,
    offered: Annotated[float, typer.Option(help="Simulated: operations/s of all clients.")] = 1e4,
    seed: Annotated[int, typer.Option(help="Simulated: the same one, the same figures.")] = 1,
    json: JsonOption = False,
) -> None:
    """Bandwidth and metadata with more and more nodes: medians, and in brackets to the first.

    With --simulate no daemon is started: all nodes are in this process, with links in memory and
    virtual time, and what is shown is what each operation costs and what load each node gets.
    """
    if simulate is not None:
        _simulate(simulate, offered, seed, directory, json=json)
        return
    counts = checked(lambda: parse_nodes(nodes))
    work = checked(lambda: Work(tasks, size(block, "-b"), items, repetitions))
    found: list[Size] = []
    failure = ""
    with tempfile.TemporaryDirectory(dir=directory or default_directory()) as place:
        try:
            for one in measure(counts, work, Path(place)):
                found.append(one)
                note(
                    f"{one.nodes} nodes: done" if not one.failure else f"{one.nodes} nodes: failed"
                )
                failure = one.failure
        except OSError as exc:
            failure = str(exc)
    if json:
        say_json(
            {
                "Command line": " ".join(command_line()),
                "work": asdict(work),
                "sizes": [asdict(one) for one in found],
                "failure": failure or None,
                "surroundings": surroundings(),
            }
        )
    else:
        _table(found)
    if failure:
        raise fail(f"incomplete, {len(found)} of {len(counts)} sizes are shown: {failure}")


def _table(found: list[Size]) -> None:
    """A row a size, a column a phase."""
    names = list(found[0].figures) if found else []
    base = {name: statistics.median(found[0].figures[name]) for name in names}

    def cell(one: Size, name: str) -> str:
        if name not in one.figures:
            return "-"
        median = statistics.median(one.figures[name])
        return f"{median:,.0f} ({median / base[name]:.2f})"

    units = {name: "MiB/s" if name in {"write", "read"} else "/s" for name in names}
    columns(
        ("nodes", *(f"{name} {units[name]}" for name in names)),
        [(str(one.nodes), *(cell(one, name) for name in names)) for one in found],
    )


def _simulate(
    text: str, per_second: float, seed: int, directory: Path | None, *, json: bool
) -> None:
    # Not imported before it is wanted: it draws in the daemon.
    from benchfs.bench.simulate import run  # noqa: PLC0415
    from benchfs.bench.simulate.load import Offered  # noqa: PLC0415
    from benchfs.bench.simulate.text import tables  # noqa: PLC0415

    counts = checked(lambda: run.parse_sizes(text))
    offered = checked(lambda: Offered(per_second=per_second))
    found: list[run.Size] = []
    failure = ""
    with tempfile.TemporaryDirectory(dir=directory or default_directory()) as place:
        try:
            for one in run.simulate(counts, offered, Path(place), seed):
                found.append(one)
                note(f"{one.nodes} nodes: simulated in {one.seconds:.1f} s")
        except OSError as exc:
            failure = f"incomplete, {len(found)} of {len(counts)} sizes are shown: {exc}"
    beyond = run.beyond(found)
    if json:
        say_json(
            {
                "Command line": " ".join(command_line()),
                "offered": asdict(offered),
                "seed": seed,
                "sizes": [asdict(one) for one in found],
                "beyond": beyond,
                "failure": failure or None,
                "surroundings": surroundings(),
            }
        )
    elif found:
        for table in tables(found):
            say(f"{table.heading}:")
            columns(table.titles, table.rows)
            say("")
    if beyond:
        failure = "; ".join(filter(None, [failure, "these grow, and should not:", *beyond]))
    if failure:
        raise fail(failure)
