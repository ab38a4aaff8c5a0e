"""HELLO: version negotiation, mutual proof of the cluster secret, who calls. No socket, no clock.

HMAC-SHA256 challenge, both ways: each side proves that it knows the secret for the other's
fresh nonce and its own, the role letter in front keeps one side's proof from being played
back as the other's. The server proves first and says nothing about the cluster before the
client has proved too. All comparisons take constant time.
"""

from __future__ import annotations

import hmac

from benchfs.rpc.calls import Caller
from benchfs.rpc.errors import HandshakeError
from benchfs.rpc.messages import Hello, HelloReply, Prove
from benchfs.rpc.transports.base import Peer

VERSION_LEAST = 1
VERSION_GREATEST = 1
NONCE_BYTES = 32
CLIENT_ID_BYTES = 16
PURPOSES = frozenset({"calls", "bulk", "descriptors"})
ROLES = frozenset({"client", "node"})


def proof(role: bytes, secret: bytes, client_nonce: bytes, server_nonce: bytes) -> bytes:
    """HMAC-SHA256 of both nonces under the secret; `role` is b"C" or b"S"."""
    return hmac.digest(secret, b"benchfs-1" + role + client_nonce + server_nonce, "sha256")


class ClientHandshake:
    """The client's side: `hello()`, then `prove()` with the server's answer."""

    def __init__(self, secret: bytes, client_id: bytes, role: str, nonce: bytes) -> None:
        self._secret = secret
        self._hello = Hello(VERSION_LEAST, VERSION_GREATEST, client_id, role, nonce, ())

    def hello(self) -> Hello:
        """The first message."""
        return self._hello

    def prove(
        self,
        reply: HelloReply,
        purpose: str,
        uid: int,
        gid: int,
        groups: tuple[int, ...] = (),
    ) -> Prove:
        """The second message. Raises HandshakeError if the server did not prove the secret."""
        if not VERSION_LEAST <= reply.version <= VERSION_GREATEST:
            raise HandshakeError(
                f"the server chose protocol version {reply.version}, this side speaks "
                f"{VERSION_LEAST} to {VERSION_GREATEST}"
            )
        expected = proof(b"S", self._secret, self._hello.nonce, reply.nonce)
        if not hmac.compare_digest(expected, reply.proof):
            raise HandshakeError("the server does not know this cluster's secret")
        mine = proof(b"C", self._secret, self._hello.nonce, reply.nonce)
        return Prove(mine, purpose, uid, gid, groups)


class ServerHandshake:
    """The server's side: `answer()` a Hello, then `check()` the Prove."""

    def __init__(self, secret: bytes, nonce: bytes) -> None:
        self._secret = secret
        self._nonce = nonce
        self.hello: Hello | None = None

    def answer(self, hello: Hello) -> HelloReply:
        """Choose the version and prove. Raises HandshakeError naming both sides' versions."""
        version = min(hello.version_greatest, VERSION_GREATEST)
        if version < max(hello.version_least, VERSION_LEAST):
            raise HandshakeError(
                f"protocol versions do not overlap: the client speaks {hello.version_least} to "
                f"{hello.version_greatest}, this node speaks {VERSION_LEAST} to {VERSION_GREATEST}"
            )
        if (
            self.hello is not None
            or len(hello.nonce) != NONCE_BYTES
            or len(hello.client_id) != CLIENT_ID_BYTES
            or hello.role not in ROLES
        ):
            raise HandshakeError("the HELLO is malformed or came twice")
        self.hello = hello
        return HelloReply(version, self._nonce, proof(b"S", self._secret, hello.nonce, self._nonce))

    def check(self, prove: Prove) -> Hello:
        """The Hello that is now trusted. Raises HandshakeError."""
        if self.hello is None:
            raise HandshakeError("the proof came before HELLO")
        expected = proof(b"C", self._secret, self.hello.nonce, self._nonce)
        if not hmac.compare_digest(expected, prove.proof):
            raise HandshakeError("the client does not know this cluster's secret")
        if prove.purpose not in PURPOSES:
            raise HandshakeError("unknown purpose of the connection")
        return self.hello


def caller_of(hello: Hello, prove: Prove, peer: Peer, *, own_uid: int) -> Caller:
    """Who calls, once the proof was right. HandshakeError for a node that is none.

    Over TCP a client is who it says. Where the kernel knows who connected, its word counts; only
    root may act for others there, as a mount does, and only root and `own_uid` may be a node.
    """
    if hello.role == "node" and peer.uid not in {None, 0, own_uid}:
        raise HandshakeError("a node runs as the same user as the others")
    if peer.uid and peer.gid is not None:
        who = (peer.uid, peer.gid, peer.groups)
    else:
        who = (prove.uid, prove.gid, prove.groups)
    return Caller(hello.client_id, hello.role, prove.purpose, *who)
