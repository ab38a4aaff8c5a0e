"""What the commands of `benchfs bench` share: options, and how a run's end becomes a status.

Under mpirun or srun every rank runs the command, and rank 0 alone speaks.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from benchfs.bench.detail import Json
from benchfs.bench.outcome import AnyPhase, AnySettings, RunOutcome
from benchfs.bench.sizes import parse_size
from benchfs.cli.output import fail, note, say

Result = TypeVar("Result")
MOST_STATUS = 255  # of a process; more errors than that are this many

BackendOption = Annotated[
    str, typer.Option("-a", "--backend", help="benchfs, posix (any path) or memory.")
]
TASKS_HELP = "Processes; under mpirun or srun: how many of the ranks."
TasksOption = Annotated[int | None, typer.Option("--tasks", help=TASKS_HELP)]
LocalReadsOption = Annotated[
    bool, typer.Option(help="benchfs: read chunks of this host from their files.")
]
ReportOption = Annotated[
    Path | None, typer.Option(help="Directory for results.json and a page with plots.")
]


def command_line() -> list[str]:
    """What was typed, so that it can be repeated."""
    return ["benchfs", *map(shlex.quote, sys.argv[1:])]


def size(text: str, flag: str) -> int:
    """A size; wrong usage if it is none."""
    try:
        return parse_size(text)
    except ValueError as exc:
        raise typer.BadParameter(f"{flag} {exc}") from None


def checked(make: Callable[[], Result]) -> Result:
    """What `make` makes of the flags; its ValueError is wrong usage."""
    try:
        return make()
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from None


def json_text(document: dict[str, Json]) -> str:
    """One valid JSON document: no infinities, no NaN."""
    return json.dumps(document, indent=2, allow_nan=False)


def leave(outcome: RunOutcome[AnySettings, AnyPhase], what: str) -> None:
    """How a run went is the exit status. `what` was compared with what had been written."""
    if outcome.failure:
        raise fail(f"incomplete, {len(outcome.phases)} phases are shown: {outcome.failure}")
    if outcome.errors:
        note(f"benchfs: {outcome.errors} {what} were read with other bytes than were written")
        raise typer.Exit(min(outcome.errors, MOST_STATUS))


def columns(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table as wide as it is, on every terminal and in files: the first column to the left."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        first, *others = (f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        say("  ".join((f"{first.strip():<{widths[0]}}", *others)).rstrip())


def save_report(directory: Path | None, document: dict[str, Json]) -> None:
    """Write results.json and the page, where they are wanted. OSError without matplotlib."""
    if directory is None:
        return
    from benchfs.bench.report.page import write  # noqa: PLC0415 (slow to import)

    directory.mkdir(parents=True, exist_ok=True)
    results = directory / "results.json"
    results.write_text(json_text(document) + "\n", encoding="utf-8")
    try:
        path = write(directory, document)
    except ModuleNotFoundError as exc:
        text = f"the page needs {exc.name}: install benchfs[bench]; results are in {results}"
        raise OSError(text) from exc
    note(f"the report is {path}")
