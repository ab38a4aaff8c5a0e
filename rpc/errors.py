"""Errors of the RPC layer, which knows nothing of files.

    RpcError
    ├── ProtocolError        the peer broke the protocol: the connection ends with GOODBYE
    ├── LocalProtocolError   this side asked for something the protocol forbids
    ├── HandshakeError       versions do not overlap, or the cluster secret was not proved
    ├── ConnectionLostError  the connection ended while the call was in flight (maybe executed)
    │   └── TurnedAwayError  it was accepted, and ended before the handshake: the peer is crowded
    ├── CallTimeoutError     the call's deadline passed without a reply (maybe executed)
    └── RemoteError          the peer answered with an ERROR frame: code, text, path, node, detail

`benchfs.errors` turns all of these into the OSError subclasses that users see.
"""

from __future__ import annotations


class RpcError(Exception):
    """Anything that went wrong between two peers."""


class ProtocolError(RpcError):
    """The peer sent something that the protocol does not allow."""


class LocalProtocolError(RpcError):
    """This side tried to send something that the protocol does not allow."""


class HandshakeError(RpcError):
    """The two peers cannot work together: `reason` is for people, `retry` tells if it may pass."""

    def __init__(self, reason: str, *, retry: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry = retry


class ConnectionLostError(RpcError):
    """No connection, or it ended. `sent` tells whether the peer may have executed the call."""

    def __init__(self, reason: str, *, sent: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent


class TurnedAwayError(ConnectionLostError):
    """The peer accepted the connection and ended it within the handshake, without a reason.

    That is what it does when too many shake hands at once: it may pass.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason, sent=False)


class CallTimeoutError(RpcError):
    """The deadline passed. The peer may or may not have executed the call."""


class RemoteError(RpcError):
    """The peer's ERROR frame: an errno-like `code`, and a `detail` that some codes carry."""

    def __init__(
        self, code: int, text: str, path: bytes = b"", node: str = "", detail: bytes = b""
    ) -> None:
        super().__init__(code, text, path, node)
        self.code = code
        self.text = text
        self.path = path
        self.node = node
        self.detail = detail

    def __str__(self) -> str:
        where = f" on {self.node}" if self.node else ""
        return f"error {self.code}{where}: {self.text}"
