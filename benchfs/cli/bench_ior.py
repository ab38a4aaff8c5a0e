"""`benchfs bench ior`: IOR's flags, IOR's output."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchfs.bench.backends.choose import Target
from benchfs.bench.detail import Json
from benchfs.bench.ior import directives, settings
from benchfs.bench.ior.csvtext import csv_text
from benchfs.bench.ior.document import document
from benchfs.bench.ior.result import Outcome
from benchfs.bench.ior.run import run
from benchfs.bench.ior.text import text
from benchfs.bench.surroundings import machine, surroundings, version
from benchfs.cli.bench_output import (
    TASKS_HELP,
    BackendOption,
    LocalReadsOption,
    ReportOption,
    checked,
    command_line,
    json_text,
    leave,
    save_report,
    size,
)
from benchfs.cli.output import ClusterOption, JsonOption, note, say


def ior(
    backend: BackendOption = "benchfs",
    transfer: Annotated[str, typer.Option("-t", help="Bytes of a transfer.")] = "256k",
    block: Annotated[str, typer.Option("-b", help="Bytes a task moves in one piece.")] = "1m",
    segments: Annotated[str, typer.Option("-s", help="How often blocks repeat.")] = "1",
    repetitions: Annotated[int, typer.Option("-i", help="Repetitions.")] = 1,
    file: Annotated[str, typer.Option("-o", help="The file.")] = settings.DEFAULT_FILE,
    write: Annotated[bool, typer.Option("-w", help="Write.")] = False,
    read: Annotated[bool, typer.Option("-r", help="Read.")] = False,
    check_write: Annotated[bool, typer.Option("-W", help="Read after writing, compare.")] = False,
    check_read: Annotated[bool, typer.Option("-R", help="Compare what is read.")] = False,
    file_per_process: Annotated[bool, typer.Option("-F", help="A file for each task.")] = False,
    reorder: Annotated[bool, typer.Option("-C", help="Read what a neighbour wrote.")] = False,
    task_offset: Annotated[int, typer.Option("-Q", help="How far the neighbour is.")] = 1,
    reorder_random: Annotated[bool, typer.Option("-Z", help="Neighbours drawn by lot.")] = False,
    random_seed: Annotated[
        int, typer.Option("-X", help="Seed of -Z; negative: another for each repetition.")
    ] = 0,
    random_offsets: Annotated[bool, typer.Option("-z", help="Random order in a file.")] = False,
    fsync: Annotated[bool, typer.Option("-e", help="fsync after writing.")] = False,
    keep: Annotated[bool, typer.Option("-k", help="Keep the files.")] = False,
    keep_with_error: Annotated[bool, typer.Option("-K", help="Keep files with errors.")] = False,
    use_existing: Annotated[bool, typer.Option("-E", help="Write into files there are.")] = False,
    unique_directory: Annotated[
        bool, typer.Option("-u", help="A directory for each file; with -F.")
    ] = False,
    barriers: Annotated[bool, typer.Option("-g", help="Barriers around moving.")] = False,
    deadline: Annotated[int, typer.Option("-D", help="Seconds after which to stop.")] = 0,
    signature: Annotated[int | None, typer.Option("-G", help="What is written: a seed.")] = None,
    packet: Annotated[
        str, typer.Option("-l", help="What is written: timestamp, offset, incompressible.")
    ] = "timestamp",
    reference: Annotated[int, typer.Option("-A", help="A number for the summary.")] = 0,
    directive: Annotated[list[str] | None, typer.Option("-O", help="name=value,...")] = None,
    tasks: Annotated[int | None, typer.Option("-N", "--tasks", help=TASKS_HELP)] = None,
    local_reads: LocalReadsOption = True,
    cluster: ClusterOption = None,
    report: ReportOption = None,
    json: JsonOption = False,
) -> None:
    """Write and read like IOR; without -w, -r, -W, -R: both. The status is the count of errors."""
    asked = write or read or check_write or check_read

    def from_flags() -> settings.Settings:
        return settings.Settings(
            write=write or not asked,
            read=read or not asked,
            check_write=check_write,
            check_read=check_read,
            transfer=size(transfer, "-t"),
            block=size(block, "-b"),
            segments=size(segments, "-s"),
            repetitions=repetitions,
            file=file,
            file_per_process=file_per_process,
            unique_directory=unique_directory,
            reorder=reorder,
            task_offset=task_offset,
            reorder_random=reorder_random,
            random_seed=random_seed,
            random_offsets=random_offsets,
            fsync=fsync,
            keep=keep,
            keep_with_error=keep_with_error,
            use_existing=use_existing,
            barriers=barriers,
            deadline=deadline,
            signature=signature,
            packet=packet[:1],
            reference=reference,
        )

    flags = checked(from_flags)
    said = checked(lambda: directives.parse(directive or []))
    wanted = checked(lambda: replace(flags, **said.settings))  # type: ignore[arg-type]  # by name
    target = checked(
        lambda: Target(str(said.other.get("api", backend)).lower(), cluster, local_reads)
    )
    count = said.other.get("tasks", tasks)
    outcome = run(target, wanted, None if count is None else int(count))
    if outcome is None:
        return  # another rank than the first
    form = "json" if json else str(said.other.get("summary_format", "default"))
    _show(outcome, form, str(said.other.get("summary_file", "")), report)


def _show(outcome: Outcome, form: str, summary_file: str, report: Path | None) -> None:
    """Output, files, and the exit status."""
    found = _document(outcome)
    if form == "json":
        shown = json_text(found)
    elif form == "csv":
        shown = csv_text(outcome).rstrip("\n")
    else:
        shown = "\n".join(text(outcome, version(), command_line(), machine()))
    if summary_file:
        Path(summary_file).write_text(shown + "\n", encoding="utf-8")
        note(f"results are in {summary_file}")
    else:
        say(shown)
    save_report(report, found)
    leave(outcome, "transfers")


def _document(outcome: Outcome) -> dict[str, Json]:
    return document(outcome, version(), command_line(), machine(), surroundings())
