"""`benchfs bench md`: operations on names and small files, by more and more processes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from benchfs.bench import md as mds
from benchfs.bench.md_processes import WIDE, Column, measure, parse_processes
from benchfs.bench.sizes import parse_size
from benchfs.bench.surroundings import surroundings
from benchfs.cli.bench_output import checked, columns, command_line
from benchfs.cli.output import ClusterOption, JsonOption, note, run, say, say_json


def md(
    operations: Annotated[int, typer.Option("-n", min=1, help="Operations of each phase.")] = 4000,
    tasks: Annotated[int, typer.Option(min=1, max=4096, help="At a time, of a process.")] = 32,
    processes: Annotated[str, typer.Option(help="How many clients there are.")] = "1,2,4",
    small: Annotated[str, typer.Option(help="Bytes of a small file.")] = "4k",
    large: Annotated[str, typer.Option(help="Bytes of the file read at random.")] = "64m",
    local_reads: Annotated[bool, typer.Option(help="Read chunks of this host directly.")] = False,
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Rates of create, stat, rename, unlink, readdir, mkdir, rmdir, and of small files.

    In one narrow and one wide directory, with the requests that each operation took.
    """
    settings = checked(
        lambda: mds.Settings(operations, tasks, parse_size(large), parse_size(small), local_reads)
    )
    found: list[Column] = []
    for one in measure(cluster, settings, checked(lambda: parse_processes(processes))):
        found.append(one)
        note(f"{one.directory}, {one.processes} processes: done")
    reads = run(mds.random_reads(cluster, settings))
    if json:
        say_json(
            {
                "Command line": " ".join(command_line()),
                "settings": asdict(settings),
                "columns": [asdict(column) for column in found],
                "random reads": asdict(reads),
                "surroundings": surroundings(),
            }
        )
        return
    titles = [f"{'wide ' if c.directory == WIDE else ''}{c.processes} proc" for c in found]
    requests = [next(c for c in found if c.directory == kind) for kind in _kinds(found)]
    columns(
        ("operations a second", *titles, *(f"requests, {c.directory}" for c in requests)),
        [
            (
                first.name,
                *(f"{column.rates[row].per_s:,.0f}" for column in found),
                *(f"{column.rates[row].requests:.3f}" for column in requests),
            )
            for row, first in enumerate(found[0].rates)
        ],
    )
    say(f"{reads.name}, 1 process: {reads.per_s:,.0f} /s, {reads.requests:.3f} requests each")


def _kinds(found: list[Column]) -> list[str]:
    return list(dict.fromkeys(column.directory for column in found))
