"""What a recorded run says of its machine: enough to judge figures, nothing that names it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from benchfs.bench.peers.record import Machine
from benchfs.bench.surroundings import surroundings

GIB = 1 << 30
VIRTUAL = "hypervisor"  # among the processor's flags


def machine(directory: Path) -> Machine:
    """This one; `directory` is on the disk that is measured."""
    found = surroundings()
    series = re.match(r"\d+\.\d+", str(found["kernel"]))
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    return Machine(
        str(found["processor"] or "unknown processor"),
        len(os.sched_getaffinity(0)),
        round(pages / GIB),
        f"Linux {series[0]}" if series else "Linux",
        file_system(directory),
        re.search(rf"^flags.*\b{VIRTUAL}\b", cpuinfo, re.MULTILINE) is not None,
    )


def file_system(directory: Path) -> str:
    """The type of the mount that a directory is in."""
    best, kind = "", "unknown"
    place = str(directory.resolve())
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, point, found, *_ = line.split(" ")
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind
