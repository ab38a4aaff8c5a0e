"""mdtest's output for people: the same rows and columns in the same order."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence

from benchfs.bench.mdtest.result import Outcome

HEAD = "   Operation                     Max            Min           Mean        Std Dev"
RULE = "   ---------                     ---            ---           ----        -------"


def text(outcome: Outcome, version: str, command: Sequence[str]) -> Iterator[str]:
    """All lines of a run's output. A row of what was not measured has zeros, as mdtest's has."""
    tasks, hosts = len(outcome.hosts), list(dict.fromkeys(outcome.hosts))
    yield f"-- started at {time.strftime('%m/%d/%Y %H:%M:%S', time.localtime(outcome.began))} --"
    yield ""
    yield f"mdtest-{version} was launched with {tasks} total task(s) on {len(hosts)} node(s)"
    yield f"Command line used: {' '.join(command)}"
    yield f"Nodemap: {''.join(str(int(host == hosts[0])) for host in outcome.hosts)}"
    yield f"Path                : {outcome.settings.directory}"
    yield f"{tasks} tasks, {tasks * outcome.items} {_items(outcome)}"
    yield ""
    yield f"SUMMARY rate (in ops/sec): (of {outcome.settings.iterations} iterations)"
    yield HEAD
    yield RULE
    for operation in outcome.rows:
        rates = outcome.rates(operation) or [0.0]
        figures = (max(rates), min(rates), statistics.mean(rates), statistics.pstdev(rates))
        yield f"   {operation:<18} {'':4}" + " ".join(f"{value:14.3f}" for value in figures)
    if outcome.failure:
        yield f"INCOMPLETE: {outcome.failure}"
    yield f"-- finished at {time.strftime('%m/%d/%Y %H:%M:%S', time.localtime(outcome.ended))} --"


def _items(outcome: Outcome) -> str:
    if outcome.settings.files_only:
        return "files"
    return "directories" if outcome.settings.directories_only else "files/directories"
