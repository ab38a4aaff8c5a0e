"""IOR's JSON: the keys of `-O summaryFormat=JSON`, as one document that parses.

What IOR does not know is under the key `benchfs`: the ranks, the machine, and of every phase the
samples that the report is made of. A run that ended early has `failure` there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypeAlias

from benchfs.bench.detail import Json, ranks_detail, ranks_phase_detail
from benchfs.bench.ior.phase import CHECK
from benchfs.bench.ior.result import MIB, Outcome, Phase
from benchfs.bench.ior.text import options, spread

Section: TypeAlias = dict[str, Json]


def document(
    outcome: Outcome, version: str, command: Sequence[str], machine: str, surroundings: Section
) -> Section:
    """The whole document; `surroundings` tells of the machine and the versions."""
    began = time.ctime(outcome.began)
    shown = [phase for phase in outcome.phases if phase.access != CHECK]
    test: Section = {
        "TestID": 0,
        "StartTime": began,
        "Parameters": _parameters(outcome),
        "Options": dict(options(outcome)),
        "Results": [_result(phase, outcome) for phase in shown],
        "max": _best(outcome),
    }
    return {
        "Version": version,
        "Began": began,
        "Command line": " ".join(command),
        "Machine": machine,
        "tests": [test],
        "summary": [
            _summary(outcome, access) for access in ("write", "read") if outcome.of(access)
        ],
        "Finished": time.ctime(outcome.ended),
        "benchfs": {
            "benchmark": "ior",
            "failure": outcome.failure or None,
            "errors": outcome.errors,
            "ranks": ranks_detail(outcome.hosts, outcome.processes),
            "removed_s": list(outcome.removed),
            "surroundings": surroundings,
            "phases": [detail(phase) for phase in outcome.phases],
            "failed": None if outcome.failed is None else detail(outcome.failed),
        },
    }


def _parameters(outcome: Outcome) -> Section:
    settings = outcome.settings
    return {
        "testID": 0,
        "refnum": settings.reference,
        "api": outcome.api,
        "platform": "Linux",
        "testFileName": settings.file,
        "deadlineForStonewall": settings.deadline,
        "stoneWallingWearOut": int(settings.wear_out),
        "maxTimeDuration": 0,
        "nodes": len(set(outcome.hosts)),
        "tasksPerNode": outcome.tasks_per_host,
        "repetitions": settings.repetitions,
        "fsync": int(settings.fsync),
        "useExistingTestFile": int(settings.use_existing),
        "uniqueDir": int(settings.unique_directory),
        "readFile": int(settings.reads),
        "writeFile": int(settings.write),
        "filePerProc": int(settings.file_per_process),
        "reorderTasks": int(settings.reorder),
        "reorderTasksRandom": int(settings.reorder_random),
        "reorderTasksRandomSeed": settings.random_seed,
        "randomOffset": int(settings.random_offsets),
        "checkWrite": int(settings.check_write),
        "checkRead": int(settings.check_read),
        "keepFile": int(settings.keep),
        "keepFileWithError": int(settings.keep_with_error),
        "data packet type": settings.packet,
        "setTimeStampSignature/incompressibleSeed": settings.signature or 0,
        "collective": 0,
        "segmentCount": settings.segments,
        "transferSize": settings.transfer,
        "blockSize": settings.block,
    }


def _result(phase: Phase, outcome: Outcome) -> Section:
    return {
        "access": phase.access,
        "bwMiB": phase.mib_s,
        "blockKiB": outcome.settings.block / 1024,
        "xferKiB": outcome.settings.transfer / 1024,
        "iops": phase.operations_s,
        "latency": phase.latency_s,
        "openTime": phase.open_s,
        "wrRdTime": phase.move_s,
        "closeTime": phase.close_s,
        "totalTime": phase.total_s,
    }


def _best(outcome: Outcome) -> Section:
    found: Section = {}
    for access in ("write", "read"):
        if phases := outcome.of(access):
            best = max(phase.mib_s for phase in phases)
            found |= {f"{access}MiB": best, f"{access}MB": best * MIB / 1e6}
    return found


def _summary(outcome: Outcome, access: str) -> Section:
    settings, phases = outcome.settings, outcome.of(access)
    speeds = spread([phase.mib_s for phase in phases])
    rates = spread([phase.transfers / phase.total_s for phase in phases])
    found: Section = {
        "operation": access,
        "API": outcome.api,
        "TestID": 0,
        "ReferenceNumber": settings.reference,
        "segmentCount": settings.segments,
        "blockSize": settings.block,
        "transferSize": settings.transfer,
        "numTasks": len(outcome.hosts),
        "tasksPerNode": outcome.tasks_per_host,
        "repetitions": settings.repetitions,
        "filePerProc": int(settings.file_per_process),
        "reorderTasks": int(settings.reorder),
        "taskPerNodeOffset": settings.task_offset,
        "reorderTasksRandom": int(settings.reorder_random),
        "reorderTasksRandomSeed": settings.random_seed,
    }
    found |= zip(("bwMaxMIB", "bwMinMIB", "bwMeanMIB", "bwStdMIB"), speeds, strict=True)
    found |= zip(("OPsMax", "OPsMin", "OPsMean", "OPsSD"), rates, strict=True)
    found["MeanTime"] = sum(phase.total_s for phase in phases) / len(phases)
    if (wall := phases[0].stonewall) is not None:
        found |= {"StoneWallTime": wall.seconds, "StoneWallbwMeanMIB": wall.mib_s}
    found["xsizeMiB"] = phases[0].bytes / MIB
    return found


def detail(phase: Phase) -> Section:
    """A phase, for reports."""
    return ranks_phase_detail(
        phase,
        name=phase.access,
        unit="MiB/s",
        value=phase.mib_s,
        seconds=phase.total_s,
        timeline=[(at, amount / MIB) for at, amount in phase.timeline.rates()],
    )
