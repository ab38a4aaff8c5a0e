"""This process's UCX context, made at first use and kept, and what its environment asks for."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from typing import Literal, cast, get_args

from benchfs.rpc.transports.ucx import binding
from benchfs.rpc.transports.ucx.binding import Pointer, Ucx, check

# Shared memory is not used by UCX 1.13 on endpoints that handle the peer's failure, and cannot
# fail by itself: who lists it in UCX_TLS (and no RDMA, which can) wants it used.
SHARED_MEMORY = frozenset({"posix", "sysv", "mm", "shm", "sm", "xpmem", "cma", "knem"})
ONE_SIDED = frozenset({"xpmem", "cma", "knem", "sm", "shm"})
NO_FAILURES = frozenset({"tcp", "self"})

PROGRESS_VARIABLE = "BENCHFS_UCX_PROGRESS"
Progress = Literal["adaptive", "events", "poll"]

_contexts: dict[int, Pointer] = {}  # by process: a fork cannot use its parent's


def shares_memory() -> bool:
    """Whether UCX_TLS asks for shared memory and for nothing that can fail by itself."""
    names = _transports()
    return bool(names & SHARED_MEMORY) and names <= SHARED_MEMORY | NO_FAILURES


def reads_memory_of_others() -> bool:
    """Whether UCX_TLS names a way to read another process's memory without its help."""
    return bool(_transports() & ONE_SIDED)


def _transports() -> frozenset[str]:
    return frozenset(filter(None, os.environ.get("UCX_TLS", "").split(",")))


def progress_setting() -> Progress:
    """How workers progress, by default adaptive. Raises OSError for another word."""
    setting = os.environ.get(PROGRESS_VARIABLE, "adaptive")
    if setting not in get_args(Progress):
        known = ", ".join(get_args(Progress))
        raise OSError(errno.EINVAL, f"{PROGRESS_VARIABLE} is one of {known}, not {setting!r}")
    return cast(Progress, setting)


def context(ucx: Ucx) -> Pointer:
    """This process's context, made once: it opens the devices."""
    found = _contexts.get(os.getpid())
    if found is None:
        found = _contexts[os.getpid()] = _new_context(ucx)
    return found


def _new_context(ucx: Ucx) -> Pointer:
    parameters = ucx.ffi.new("ucp_params_t *")
    parameters.field_mask = 1  # features
    parameters.features = binding.FEATURE_AM | binding.FEATURE_WAKEUP
    place = ucx.ffi.new("void **")
    check(ucx.lib.ucp_config_read(ucx.ffi.NULL, ucx.ffi.NULL, place))
    config = place[0]
    try:
        # Messages name endpoints by a number that is looked up; without error handling it would be
        # an address in this process, which UCX would believe.
        check(ucx.lib.ucp_config_modify(config, b"PROTO_INDIRECT_ID", b"on"))
        # An assertion in UCX's own signs of life ended the process once (openucx/ucx#11217); the
        # lifeline and PING tell of peers that are gone.
        check(ucx.lib.ucp_config_modify(config, b"KEEPALIVE_INTERVAL", b"inf"))
        check(ucx.lib.ucp_init_version(*binding.OLDEST, parameters, config, place))
    finally:
        ucx.lib.ucp_config_release(config)
    return place[0]


def resources() -> list[str]:
    """What UCX may use here: transport and device each. Raises OSError."""
    ucx = binding.load()
    text = printed(ucx, ucx.lib.ucp_context_print_info, context(ucx))
    found = re.findall(r"resource \d+ .* -- (\S+)", text)
    return [name for name in found if not name.startswith("self/")]


def printed(ucx: Ucx, function: Callable[[Pointer, Pointer], None], subject: Pointer) -> str:
    """What a function of UCX prints into a C stream."""
    ffi, libc = ucx.ffi, ucx.libc
    text, size = ffi.new("char **"), ffi.new("size_t *")
    stream = libc.open_memstream(text, size)
    if stream == ffi.NULL:
        raise MemoryError
    function(subject, stream)
    libc.fclose(stream)
    try:
        return bytes(ffi.buffer(text[0], size[0])).decode(errors="replace")
    finally:
        libc.free(text[0])
