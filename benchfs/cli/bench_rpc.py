"""`benchfs bench rpc`: latency and rate of calls over every transport, beside the floor."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchfs.bench import plot as plots
from benchfs.bench import rpc as calls
from benchfs.cli.output import JsonOption, fail, human, note, say_json, table
from benchfs.cli.sizes import parse_size
from benchfs.rpc.ring import RingUnavailableError
from benchfs.rpc.transports.choose import ENGINES

DEPTHS = (1, 8, 32, 128)
SIZES = ("0", "4k", "64k", "1m", "4m")


class Placement(StrEnum):
    """CPUs of server and client: two, one, or as the scheduler likes."""

    APART = "apart"
    TOGETHER = "together"
    FREE = "free"


class Scheme(StrEnum):
    """What URLs of addresses begin with."""

    TCP = "tcp"
    UNIX = "unix"
    UCX = "ucx"


def rpc(
    transport: Annotated[
        list[str] | None, typer.Option("--transport", help="Engine, repeatable; default: all.")
    ] = None,
    scheme: Annotated[
        list[Scheme] | None, typer.Option("--scheme", help="Repeatable; default: all.")
    ] = None,
    depth: Annotated[
        list[int] | None,
        typer.Option("--depth", min=1, max=512, help="Calls in flight, repeatable."),
    ] = None,
    size: Annotated[
        list[str] | None, typer.Option("--size", help="Bytes of a reply's payload, repeatable.")
    ] = None,
    placement: Annotated[
        Placement, typer.Option(help="CPUs of the two processes.")
    ] = Placement.APART,
    seconds: Annotated[float, typer.Option(min=0.001, max=60, help="Seconds of one round.")] = 0.3,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Medians are of so many.")] = 3,
    plot: Annotated[Path | None, typer.Option(help="Draw into this PNG file, too.")] = None,
    json: JsonOption = False,
) -> None:
    """Calls between two processes: latency and rate, as ratios of blocking sockets.

    With everything at its default it takes some five minutes.
    """
    if plot is not None:
        _require_plots(plot)
    cases = calls.cases(
        _available(transport),
        [one.value for one in scheme or Scheme],
        depth or DEPTHS,
        _sizes(size),
    )
    results = []
    for result in calls.measure(cases, seconds=seconds, rounds=rounds, placement=placement):
        results.append(result)
        note(f"{len(results)}/{len(cases)}: {_words(result)}")
    if plot is not None:
        plots.save(results, plot)
    if json:
        say_json(
            {
                "kernel": os.uname().release,
                "cpus": len(os.sched_getaffinity(0)),
                "placement": placement,
                "seconds": seconds,
                "rounds": rounds,
                "results": [
                    {**asdict(result), "of_floor": ratio}
                    for result, ratio in zip(results, calls.of_floor(results), strict=True)
                ],
            }
        )
    else:
        _show(results)


def _show(results: Sequence[calls.Result]) -> None:
    table(
        (
            *("payload", "over", "depth", "transport", "calls/s", "of floor", "MiB/s"),
            *("p50 µs", "p99 µs", "p99.9 µs"),
        ),
        [
            (
                human(result.case.size),
                result.case.scheme,
                str(result.case.depth),
                result.case.transport,
                f"{result.calls_s:.0f}",
                f"{ratio:.2f}",
                f"{result.mib_s:.0f}",
                *(f"{value:.0f}" for value in (result.p50_us, result.p99_us, result.p999_us)),
            )
            for result, ratio in zip(results, calls.of_floor(results), strict=True)
        ],
    )


def _words(result: calls.Result) -> str:
    case = result.case
    what = f"{human(case.size)} over {case.scheme}, {case.transport}, {case.depth} in flight"
    return f"{what}: {result.calls_s:.0f} calls/s, p50 {result.p50_us:.0f} µs"


def _available(wanted: Sequence[str] | None) -> list[str]:
    """The engines to measure: those asked for, or all that work here."""
    found = []
    for name in wanted or ENGINES:
        if name not in ENGINES:
            known = ", ".join(ENGINES)
            raise typer.BadParameter(f"there is no transport {name!r}; there are {known}")
        try:
            ENGINES[name]()
        except RingUnavailableError as exc:
            if wanted:
                raise fail(f"{name} cannot be used here: {exc}") from None
            note(f"without {name}: {exc}")
        else:
            found.append(name)
    return found


def _sizes(wanted: Sequence[str] | None) -> list[int]:
    sizes = [parse_size(text) for text in wanted or SIZES]
    if max(sizes) > calls.MOST_PAYLOAD:
        raise typer.BadParameter(f"a payload has {human(calls.MOST_PAYLOAD)} at the most")
    return sizes


def _require_plots(file: Path) -> None:
    """Fail before the measurement and not after it."""
    if not file.parent.is_dir():
        raise typer.BadParameter(f"there is no directory {file.parent}")
    try:
        plots.require()
    except plots.NoPlotsError as exc:
        raise fail(str(exc)) from None
