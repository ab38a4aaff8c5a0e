"""`make io500`: the twelve phases on three nodes of this host, in about a minute, with a report."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from pathlib import Path

from benchfs.bench.backends.choose import NATIVE, Target
from benchfs.bench.floor import default_directory
from benchfs.bench.io500.run import run
from benchfs.bench.io500.settings import quick
from benchfs.bench.io500.text import document, text
from benchfs.bench.report.page import write
from benchfs.bench.surroundings import machine, surroundings, version
from benchfs.localcluster import LocalCluster

NODES = 3
TASKS = 2


def main() -> None:
    """Run, print the summary, write the report. Exit status 1 if a phase failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, metavar="DIR", help="for results.json and a page")
    report = parser.parse_args().report
    with (
        tempfile.TemporaryDirectory(dir=default_directory()) as place,
        LocalCluster(nodes=NODES, data=Path(place) / "data") as cluster,
    ):
        outcome = run(Target(NATIVE, cluster.url), quick("/io500", sync=False), TASKS)
    assert outcome is not None
    print("\n".join(text(outcome, version())))
    if report is not None:
        report.mkdir(parents=True, exist_ok=True)
        command = ["python", "-m", "benchfs.bench.io500", *map(shlex.quote, sys.argv[1:])]
        found = document(outcome, version(), command, machine(), surroundings())
        (report / "results.json").write_text(json.dumps(found, indent=2) + "\n")
        print(f"the report is {write(report, found)}")
    if outcome.failure:
        sys.exit(1)


if __name__ == "__main__":
    main()
