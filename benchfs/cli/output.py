"""How commands speak: data on standard output, for people or as one JSON document.

Also how they run: on uvloop, with one client of the chosen cluster, and errors as one line on
standard error with exit status 1.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
import uvloop

if TYPE_CHECKING:
    from benchfs.client import AsyncClient

Result = TypeVar("Result")

ClusterOption = Annotated[
    str | None,
    typer.Option("--cluster", help="URL, instance name or directory; default: the one running."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def run(work: Coroutine[object, object, Result]) -> Result:
    """Run a command's coroutine to its end."""
    return uvloop.run(work)


def with_client(
    cluster: str | None,
    work: Callable[[AsyncClient], Coroutine[object, object, Result]],
) -> Result:
    """Run `work` with a connected client."""
    # Half of what a command takes to start, and some need no client.
    from benchfs.client import AsyncClient  # noqa: PLC0415

    async def connected() -> Result:
        async with AsyncClient(cluster) as fs:
            return await work(fs)

    return run(connected())


def say(text: str) -> None:
    """A line of data; bytes of names that are no UTF-8 come out as they are."""
    sys.stdout.buffer.write(os.fsencode(text) + b"\n")


def say_json(value: object) -> None:
    """The one JSON document; bytes that are no UTF-8 are escaped as lone surrogates."""
    say(json.dumps(value, indent=2))


def note(text: str) -> None:
    """A line for people, on standard error."""
    sys.stderr.write(text.encode("utf-8", "backslashreplace").decode() + "\n")


def fail(text: str) -> typer.Exit:
    """What to raise for a failure that is not an error of one operation."""
    note(f"benchfs: {text}")
    return typer.Exit(1)


def human(size: float) -> str:
    """Bytes with a binary unit, three figures: 4.00 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table for people on standard output."""
    from rich.console import Console  # noqa: PLC0415 (slow to import)
    from rich.table import Table  # noqa: PLC0415

    grid = Table(*titles, box=None, pad_edge=False)
    for row in rows:
        grid.add_row(*row)
    Console(highlight=False, markup=False).print(grid)
