"""`benchfs bench`: measure the cluster, and the floor of this machine."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchfs.bench import floor as floors
from benchfs.bench import ior as iors
from benchfs.cli.output import ClusterOption, JsonOption, human, say_json, table
from benchfs.cli.sizes import parse_size

app = typer.Typer(help="Measure the cluster, and the floor of this machine.", no_args_is_help=True)


@app.command()
def floor(
    directory: Annotated[Path | None, typer.Option(help="Where the files of the copy are.")] = None,
    json: JsonOption = False,
) -> None:
    """The raw speed of this machine: two plain blocking processes, on one CPU and on two."""
    with tempfile.TemporaryDirectory(dir=directory or floors.default_directory()) as place:
        found = floors.measure(Path(place))
    if json:
        say_json(asdict(found))
        return
    samples = found.samples
    rows = (
        ("copy, 1 MiB at a time", "MiB/s", found.copy_mib_s, [s.copy_mib_s for s in samples]),
        ("pings together", "/s", found.pings_together_s, [s.pings_together_s for s in samples]),
        ("pings apart", "/s", found.pings_apart_s, [s.pings_apart_s for s in samples]),
    )
    table(
        ("floor", "median", "samples"),
        [
            (name, speed(median, unit), " ".join(f"{value:.0f}" for value in values if value))
            for name, unit, median, values in rows
            if median is not None
        ],
    )


def speed(value: float, unit: str) -> str:
    """A figure with its unit."""
    return f"{value:,.0f} {unit}"


@app.command()
def ior(
    write: Annotated[bool, typer.Option("-w", help="Write.")] = False,
    read: Annotated[bool, typer.Option("-r", help="Read, and verify what was read.")] = False,
    transfer: Annotated[str, typer.Option("-t", help="Bytes of one transfer.")] = "256k",
    block: Annotated[str, typer.Option("-b", help="Bytes that each client moves.")] = "1m",
    file_per_process: Annotated[bool, typer.Option("-F", help="A file for each client.")] = False,
    clients: Annotated[int, typer.Option("-N", min=1, max=256, help="Client processes.")] = 1,
    repetitions: Annotated[int, typer.Option("-i", min=1, max=100, help="Repetitions.")] = 1,
    local_reads: Annotated[bool, typer.Option(help="Read chunks of this host directly.")] = True,
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Write and read like IOR. Without -w and -r: both."""
    sizes = (parse_size(transfer), parse_size(block))
    try:
        settings = iors.Settings(
            write or not read, read or not write, *sizes, file_per_process, clients, repetitions
        )
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from None
    results = iors.run(cluster, settings, local_reads=local_reads)
    if json:
        say_json({"settings": asdict(settings), "results": [asdict(result) for result in results]})
    else:
        table(
            ("access", "bw(MiB/s)", "IOPS", "block", "xfer", "total(s)", "iter"),
            [
                (
                    result.access,
                    f"{result.mib_s:.2f}",
                    f"{result.operations_s:.2f}",
                    human(settings.block),
                    human(settings.transfer),
                    f"{result.seconds:.6f}",
                    str(result.iteration),
                )
                for result in results
            ],
        )
    if any(result.errors for result in results):
        raise typer.Exit(1)
