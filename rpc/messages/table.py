"""The table of all operations, put together from their subjects."""

from __future__ import annotations

from benchfs.rpc.messages import (
    changes,
    checking,
    chunks,
    cluster,
    directories,
    handshake,
    inodes,
    loans,
    locks,
    names,
    opens,
    quotas,
    xattrs,
)
from benchfs.rpc.messages.envelope import Operation

_SUBJECTS = (
    handshake,
    cluster,
    inodes,
    names,
    directories,
    xattrs,
    opens,
    locks,
    changes,
    quotas,
    chunks,
    loans,
    checking,
)

OPERATIONS: dict[int, Operation] = {
    int(row.op): row for subject in _SUBJECTS for row in subject.OPERATIONS
}
BY_REQUEST: dict[type, Operation] = {row.request: row for row in OPERATIONS.values()}
