"""Checks of this host: kernel, io_uring, limits, FUSE, UCX and RDMA devices.

Each check gets what was found as arguments, so its verdict can be tested with any findings;
`check_host` finds it out. Nothing here needs a cluster, an optional package or a privilege.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import resource
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchfs.diagnosis.check import Check, ok, problem, warning
from benchfs.rpc import ring

# pidfd_open, by which daemons that were started are waited for.
LEAST_KERNEL = (5, 3)
# A daemon keeps up to 512 chunk files open, and a client takes up to three connections to it.
NEEDED_FILES = 1024
LEAST_FILES = 640
FUSE_DEVICE = Path("/dev/fuse")
RDMA_DEVICES = Path("/sys/class/infiniband")
UCX_LIBRARY = "libucp.so.0"
OLDEST_UCX = (1, 13)

Version = tuple[int, int, int]


def check_host() -> list[Check]:
    """All checks of this host."""
    ucx = ucx_version()
    devices = rdma_devices()
    return [
        kernel(os.uname().release),
        io_uring(ring.probe, ring_features),
        open_files(*resource.getrlimit(resource.RLIMIT_NOFILE)),
        locked_memory(resource.getrlimit(resource.RLIMIT_MEMLOCK)[0], has_rdma=bool(devices)),
        fuse(
            device=FUSE_DEVICE.exists(),
            allowed=os.access(FUSE_DEVICE, os.R_OK | os.W_OK),
            fusermount=shutil.which("fusermount3"),
            package=importlib.util.find_spec("pyfuse3") is not None,
        ),
        ucx_library(ucx),
        rdma(devices, has_ucx=ucx is not None),
    ]


# ---------------------------------------------------------------- kernel


def kernel(release: str) -> Check:
    """The kernel's release."""
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if numbers is None or tuple(map(int, numbers.groups())) < LEAST_KERNEL:
        needed = ".".join(map(str, LEAST_KERNEL))
        return problem("kernel", f"Linux {release}", f"use Linux {needed} or newer")
    return ok("kernel", f"Linux {release}")


def io_uring(probe: Callable[[], None], features: Callable[[], Mapping[str, bool]]) -> Check:
    """Whether the engine `uring` can be used, and what the kernel's io_uring can do."""
    try:
        probe()
    except ring.RingUnavailableError as exc:
        return warning("io_uring", str(exc), f"{_way_out(str(exc))}; sockets serve meanwhile")
    found = features()
    lacking = sorted(name for name, there in found.items() if not there)
    seen = f"allowed, with {len(found) - len(lacking)} of {len(found)} features"
    return ok("io_uring", seen + (f"; not {', '.join(lacking)}" if lacking else ""))


def ring_features() -> Mapping[str, bool]:
    """What the kernel's io_uring can do, by name. The package must be there."""
    import uring_api  # noqa: PLC0415 (an optional package)

    return {name: there for name, there in uring_api.probe().items() if name != "available"}


def _way_out(reason: str) -> str:
    if "uring-api" in reason:
        return "pip install 'benchfs[uring]'"
    if "sysctl" in reason:
        return "sysctl kernel.io_uring_disabled=0"
    if "seccomp" in reason:
        return "run the container with a seccomp profile that allows io_uring_setup"
    return "use Linux 5.19 or newer"


# ---------------------------------------------------------------- limits


def open_files(soft: int, hard: int) -> Check:
    """RLIMIT_NOFILE."""
    name = "open files"
    seen = f"{_limit(soft)} (at most {_limit(hard)})"
    if soft != resource.RLIM_INFINITY and soft < NEEDED_FILES:
        advice = f"ulimit -n {NEEDED_FILES} or more before daemons are started"
        return (problem if soft < LEAST_FILES else warning)(name, seen, advice)
    return ok(name, seen)


def locked_memory(soft: int, *, has_rdma: bool) -> Check:
    """RLIMIT_MEMLOCK: memory that RDMA devices are given counts; io_uring's does not."""
    name = "locked memory"
    seen = _limit(soft) if soft == resource.RLIM_INFINITY else f"{soft >> 10} KiB"
    if has_rdma and soft != resource.RLIM_INFINITY:
        return warning(name, seen, "ulimit -l unlimited: RDMA needs its buffers locked")
    return ok(name, seen)


def _limit(value: int) -> str:
    return "unlimited" if value == resource.RLIM_INFINITY else str(value)


# ---------------------------------------------------------------- mounting


def fuse(*, device: bool, allowed: bool, fusermount: str | None, package: bool) -> Check:
    """What a mount needs: the device, a way to mount without being root, and pyfuse3."""
    lacking, advice = [], []
    if not device:
        lacking.append(f"no {FUSE_DEVICE}")
        advice.append("modprobe fuse (containers: --device /dev/fuse)")
    elif not allowed:
        lacking.append(f"no right to use {FUSE_DEVICE}")
        advice.append(f"chmod 666 {FUSE_DEVICE}")
    if fusermount is None:
        lacking.append("no fusermount3")
        advice.append("apt-get install fuse3")
    if not package:
        lacking.append("no Python package pyfuse3")
        advice.append("pip install 'benchfs[fuse]'")
    if lacking:
        return warning("FUSE", "; ".join(lacking), f"to mount: {', '.join(advice)}")
    return ok("FUSE", f"{FUSE_DEVICE}, {fusermount} and pyfuse3 are there")


# ---------------------------------------------------------------- UCX, RDMA


def ucx_version(library: str = UCX_LIBRARY) -> Version | None:
    """The version of the system's UCX library, or None where there is none that works."""
    try:
        get = ctypes.CDLL(library).ucp_get_version
    except (OSError, AttributeError):
        return None
    numbers = [ctypes.c_uint() for _ in range(3)]
    get.argtypes = [ctypes.POINTER(ctypes.c_uint)] * 3
    get.restype = None
    get(*map(ctypes.byref, numbers))
    major, minor, release = (number.value for number in numbers)
    return major, minor, release


def ucx_library(version: Version | None) -> Check:
    """Whether UCX is installed."""
    if version is None:
        return ok("UCX", f"no {UCX_LIBRARY}", "only RDMA needs it: apt-get install libucx0")
    seen = "version " + ".".join(map(str, version))
    if version < OLDEST_UCX:
        oldest = ".".join(map(str, OLDEST_UCX))
        return warning("UCX", seen, f'transport = "ucx" needs {oldest} or newer: see docs/UCX.md')
    return ok("UCX", seen)


def rdma_devices(place: Path = RDMA_DEVICES) -> list[str]:
    """The names of this host's RDMA devices."""
    return sorted(entry.name for entry in place.iterdir()) if place.is_dir() else []


def rdma(devices: Sequence[str], *, has_ucx: bool) -> Check:
    """RDMA devices, which are used through UCX."""
    if not devices:
        return ok("RDMA devices", "none")
    seen = ", ".join(devices)
    if not has_ucx:
        advice = "apt-get install libucx0: without UCX they are not used"
        return warning("RDMA devices", seen, advice)
    return ok("RDMA devices", seen)
