"""The errors that users of BenchFS see: one tree, every leaf an OSError with an errno.

    OSError
    └── BenchFSError              any errno that has no class of its own below
        ├── NotFoundError         ENOENT, also FileNotFoundError
        ├── ExistsError           EEXIST, also FileExistsError
        ├── NotDirectoryError     ENOTDIR, also NotADirectoryError
        ├── IsDirectoryError      EISDIR, also IsADirectoryError
        ├── PermissionDeniedError EACCES and EPERM, also PermissionError
        ├── NotEmptyError         ENOTEMPTY
        ├── NoSpaceError          ENOSPC and EDQUOT
        ├── WouldBlockError       EAGAIN, also BlockingIOError: somebody else has locked it
        ├── StaleHandleError      ESTALE: the file behind an open handle is gone
        ├── IntegrityError        EIO: bytes failed their check (EBADMSG between peers)
        ├── TransportError        EPROTO: a peer broke the protocol, or gave no usable answer
        │   ├── UnreachableError  ECONNREFUSED and its kin, also ConnectionError
        │   └── DeadlineError     ETIMEDOUT, also TimeoutError: it may or may not be done
        └── ClusterError          the cluster as such, not one file
            ├── NoClusterError        ENODEV: nothing answers at that address or name
            ├── AuthenticationError   EKEYREJECTED: the cluster secret was not accepted
            └── VersionMismatchError  EPROTONOSUPPORT: no protocol version in common

Every error names the operation, and the path and the node where there is one. This module
makes errors; it neither logs nor retries.
"""

from __future__ import annotations

import errno as errnos
import os
from typing import ClassVar

from benchfs.rpc.errors import (
    CallTimeoutError,
    ConnectionLostError,
    HandshakeError,
    RemoteError,
    RpcError,
)
from benchfs.rpc.messages import Code

ErrorPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]


class BenchFSError(OSError):
    """An operation failed. `errno`, `strerror` and `filename` are as in any OSError.

    `operation` is the verb ("open", "rename"), `filename` the path as the user gave it (bytes
    that are no UTF-8 as surrogate escapes) or None, `node` the id of the node that failed or
    None, `text` what more is known, perhaps empty.
    """

    REASON: ClassVar[str | None] = None
    """What `strerror` says instead of the C library's words for the errno."""

    operation: str
    node: str | None
    text: str

    def __init__(
        self,
        code: int,
        operation: str,
        path: ErrorPath | None = None,
        node: str | None = None,
        text: str = "",
    ) -> None:
        super().__init__(code, self.REASON or os.strerror(code))
        self.filename = None if path is None else _path_text(path)
        self.operation = operation
        self.node = node or None
        self.text = text

    def __str__(self) -> str:
        """`open /a/b on node-1: No such file or directory (text)`, always printable."""
        path = "" if self.filename is None else f" {_printable(self.filename)}"
        node = "" if self.node is None else f" on {self.node}"
        text = f" ({self.text})" if self.text else ""
        return f"{self.operation}{path}{node}: {self.strerror}{text}"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickling and copying rebuild the error from the arguments of its constructor."""
        arguments = (self.errno, self.operation, self.filename, self.node, self.text)
        return (type(self), arguments, self.__dict__)


class NotFoundError(BenchFSError, FileNotFoundError):
    """No such file or directory."""


class ExistsError(BenchFSError, FileExistsError):
    """The name is taken."""


class NotDirectoryError(BenchFSError, NotADirectoryError):
    """A directory was needed, and this is none."""


class IsDirectoryError(BenchFSError, IsADirectoryError):
    """A file was needed, and this is a directory."""


class PermissionDeniedError(BenchFSError, PermissionError):
    """Owner, group and mode do not allow it, or the operation is not permitted at all."""


class NotEmptyError(BenchFSError):
    """The directory has entries."""


class NoSpaceError(BenchFSError):
    """A node's disk is full, to its reserve."""


class WouldBlockError(BenchFSError, BlockingIOError):
    """Somebody else has locked it."""


class StaleHandleError(BenchFSError):
    """What the handle stood for exists no longer."""


class IntegrityError(BenchFSError):
    """Bytes do not match their check. They are never handed out."""

    REASON = "Data failed its check"


class TransportError(BenchFSError):
    """A node gave no usable answer. Whether the operation was executed is not known."""


class UnreachableError(TransportError, ConnectionError):
    """No connection to the node, or it was lost."""


