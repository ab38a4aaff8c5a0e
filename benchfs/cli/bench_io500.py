"""`benchfs bench io500`: the twelve phases of IO500, its summary and its score."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchfs.bench.backends.choose import NATIVE, POSIX, Target
from benchfs.bench.io500 import text as io500_text
from benchfs.bench.io500.run import Outcome, run
from benchfs.bench.io500.settings import RULES_SECONDS, Settings
from benchfs.bench.io500.settings import quick as quick_settings
from benchfs.bench.surroundings import machine, surroundings, version
from benchfs.cli.bench_output import (
    BackendOption,
    LocalReadsOption,
    ReportOption,
    TasksOption,
    checked,
    command_line,
    json_text,
    save_report,
)
from benchfs.cli.output import ClusterOption, JsonOption, fail, note, say


def io500(
    backend: BackendOption = NATIVE,
    directory: Annotated[
        str, typer.Option("-d", help="Where the run works; must not be there yet.")
    ] = "/io500",
    stonewall: Annotated[
        int, typer.Option(help=f"Seconds of each write phase; below {RULES_SECONDS}: INVALID.")
    ] = RULES_SECONDS,
    quick: Annotated[bool, typer.Option("--quick", help="About a minute; INVALID.")] = False,
    tasks: TasksOption = None,
    local_reads: LocalReadsOption = True,
    cluster: ClusterOption = None,
    report: ReportOption = None,
    json: JsonOption = False,
) -> None:
    """Run IO500: bandwidth and metadata, easy and hard, and find. Takes an hour if valid."""
    target = checked(lambda: Target(backend.lower(), cluster, local_reads))
    sync = target.backend == POSIX  # as IO500 has it; a cluster's files are flushed as they close
    settings = checked(
        lambda: (
            quick_settings(directory, sync=sync)
            if quick
            else Settings(directory=directory, stonewall=stonewall, sync=sync)
        )
    )
    outcome = run(target, settings, tasks)
    if outcome is not None:  # else this is another rank than the first
        _show(outcome, report, json=json)


def _show(outcome: Outcome, report: Path | None, *, json: bool) -> None:
    """Output, files, and the exit status."""
    command = command_line()
    found = io500_text.document(outcome, version(), command, machine(), surroundings())
    summary = "\n".join(io500_text.text(outcome, version()))
    say(json_text(found) if json else summary)
    for why in io500_text.invalid(outcome):
        note(f"INVALID: {why}")
    if report is not None:
        save_report(report, found)
        (report / "result_summary.txt").write_text(summary + "\n", encoding="utf-8")
        result = "\n".join(io500_text.result_text(outcome, version(), command))
        (report / "result.txt").write_text(result + "\n", encoding="utf-8")
    if outcome.failure:
        raise fail(f"incomplete, {len(outcome.results)} phases are shown: {outcome.failure}")
    if any(one.errors for one in outcome.results):
        raise typer.Exit(1)
