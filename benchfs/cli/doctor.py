"""`benchfs doctor`: what is right and wrong with this host and the cluster, and what to do."""

from __future__ import annotations

import typer

from benchfs.cli.output import ClusterOption, JsonOption, run, say_json, table
from benchfs.diagnosis import Check, Verdict, check_cluster, check_host, worst


def doctor(cluster: ClusterOption = None, json: JsonOption = False) -> None:
    """Check this host and the cluster; exit status 1 if something is wrong."""
    checks = [*check_host(), *run(check_cluster(cluster))]
    verdict = worst(checks)
    if json:
        say_json(
            {
                "verdict": verdict.value,
                "checks": [{**check._asdict(), "verdict": check.verdict.value} for check in checks],
            }
        )
    else:
        table(("check", "verdict", "seen", "what to do"), map(_row, checks))
    if verdict is Verdict.PROBLEM:
        raise typer.Exit(1)


def _row(check: Check) -> tuple[str, ...]:
    name = check.name if check.node is None else f"{check.node}: {check.name}"
    return (name, check.verdict.value, check.seen, check.advice)
