"""All rounds: the floor, then every system once, each alone on the machine, in alternating order.

A system that fails in a round has its failure noted, and the others go on.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from benchfs.bench import floor
from benchfs.bench.base import settle
from benchfs.bench.peers import yardstick
from benchfs.bench.peers.ranks import Sample
from benchfs.bench.peers.record import Round
from benchfs.bench.peers.work import Sizes

INSIDE = "benchfs.bench.peers.inside"

Run = Callable[[str, Sequence[str], Path], str]  # as namespaces.run_inside
Say = Callable[[str], None]


def one_round(
    number: int, names: Sequence[str], sizes: Sizes, scratch: Path, *, run: Run, say: Say
) -> Round:
    """Measure all of them, below `scratch`, which is empty afterwards. OSError of the floor."""
    busy = settle()
    say(f"round {number + 1}: the floor")
    base = floor.sample(scratch)
    systems: dict[str, dict[str, Sample]] = {}
    failures: dict[str, str] = {}
    order = [yardstick.NAME, *names]
    for name in order if number % 2 == 0 else reversed(order):
        began = time.monotonic()
        systems[name], why = one_system(name, sizes, scratch, run)
        if why:
            failures[name] = why
        say(f"  {name}: {f'FAILED: {why}' if why else f'{time.monotonic() - began:.0f} s'}")
    loops = {title: sample.rate for title, sample in systems.pop(yardstick.NAME).items()}
    in_order = {name: systems[name] for name in names}
    return Round(busy, base, loops, in_order, failures)


def one_system(name: str, sizes: Sizes, scratch: Path, run: Run) -> tuple[dict[str, Sample], str]:
    """Its samples, and why there are not more ("": all are there)."""
    place = scratch / "system"
    job, result, log = scratch / "job.json", scratch / "result.json", scratch / "log"
    place.mkdir()
    try:
        told = {"system": name, "sizes": asdict(sizes), "place": str(place)}
        job.write_text(json.dumps(told), encoding="utf-8")
        failure = run(INSIDE, [str(job), str(result)], log)
        if not result.exists():
            return {}, failure or "it left no result"
        found = json.loads(result.read_text(encoding="utf-8"))
        samples = {title: Sample(**sample) for title, sample in found["samples"].items()}
        return samples, found["failure"] or failure
    finally:
        shutil.rmtree(place)
        for path in (job, result, log):
            path.unlink(missing_ok=True)