class DeadlineError(TransportError, TimeoutError):
    """No answer before the deadline."""


class ClusterError(BenchFSError):
    """The cluster as a whole cannot be used."""


class NoClusterError(ClusterError):
    """Nothing answers at the address, or no instance has the name."""

    REASON = "No such cluster"


class AuthenticationError(ClusterError):
    """One side could not prove that it knows the cluster secret."""

    REASON = "Cluster secret not accepted"


class VersionMismatchError(ClusterError):
    """Client and node have no protocol version in common."""

    REASON = "Protocol versions do not match"


_CLASSES: dict[int, type[BenchFSError]] = {
    errnos.ENOENT: NotFoundError,
    errnos.EEXIST: ExistsError,
    errnos.ENOTDIR: NotDirectoryError,
    errnos.EISDIR: IsDirectoryError,
    errnos.EACCES: PermissionDeniedError,
    errnos.EPERM: PermissionDeniedError,
    errnos.ENOTEMPTY: NotEmptyError,
    errnos.ENOSPC: NoSpaceError,
    errnos.EDQUOT: NoSpaceError,
    errnos.EAGAIN: WouldBlockError,
    errnos.ESTALE: StaleHandleError,
    errnos.EBADMSG: IntegrityError,
    errnos.EPROTO: TransportError,
    errnos.ECONNREFUSED: UnreachableError,
    errnos.ECONNRESET: UnreachableError,
    errnos.ECONNABORTED: UnreachableError,
    errnos.ENOTCONN: UnreachableError,
    errnos.EPIPE: UnreachableError,
    errnos.EHOSTDOWN: UnreachableError,
    errnos.EHOSTUNREACH: UnreachableError,
    errnos.ENETDOWN: UnreachableError,
    errnos.ENETUNREACH: UnreachableError,
    errnos.ETIMEDOUT: DeadlineError,
    errnos.ENODEV: NoClusterError,
    errnos.EKEYREJECTED: AuthenticationError,
    errnos.EPROTONOSUPPORT: VersionMismatchError,
}

_FIRST_CODE = min(Code)  # less than this are errnos


def error(
    code: int,
    operation: str,
    path: ErrorPath | None = None,
    node: str | None = None,
    text: str = "",
) -> BenchFSError:
    """The error for the errno `code`, in the class that the tree above gives it.

    EBADMSG is how a node says that stored bytes failed their check: users see EIO.
    """
    kind = _CLASSES.get(code, BenchFSError)
    if kind is IntegrityError:
        code = errnos.EIO
    return kind(code, operation, path, node, text)


def from_rpc(
    failure: RpcError, operation: str, path: ErrorPath | None = None, node: str | None = None
) -> BenchFSError:
    """What users see of a failed call. `path` and `node` are those the caller knows.

    Codes that a client answers by itself (stale epochs, a node that is not ready) come here
    only when it gave up: they are TransportErrors then.
    """
    if isinstance(failure, RemoteError):
        return _from_remote(failure, operation, path, node)
    text = str(failure)
    if isinstance(failure, CallTimeoutError):
        return DeadlineError(errnos.ETIMEDOUT, operation, path, node, text)
    if isinstance(failure, ConnectionLostError):
        return UnreachableError(errnos.ENOTCONN, operation, path, node, text)
    if isinstance(failure, HandshakeError):
        return ClusterError(errnos.EPROTO, operation, path, node, text)
    return TransportError(errnos.EPROTO, operation, path, node, text)


def _from_remote(
    failure: RemoteError, operation: str, path: ErrorPath | None, node: str | None
) -> BenchFSError:
    path = failure.path or None if path is None else path
    node = failure.node or node
    if failure.code < _FIRST_CODE:
        return error(failure.code, operation, path, node, failure.text)
    if failure.code == Code.UNAVAILABLE:
        return UnreachableError(errnos.EHOSTUNREACH, operation, path, node, failure.text)
    text = failure.text or f"code {failure.code}"
    return TransportError(errnos.EPROTO, operation, path, node, text)


def _path_text(path: ErrorPath) -> str:
    plain = os.fspath(path)
    return plain if isinstance(plain, str) else plain.decode("utf-8", "surrogateescape")


def _printable(text: str) -> str:
    """Escapes for what a terminal or a log could not take: control characters, surrogates."""
    return text if text.isprintable() else repr(text)[1:-1]
