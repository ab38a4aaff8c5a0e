"""`benchfs bench mdtest`: mdtest's flags, mdtest's table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchfs.bench.backends.choose import NATIVE, Target
from benchfs.bench.mdtest.document import document
from benchfs.bench.mdtest.result import Outcome
from benchfs.bench.mdtest.run import run
from benchfs.bench.mdtest.settings import Settings
from benchfs.bench.mdtest.text import text
from benchfs.bench.surroundings import machine, surroundings, version
from benchfs.cli.bench_output import (
    BackendOption,
    LocalReadsOption,
    ReportOption,
    TasksOption,
    checked,
    command_line,
    json_text,
    leave,
    save_report,
    size,
)
from benchfs.cli.output import ClusterOption, JsonOption, say


def mdtest(
    backend: BackendOption = NATIVE,
    items: Annotated[int, typer.Option("-n", help="Files and directories of a task.")] = 0,
    items_per_directory: Annotated[int, typer.Option("-I", help="Items in a directory.")] = 0,
    depth: Annotated[int, typer.Option("-z", help="Depth of the tree.")] = 0,
    branches: Annotated[int, typer.Option("-b", help="Branches of a directory.")] = 1,
    iterations: Annotated[int, typer.Option("-i", help="Iterations.")] = 1,
    directory: Annotated[str, typer.Option("-d", help="Where the test works.")] = "/mdtest",
    unique_directory: Annotated[bool, typer.Option("-u", help="A tree for each task.")] = False,
    leaves_only: Annotated[bool, typer.Option("-L", help="Items at the leaves only.")] = False,
    files_only: Annotated[bool, typer.Option("-F", help="Files only.")] = False,
    directories_only: Annotated[bool, typer.Option("-D", help="Directories only.")] = False,
    write_bytes: Annotated[str, typer.Option("-w", help="Bytes written to a file.")] = "0",
    read_bytes: Annotated[str, typer.Option("-e", help="Bytes read from a file.")] = "0",
    verify: Annotated[bool, typer.Option("-X", help="Compare what is read.")] = False,
    stride: Annotated[
        int, typer.Option("-N", help="How far the task is whose items are asked for.")
    ] = 0,
    deadline: Annotated[int, typer.Option("-W", help="Seconds after which to stop creating.")] = 0,
    status_file: Annotated[str, typer.Option("-x", help="Keeps how far creating came.")] = "",
    sync: Annotated[bool, typer.Option("-Y", help="sync after each phase, in its time.")] = False,
    fsync: Annotated[bool, typer.Option("-y", help="fsync each file.")] = False,
    create: Annotated[bool, typer.Option("-C", help="Create only.")] = False,
    stat: Annotated[bool, typer.Option("-T", help="Stat only.")] = False,
    read: Annotated[bool, typer.Option("-E", help="Read only.")] = False,
    remove: Annotated[bool, typer.Option("-r", help="Remove only.")] = False,
    tasks: TasksOption = None,
    local_reads: LocalReadsOption = True,
    cluster: ClusterOption = None,
    report: ReportOption = None,
    json: JsonOption = False,
) -> None:
    """Create, ask for, read and remove files and directories like mdtest."""
    every = not (create or stat or read or remove)
    if sync and backend.lower() == NATIVE:
        raise typer.BadParameter("-Y: a cluster has no sync of everything; -y syncs each file")
    settings = checked(
        lambda: Settings(
            items=items,
            items_per_directory=items_per_directory,
            depth=depth,
            branches=branches,
            unique_directory=unique_directory,
            leaves_only=leaves_only,
            files_only=files_only,
            directories_only=directories_only,
            write_bytes=size(write_bytes, "-w"),
            read_bytes=size(read_bytes, "-e"),
            verify=verify,
            stride=stride,
            deadline=deadline,
            status_file=status_file,
            sync=sync,
            fsync=fsync,
            iterations=iterations,
            directory=directory,
            create=create or every,
            stat=stat or every,
            read=read or every,
            remove=remove or every,
        )
    )
    target = checked(lambda: Target(backend.lower(), cluster, local_reads))
    outcome = run(target, settings, tasks)
    if outcome is not None:  # else this is another rank than the first
        _show(outcome, report, json=json)


def _show(outcome: Outcome, report: Path | None, *, json: bool) -> None:
    """Output, files, and the exit status."""
    command = command_line()
    found = document(outcome, version(), command, machine(), surroundings())
    say(json_text(found) if json else "\n".join(text(outcome, version(), command)))
    save_report(report, found)
    leave(outcome, "files")
