"""One round of one system, in namespaces that are its own: `python -m ...inside JOB RESULT`.

Started by `rounds.py`; the two files are JSON. Exit status 0 if the result was written, be it
that of a failure.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from benchfs.bench.launch import local
from benchfs.bench.peers import choose, namespaces, ranks, yardstick
from benchfs.bench.peers.system import System, log_tails
from benchfs.bench.peers.work import COLD, FRESH, Sizes, Stage, stages

DROP_ALL = "3\n"


def measure(name: str, sizes: Sizes, place: Path) -> ranks.Outcome:
    """All stages of one system below `place`; as far as they came."""
    outcome = ranks.Outcome()
    system = choose.make(name)
    try:
        system.start(place)
        for stage in stages(sizes, system.directory):
            _run(system, stage, sizes, outcome)
            if outcome.failure:
                break
    except OSError as exc:
        outcome.failure = str(exc)
    if outcome.failure:
        outcome.failure = "\n  ".join((outcome.failure, *log_tails(place)))
    return outcome


def _run(system: System, stage: Stage, sizes: Sizes, outcome: ranks.Outcome) -> None:
    os.sync()  # what earlier stages have left to write is not this one's
    if stage.before in {FRESH, COLD}:
        system.forget()
    if stage.before == COLD:
        Path("/proc/sys/vm/drop_caches").write_text(DROP_ALL, encoding="ascii")
    job = ranks.Job(system.target, system.directory, stage.steps)
    found = local.run(ranks.program, job, sizes.processes)
    outcome.samples |= found.samples
    outcome.failure = found.failure


def main() -> None:
    """Measure what the job's file says."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # or the first process ignores it
    job_file, result_file = map(Path, sys.argv[1:])
    job = json.loads(job_file.read_text(encoding="utf-8"))
    sizes, place = Sizes(**job["sizes"]), Path(job["place"])
    namespaces.prepare()
    if job["system"] == yardstick.NAME:
        found = yardstick.measure(place, sizes.file_mib)
    else:
        found = measure(job["system"], sizes, place)
    result_file.write_text(json.dumps(asdict(found)), encoding="utf-8")


if __name__ == "__main__":
    main()
