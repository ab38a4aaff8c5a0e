"""What put and get share: the progress bar, and what is said at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from benchfs.cli.output import human, note, say_json
from benchfs.transfer import Result


@contextmanager
def progress_bar(title: str, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Counts bytes on a terminal; silent elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 (slow to import)
    from rich.progress import DownloadColumn, Progress, TextColumn, TransferSpeedColumn  # noqa: PLC0415

    columns = (TextColumn(title), DownloadColumn(binary_units=True), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda size: progress.update(task, advance=size)


def conclude(result: Result, *, json: bool) -> None:
    """Say what was done; exit status 1 if something failed."""
    if json:
        say_json(
            {
                "files": result.files,
                "directories": result.directories,
                "bytes": result.bytes,
                "seconds": result.seconds,
                "failures": [{"path": path, "error": why} for path, why in result.failures],
            }
        )
    else:
        rate = result.bytes / result.seconds if result.seconds else 0.0
        note(
            f"{result.files} files, {human(result.bytes)} in {result.seconds:.2f} s "
            f"({human(rate)}/s)"
        )
    for path, why in result.failures:
        note(f"benchfs: {path}: {why}")
    if result.failures:
        raise typer.Exit(1)
