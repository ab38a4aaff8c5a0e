"""mdtest's results as one JSON document: settings, the summary's figures, every iteration."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict

from benchfs.bench.detail import Json, ranks_detail, ranks_phase_detail
from benchfs.bench.mdtest.result import Outcome, Phase


def document(
    outcome: Outcome, version: str, command: Sequence[str], machine: str, surroundings: Json
) -> dict[str, Json]:
    """The whole document; `surroundings` tells of the machine and the versions."""
    return {
        "Version": version,
        "Began": time.ctime(outcome.began),
        "Command line": " ".join(command),
        "Machine": machine,
        "settings": {"api": outcome.api, **asdict(outcome.settings)},
        "summary": [
            summary(operation, outcome.rates(operation))
            for operation in outcome.rows
            if outcome.rates(operation)
        ],
        "Finished": time.ctime(outcome.ended),
        "benchfs": {
            "benchmark": "mdtest",
            "failure": outcome.failure or None,
            "errors": outcome.errors,
            "ranks": ranks_detail(outcome.hosts, outcome.processes),
            "surroundings": surroundings,
            "phases": [detail(phase) for phase in outcome.phases],
            "failed": None if outcome.failed is None else detail(outcome.failed),
        },
    }


def summary(operation: str, rates: Sequence[float]) -> Json:
    """A row of mdtest's table; operations a second."""
    return {
        "operation": operation,
        "max": max(rates),
        "min": min(rates),
        "mean": statistics.mean(rates),
        "stddev": statistics.pstdev(rates),
        "iterations": list(rates),
    }


def detail(phase: Phase) -> dict[str, Json]:
    """A phase, for reports."""
    return ranks_phase_detail(
        phase,
        name=phase.operation,
        unit="ops/s",
        value=phase.rate,
        seconds=phase.seconds,
        timeline=phase.timeline.rates(),
    )
