"""IO500's own result summary, line by line, its result.txt, and the same as JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from benchfs.bench.detail import Json, ranks_detail
from benchfs.bench.io500.run import Outcome
from benchfs.bench.io500.score import TIMESTAMP, Result, Score, score


def invalid(outcome: Outcome) -> list[str]:
    """What keeps the run from being valid."""
    found = [f"{one.name}: {one.invalid}" for one in outcome.results if one.invalid]
    return [*found, outcome.failure] if outcome.failure else found


def total(outcome: Outcome) -> Score | None:
    """The score; None for a run that is not complete."""
    try:
        return None if outcome.failure else score(outcome.results)
    except ValueError:
        return None  # a phase without a score is named among what makes the run invalid


def _missing(outcome: Outcome) -> str:
    """Why there is no score."""
    return outcome.failure or "; ".join(invalid(outcome))


def text(outcome: Outcome, version: str) -> Iterator[str]:
    """The summary."""
    yield f"IO500 version benchfs-{version} (standard)"
    for one in outcome.results:
        mark = "[      ]" if one.name == TIMESTAMP else "[RESULT]"
        line = (
            f"{mark} {one.name:>20} {one.score:15.6f} {one.unit} : time {one.seconds:.3f} seconds"
        )
        yield line + (" [INVALID]" if one.invalid else "")
    found = total(outcome)
    if found is None:
        yield f"INCOMPLETE: {_missing(outcome)}"
        return
    mark = " [INVALID]" if invalid(outcome) else ""
    yield (
        f"[SCORE ] Bandwidth {found.bandwidth:f} GiB/s : IOPS {found.metadata:f} kiops : "
        f"TOTAL {found.total:f}{mark}"
    )


def result_text(outcome: Outcome, version: str, command: Sequence[str]) -> Iterator[str]:
    """As IO500's result.txt: a section a phase, then the score."""
    yield "[run]"
    yield f"procs = {len(outcome.hosts)}"
    yield f"version = benchfs-{version}"
    yield f"exe = {' '.join(command)}"
    for one in outcome.results:
        yield ""
        yield f"[{one.name}]"
        yield from (f"; INVALID: {one.invalid}",) if one.invalid else ()
        yield f"score = {one.score:f}"
        yield f"t_delta = {one.seconds:.4f}"
        if one.name == "find":
            yield f"found = {outcome.found}"
    found = total(outcome)
    yield ""
    yield "[SCORE]"
    if found is None:
        yield f"; INCOMPLETE: {_missing(outcome)}"
        return
    yield f"MD = {found.metadata:f}"
    yield f"BW = {found.bandwidth:f}"
    yield f"SCORE = {found.total:f}{' [INVALID]' if invalid(outcome) else ''}"


def document(
    outcome: Outcome, version: str, command: Sequence[str], machine: str, surroundings: Json
) -> dict[str, Json]:
    """Everything, for programs."""
    found = total(outcome)
    return {
        "Version": version,
        "Began": time.ctime(outcome.began),
        "Command line": " ".join(command),
        "Machine": machine,
        "settings": {"api": outcome.api, **asdict(outcome.settings)},
        "results": [_result(one) for one in outcome.results],
        "found": outcome.found,
        "score": None
        if found is None
        else {"bandwidth": found.bandwidth, "metadata": found.metadata, "total": found.total},
        "valid": not invalid(outcome),
        "invalid": list(invalid(outcome)),
        "Finished": time.ctime(outcome.ended),
        "benchfs": {
            "benchmark": "io500",
            "failure": outcome.failure or None,
            "errors": sum(one.errors for one in outcome.results),
            "ranks": ranks_detail(outcome.hosts, outcome.processes),
            "surroundings": surroundings,
            "phases": [one.detail for one in outcome.results if one.detail is not None],
            "failed": outcome.failed,
        },
    }


def _result(one: Result) -> Json:
    return {
        "name": one.name,
        "score": one.score,
        "unit": one.unit,
        "seconds": one.seconds,
        "invalid": one.invalid or None,
    }
