"""The first frames of a connection: who speaks, which versions, and who knows the secret.

How the proofs are made is in `benchfs.rpc.handshake`.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from benchfs.rpc.messages.envelope import Operation
from benchfs.rpc.messages.numbers import Op
from benchfs.rpc.schema import U16, U32, U64, Limit, Text, Token


class Hello(NamedTuple):
    """First frame of a connection: who speaks which versions, and a challenge."""

    version_least: U16
    version_greatest: U16
    client_id: Token  # 16 random bytes: the session, the same over reconnects
    role: Text  # "client" or "node"
    nonce: Token  # 32 random bytes
    features: Annotated[tuple[Text, ...], Limit(32)]


class HelloReply(NamedTuple):
    """The server's version, its challenge, and the proof that it knows the secret."""

    version: U16
    nonce: Token
    proof: Token


class Prove(NamedTuple):
    """The client's proof, and what it wants this connection for."""

    proof: Token
    purpose: Text  # "calls", "bulk" or "descriptors"
    uid: U32  # whom the client acts for; on a unix socket only root is asked
    gid: U32
    groups: Annotated[tuple[U32, ...], Limit(256)] = ()  # supplementary groups


class Welcome(NamedTuple):
    """Answer to the right proof; nothing about the cluster is said before it."""

    node_id: Text
    cluster_id: Text
    incarnation: U64
    map_version: U64
    credits: U32  # calls in flight that this connection allows
    host: Text
    unix_path: Text  # the node's unix socket, for clients on its host; may be empty
    features: Annotated[tuple[Text, ...], Limit(32)]


OPERATIONS = (
    Operation(Op.HELLO, Hello, HelloReply, False),
    Operation(Op.PROVE, Prove, Welcome, False),
)
