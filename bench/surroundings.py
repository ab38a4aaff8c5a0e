"""Where a run took place: the machine, the versions and the settings that figures depend on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from benchfs.bench.detail import Json

PACKAGES = ("benchfs", "uvloop", "msgpack", "lmdb", "uring-api", "xxhash", "mpi4py")


def machine() -> str:
    """As IOR names it: system and host."""
    return f"{platform.system()} {platform.node()}"


def version() -> str:
    """Of BenchFS."""
    return metadata.version("benchfs")


def surroundings() -> dict[str, Json]:
    """Processor, memory, kernel, versions, and the environment that changes settings."""
    return {
        "host": platform.node(),
        "kernel": platform.release(),
        "processor": _first_field(Path("/proc/cpuinfo"), "model name"),
        "cpus": len(os.sched_getaffinity(0)),
        "memory": _first_field(Path("/proc/meminfo"), "MemTotal"),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith("BENCHFS_") and "SECRET" not in name
        },
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _first_field(path: Path, name: str) -> str | None:
    """The value of a `name : value` line, None if there is no such line."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
