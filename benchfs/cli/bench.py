"""`benchfs bench`: measure the cluster, and the floor of this machine."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchfs.bench import floor as floors
from benchfs.bench import ior as iors
from benchfs.bench import md as mds
from benchfs.cli.output import ClusterOption, JsonOption, fail, run, say, say_json, table
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
    read: Annotated[bool, typer.Option("-r", help="Read.")] = False,
    fsync: Annotated[bool, typer.Option("-e", help="fsync after writing.")] = False,
    keep: Annotated[bool, typer.Option("-k", help="Keep what was written.")] = False,
    transfer: Annotated[str, typer.Option("-t", help="Bytes of one transfer.")] = "256k",
    block: Annotated[str, typer.Option("-b", help="Bytes that each client moves.")] = "1m",
    file_per_process: Annotated[bool, typer.Option("-F", help="A file for each client.")] = False,
    clients: Annotated[int, typer.Option("-N", min=1, max=256, help="Client processes.")] = 1,
    repetitions: Annotated[int, typer.Option("-i", min=1, max=100, help="Repetitions.")] = 1,
    directory: Annotated[str, typer.Option(help="Directory of the files.")] = "/ior",
    verify: Annotated[bool, typer.Option(help="Compare what is read, within the time.")] = True,
    local_reads: Annotated[bool, typer.Option(help="Read chunks of this host directly.")] = True,
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Write and read like IOR. Without -w and -r: both. Exit status 1 if other bytes come back."""
    try:
        settings = iors.Settings(
            write=write or not read,
            read=read or not write,
            transfer=parse_size(transfer),
            block=parse_size(block),
            file_per_process=file_per_process,
            clients=clients,
            repetitions=repetitions,
            directory=directory,
            fsync=fsync,
            keep=keep,
            verify=verify,
        )
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from None
    results = iors.run(cluster, settings, local_reads=local_reads)
    if json:
        say_json({"settings": asdict(settings), "results": [asdict(result) for result in results]})
    else:
        show_ior(settings, results)
    if errors := sum(result.errors for result in results):
        raise fail(f"{errors} transfers were read with other bytes than were written")


IOR_COLUMNS = (
    *("access", "bw(MiB/s)", "IOPS", "Latency(s)", "block(KiB)", "xfer(KiB)"),
    *("open(s)", "wr/rd(s)", "close(s)", "total(s)", "iter"),
)


def show_ior(settings: iors.Settings, results: list[iors.Result]) -> None:
    """IOR's own table, as wide on every terminal, for programs that read it."""
    rows = [
        (
            result.access,
            f"{result.mib_s:.2f}",
            f"{result.operations_s:.2f}",
            f"{result.latency_s:.6f}",
            f"{settings.block / 1024:.2f}",
            f"{settings.transfer / 1024:.2f}",
            f"{result.open_s:.6f}",
            f"{result.move_s:.6f}",
            f"{result.close_s:.6f}",
            f"{result.seconds:.6f}",
            str(result.iteration),
        )
        for result in results
    ]
    for row in (IOR_COLUMNS, ["-" * len(name) for name in IOR_COLUMNS], *rows):
        say(" ".join(f"{cell:<10}" for cell in row).rstrip())


@app.command()
def md(
    operations: Annotated[int, typer.Option("-n", min=1, help="Operations of each phase.")] = 8000,
    tasks: Annotated[int, typer.Option(min=1, max=4096, help="Operations at a time.")] = 32,
    small: Annotated[str, typer.Option(help="Bytes of a small file.")] = "4k",
    large: Annotated[str, typer.Option(help="Bytes of the file read at random.")] = "64m",
    local_reads: Annotated[bool, typer.Option(help="Read chunks of this host directly.")] = False,
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Metadata and small files like mdtest: create, stat, unlink, store, load, random reads."""
    try:
        settings = mds.Settings(
            operations, tasks, parse_size(large), parse_size(small), local_reads
        )
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from None
    rates = run(mds.run(cluster, settings))
    if json:
        say_json({"settings": asdict(settings), "rates": [asdict(rate) for rate in rates]})
        return
    table(
        ("operation", "rate", "seconds"),
        [(rate.name, speed(rate.per_s, "/s"), f"{rate.seconds:.3f}") for rate in rates],
    )
