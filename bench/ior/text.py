"""IOR's output for people: the same columns in the same order, widths and precision.

Two things are said where IOR says them differently: `api` is the name of a backend, and a run
that ended early says so after its last line, and has no summary of what it did not do.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence

from benchfs.bench.ior.phase import CHECK
from benchfs.bench.ior.result import MIB, Outcome, Phase
from benchfs.bench.ior.settings import Settings

COLUMNS = (
    "access    bw(MiB/s)  IOPS       Latency(s)  block(KiB) xfer(KiB)  "
    "open(s)    wr/rd(s)   close(s)   total(s)   iter"
)
RULE = (
    "------    ---------  ----       ----------  ---------- ---------  "
    "--------   --------   --------   --------   ----"
)
SUMMARY_COLUMNS = (
    "Operation   Max(MiB)   Min(MiB)  Mean(MiB)     StdDev   Max(OPs)   Min(OPs)  Mean(OPs)"
    "     StdDev    Mean(s) Stonewall(s) Stonewall(MiB) Test# #Tasks tPN reps fPP reord reordoff"
    " reordrand seed segcnt   blksiz    xsize aggs(MiB)   API RefNum"
)
LABEL_WIDTH = 20


def text(outcome: Outcome, version: str, command: Sequence[str], machine: str) -> Iterator[str]:
    """All lines of a run's output."""
    began = time.ctime(outcome.began)
    yield f"IOR-{version}: BenchFS for Python, in the form of IOR"
    yield _pair("Began", began)
    yield _pair("Command line", " ".join(command))
    yield _pair("Machine", machine)
    yield _pair("TestID", "0")
    yield _pair("StartTime", began)
    yield ""
    yield "Options: "
    yield from (_pair(name, value) for name, value in options(outcome).items())
    yield ""
    yield "Results: "
    yield ""
    yield from table(outcome)
    if outcome.failure:
        yield ""
        yield f"INCOMPLETE: {outcome.failure}"
    else:
        yield ""
        yield "Summary of all tests:"
        yield from summary(outcome)
    yield _pair("Finished", time.ctime(outcome.ended))


def _pair(name: str, value: object) -> str:
    return f"{name:<{LABEL_WIDTH}}: {value}"


def options(outcome: Outcome) -> dict[str, str | int]:
    """IOR's section of that name, in its order."""
    settings, tasks = outcome.settings, len(outcome.hosts)
    found: dict[str, str | int] = {
        "api": outcome.api,
        "apiVersion": "",
        "test filename": settings.file,
        "access": "file-per-process" if settings.file_per_process else "single-shared-file",
        "type": "independent",
        "segments": settings.segments,
        "ordering in a file": "random" if settings.random_offsets else "sequential",
    }
    found |= _ordering(settings)
    found |= {
        "nodes": len(set(outcome.hosts)),
        "tasks": tasks,
        "clients per node": outcome.tasks_per_host,
        "repetitions": settings.repetitions,
        "xfersize": human(settings.transfer),
        "blocksize": human(settings.block),
        "aggregate filesize": human(settings.total_bytes(tasks)),
    }
    if settings.deadline:
        found["stonewallingTime"] = settings.deadline
        found["stoneWallingWearOut"] = int(settings.wear_out)
    return found


def _ordering(settings: Settings) -> dict[str, str | int]:
    if settings.reorder:
        return {
            "ordering inter file": "constant task offset",
            "task offset": settings.task_offset,
        }
    if settings.reorder_random:
        return {
            "ordering inter file": "random task offset",
            "task offset": settings.task_offset,
            "reorder random seed": settings.random_seed,
        }
    return {"ordering inter file": "no tasks offsets"}


def human(size: int) -> str:
    """Bytes as IOR prints them: 256 KiB stays 262144 bytes, 1 MiB is 1 MiB."""
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (MIB, "MiB")):
        if size >= unit:
            return f"{size // unit} {name}" if size % unit == 0 else f"{size / unit:.2f} {name}"
    return f"{size} bytes"


# ---------------------------------------------------------------- the table


def table(outcome: Outcome) -> Iterator[str]:
    """The results, a line a phase, and the removals; then the best of each."""
    yield COLUMNS
    yield RULE
    settings = outcome.settings
    for repetition in range(settings.repetitions):
        for phase in outcome.phases:
            if phase.iteration == repetition and phase.access != CHECK:
                yield _row(phase, settings)
        if repetition < len(outcome.removed):
            dashes = "".join(f"{'-':<{width}}" for width in (11, 11, 12, 11, 11, 11, 11, 11))
            yield f"{'remove':<10}{dashes}{number(outcome.removed[repetition])} {repetition:<4}"
    for access, label in (("write", "Max Write:"), ("read", "Max Read: ")):
        if found := outcome.of(access):
            best = max(phase.mib_s for phase in found)
            yield f"{label} {best:.2f} MiB/sec ({best * MIB / 1e6:.2f} MB/sec)"


def _row(phase: Phase, settings: Settings) -> str:
    first = (phase.mib_s, phase.operations_s, phase.latency_s)
    sizes = (settings.block / 1024, settings.transfer / 1024)
    times = (phase.open_s, phase.move_s, phase.close_s, phase.total_s)
    cells = " ".join(map(number, first)) + "  " + " ".join(map(number, (*sizes, *times)))
    return f"{phase.access:<10}{cells} {phase.iteration:<4}"


def number(value: float) -> str:
    """A cell: six decimals below 1, two below 3600, none above."""
    decimals = 6 if value < 1 else 2 if value < 3600 else 0
    return f"{value:<10.{decimals}f}"


# ---------------------------------------------------------------- the summary


def summary(outcome: Outcome) -> Iterator[str]:
    """IOR's long summary: a line for each access, over all repetitions."""
    yield SUMMARY_COLUMNS
    for access in ("write", "read"):
        if found := outcome.of(access):
            yield _summary_row(outcome, access, found)


def _summary_row(outcome: Outcome, access: str, phases: Sequence[Phase]) -> str:
    settings = outcome.settings
    speeds = [phase.mib_s for phase in phases]
    rates = [phase.transfers / phase.total_s for phase in phases]
    wall = phases[0].stonewall
    cells = [f"{access:<9}"]
    cells += [f"{value:10.2f}" for value in (*spread(speeds), *spread(rates))]
    cells.append(f"{statistics.mean(phase.total_s for phase in phases):10.5f}")
    cells += (
        [f"{'NA':>10} {'NA':>13}"] if wall is None else [f"{wall.seconds:10.2f} {wall.mib_s:13.2f}"]
    )
    cells += [
        f"{0:5d} {len(outcome.hosts):6d} {outcome.tasks_per_host:3d} {settings.repetitions:4d}",
        f"{settings.file_per_process:3d} {settings.reorder:5d} {settings.task_offset:8d}",
        f"{settings.reorder_random:9d} {settings.random_seed:4d} {settings.segments:6d}",
        f"{settings.block:8d} {settings.transfer:8d} {phases[0].bytes / MIB:9.1f}",
        f"{outcome.api:>3} {settings.reference:6d}",
    ]
    return " ".join(cells)


def spread(values: Sequence[float]) -> tuple[float, float, float, float]:
    """Most, least, mean, and the standard deviation of the population."""
    return max(values), min(values), statistics.mean(values), statistics.pstdev(values)
