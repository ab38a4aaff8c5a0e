"""`benchfs bench`: the floor and the base figures; the other commands have files of their own."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchfs.bench import floor as floors
from benchfs.cli.bench_compare import compare
from benchfs.cli.bench_io500 import io500
from benchfs.cli.bench_ior import ior
from benchfs.cli.bench_md import md
from benchfs.cli.bench_mdtest import mdtest
from benchfs.cli.bench_rpc import rpc
from benchfs.cli.bench_scale import scale
from benchfs.cli.output import JsonOption, say_json, table

app = typer.Typer(help="Measure the cluster, and the floor of this machine.", no_args_is_help=True)
app.command("ior")(ior)
app.command("md")(md)
app.command("mdtest")(mdtest)
app.command("io500")(io500)
app.command("compare")(compare)
app.command("scale")(scale)
app.command("rpc")(rpc)


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
