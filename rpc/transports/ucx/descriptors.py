"""Whether a connection's descriptors can be had: UCX ends the process when it gets no socket.

(UCX 1.13: an assertion in tcp_ep.c.) The limit is the process's, so what is under way is counted
for the whole process.
"""

from __future__ import annotations

import errno
import resource
from pathlib import Path

# One end of a connection has six over two network devices: its lifeline and what UCX opens.
OF_A_CONNECTION = 8
# Of a worker with its listener, and for what else the process opens meanwhile.
SPARE = 64

_OPEN = Path("/proc/self/fd")
_ends_under_way = 0


def reserve() -> None:
    """One more end of a connection is made. Raises OSError (EMFILE). Pair with `release`."""
    global _ends_under_way  # noqa: PLW0603 (the limit is the process's)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Since Linux 6.2 the size of the directory is how many there are.
    used = _OPEN.stat().st_size or sum(1 for _ in _OPEN.iterdir())
    needed = SPARE + (_ends_under_way + 1) * OF_A_CONNECTION
    if limit != resource.RLIM_INFINITY and used + needed > limit:
        raise OSError(
            errno.EMFILE,
            f"too few descriptors are left for a connection by UCX, {used} of {limit} are open: "
            "raise the limit (ulimit -n)",
        )
    _ends_under_way += 1


def release() -> None:
    """The end is made, or given up."""
    global _ends_under_way  # noqa: PLW0603
    _ends_under_way -= 1
