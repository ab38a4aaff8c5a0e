"""Errors: the builtin classes that users catch, and messages that say what happened where."""

import copy
import errno
import pickle
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchfs import errors
from benchfs.errors import BenchFSError, error, from_rpc
from benchfs.rpc.errors import (
    CallTimeoutError,
    ConnectionLostError,
    HandshakeError,
    ProtocolError,
    RemoteError,
    RpcError,
)
from benchfs.rpc.messages import Code

LEAVES = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, BenchFSError)
]


@pytest.mark.parametrize(
    ("code", "builtin"),
    [
        (errno.ENOENT, FileNotFoundError),
        (errno.EEXIST, FileExistsError),
        (errno.ENOTDIR, NotADirectoryError),
        (errno.EISDIR, IsADirectoryError),
        (errno.EACCES, PermissionError),
        (errno.EPERM, PermissionError),
        (errno.ETIMEDOUT, TimeoutError),
        (errno.ECONNREFUSED, ConnectionError),
        (errno.ECONNRESET, ConnectionError),
        (errno.EHOSTUNREACH, ConnectionError),
    ],
)
def test_users_catch_the_builtin_class(code: int, builtin: type[OSError]) -> None:
    with pytest.raises(builtin) as caught:
        raise error(code, "open", "/a")

    assert isinstance(caught.value, BenchFSError)
    assert caught.value.errno == code


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOTEMPTY, errors.NotEmptyError),
        (errno.ENOSPC, errors.NoSpaceError),
        (errno.EDQUOT, errors.NoSpaceError),
        (errno.EAGAIN, errors.WouldBlockError),
        (errno.ESTALE, errors.StaleHandleError),
        (errno.EPROTO, errors.TransportError),
        (errno.ETIMEDOUT, errors.DeadlineError),
        (errno.EPIPE, errors.UnreachableError),
        (errno.ENODEV, errors.NoClusterError),
        (errno.EKEYREJECTED, errors.AuthenticationError),
        (errno.EPROTONOSUPPORT, errors.VersionMismatchError),
        (errno.EIO, BenchFSError),
        (errno.EINVAL, BenchFSError),
        (12345, BenchFSError),
    ],
)
def test_the_errno_decides_the_class(code: int, kind: type[BenchFSError]) -> None:
    assert type(error(code, "open")) is kind


def test_a_failed_check_is_an_input_output_error() -> None:
    problem = error(errno.EBADMSG, "read", "/a", "node-2")

    assert isinstance(problem, errors.IntegrityError)
    assert problem.errno == errno.EIO


def test_a_deadline_is_no_lost_connection() -> None:
    """Who catches ConnectionError to reconnect must not take a slow node for a lost one."""
    assert not issubclass(errors.DeadlineError, ConnectionError)
    assert issubclass(errors.DeadlineError, errors.TransportError)
    assert issubclass(errors.UnreachableError, errors.TransportError)


def test_the_message_names_operation_path_node_and_more() -> None:
    problem = error(errno.ENOENT, "open", "/a/b", "node-1", "it was there yesterday")

    assert str(problem) == (
        "open /a/b on node-1: No such file or directory (it was there yesterday)"
    )


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (error(errno.ENOENT, "open"), "open: No such file or directory"),
        (error(errno.ENOENT, "open", "/a"), "open /a: No such file or directory"),
        (error(errno.EIO, "sync", node="n1"), "sync on n1: Input/output error"),
        (error(errno.EIO, "sync", node=""), "sync: Input/output error"),
        (error(errno.EBADMSG, "read", "/a"), "read /a: Data failed its check"),
        (error(errno.ENODEV, "connect", text="x"), "connect: No such cluster (x)"),
        (error(errno.ENOENT, "open", PurePosixPath("/p")), "open /p: No such file or directory"),
        (error(errno.ENOENT, "open", "/ä"), "open /ä: No such file or directory"),
        (error(errno.ENOENT, "open", b"/\xff"), r"open /\udcff: No such file or directory"),
        (error(errno.ENOENT, "open", "/a\nb"), r"open /a\nb: No such file or directory"),
    ],
)
def test_messages_leave_out_what_is_not_known(problem: BenchFSError, message: str) -> None:
    assert str(problem) == message


@given(st.binary(max_size=30))
def test_any_path_can_be_printed_and_is_kept(path: bytes) -> None:
    problem = error(errno.EIO, "read", path)

    str(problem).encode("utf-8")
    assert problem.filename.encode("utf-8", "surrogateescape") == path


@pytest.mark.parametrize("kind", LEAVES)
@pytest.mark.parametrize("via", [lambda it: pickle.loads(pickle.dumps(it)), copy.copy])
def test_errors_survive_pickling(kind: type[BenchFSError], via: type) -> None:
    problem = kind(errno.EIO, "write", b"/\xff", "node-3", "more")
    problem.add_note("a note")

    again = via(problem)

    assert type(again) is kind
    assert str(again) == str(problem)
    assert (again.errno, again.filename, again.operation, again.node, again.text) == (
        errno.EIO,
        "/\udcff",
        "write",
        "node-3",
        "more",
    )
    assert again.__notes__ == ["a note"]


@pytest.mark.parametrize(
    ("failure", "kind", "message"),
    [
        (
            CallTimeoutError("2 s passed"),
            errors.DeadlineError,
            "stat /a on n1: Connection timed out (2 s passed)",
        ),
        (
            ConnectionLostError("reset"),
            errors.UnreachableError,
            "stat /a on n1: Transport endpoint is not connected (reset)",
        ),
        (HandshakeError("no"), errors.ClusterError, "stat /a on n1: Protocol error (no)"),
        (ProtocolError("bad"), errors.TransportError, "stat /a on n1: Protocol error (bad)"),
        (
            RemoteError(errno.ENOENT, ""),
            errors.NotFoundError,
            "stat /a on n1: No such file or directory",
        ),
        (
            RemoteError(errno.ENOSPC, "full", b"", "n2"),
            errors.NoSpaceError,
            "stat /a on n2: No space left on device (full)",
        ),
        (
            RemoteError(Code.UNAVAILABLE, "n3 is away"),
            errors.UnreachableError,
            "stat /a on n1: No route to host (n3 is away)",
        ),
        (
            RemoteError(Code.STALE_EPOCH, ""),
            errors.TransportError,
            "stat /a on n1: Protocol error (code 1001)",
        ),
    ],
)
def test_failed_calls_become_errors_of_the_tree(
    failure: RpcError, kind: type[BenchFSError], message: str
) -> None:
    problem = from_rpc(failure, "stat", "/a", "n1")

    assert type(problem) is kind
    assert str(problem) == message


def test_a_failed_call_has_the_path_that_the_peer_named() -> None:
    assert from_rpc(RemoteError(errno.EIO, "", b"/x"), "sync").filename == "/x"
    assert from_rpc(RemoteError(errno.EIO, ""), "sync").filename is None
