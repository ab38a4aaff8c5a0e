"""HELLO without a socket: both sides prove the secret, and versions must overlap."""

import hashlib
import hmac

import pytest

from benchfs.rpc import handshake
from benchfs.rpc.errors import HandshakeError
from benchfs.rpc.handshake import ClientHandshake, ServerHandshake, caller_of, proof
from benchfs.rpc.messages import Prove
from benchfs.rpc.transports.base import Peer

SECRET = b"the secret of the cluster"
CLIENT_NONCE = bytes(range(32))
SERVER_NONCE = bytes(range(32, 64))
CLIENT_ID = b"0123456789abcdef"


def client(secret: bytes = SECRET, **changes: bytes | str) -> ClientHandshake:
    client_id = changes.get("client_id", CLIENT_ID)
    nonce = changes.get("nonce", CLIENT_NONCE)
    role = changes.get("role", "client")
    assert isinstance(client_id, bytes)
    assert isinstance(nonce, bytes)
    assert isinstance(role, str)
    return ClientHandshake(secret, client_id, role, nonce)


def server(secret: bytes = SECRET) -> ServerHandshake:
    return ServerHandshake(secret, SERVER_NONCE)


def test_both_sides_with_the_same_secret_agree() -> None:
    ours, theirs = client(), server()

    reply = theirs.answer(ours.hello())
    trusted = theirs.check(ours.prove(reply, "calls", 1000, 100))

    assert reply.version == 1
    assert trusted == ours.hello()


def test_the_proof_is_the_documented_hmac() -> None:
    expected = hmac.new(
        SECRET, b"benchfs-1" + b"C" + CLIENT_NONCE + SERVER_NONCE, hashlib.sha256
    ).digest()

    assert proof(b"C", SECRET, CLIENT_NONCE, SERVER_NONCE) == expected


def test_a_client_gives_no_proof_to_a_server_without_the_secret() -> None:
    ours = client()
    reply = server(b"another").answer(ours.hello())

    with pytest.raises(HandshakeError, match="server does not know"):
        ours.prove(reply, "calls", 0, 0)


def test_a_server_refuses_a_client_without_the_secret() -> None:
    theirs, liar = server(), client(b"another")
    reply = theirs.answer(liar.hello())
    forged = reply._replace(proof=proof(b"S", b"another", CLIENT_NONCE, SERVER_NONCE))

    with pytest.raises(HandshakeError, match="client does not know"):
        theirs.check(liar.prove(forged, "calls", 0, 0))


def test_the_servers_proof_played_back_is_no_proof_of_the_client() -> None:
    ours, theirs = client(), server()
    reply = theirs.answer(ours.hello())
    prove = ours.prove(reply, "calls", 0, 0)

    with pytest.raises(HandshakeError, match="client does not know"):
        theirs.check(prove._replace(proof=reply.proof))


def test_a_proof_for_another_challenge_is_refused() -> None:
    ours, theirs = client(), server()
    old = ours.prove(theirs.answer(ours.hello()), "calls", 0, 0)
    again = ServerHandshake(SECRET, bytes(32))
    again.answer(ours.hello())

    with pytest.raises(HandshakeError, match="client does not know"):
        again.check(old)


@pytest.mark.parametrize(("least", "greatest"), [(2, 9), (0, 0), (3, 2)])
def test_versions_that_do_not_overlap_are_both_named(least: int, greatest: int) -> None:
    hello = client().hello()._replace(version_least=least, version_greatest=greatest)

    with pytest.raises(HandshakeError, match=f"speaks {least} to {greatest}, .* speaks 1 to 1"):
        server().answer(hello)


def test_the_greatest_common_version_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "VERSION_GREATEST", 5)
    hello = client().hello()._replace(version_least=2, version_greatest=4)

    assert server().answer(hello).version == 4


@pytest.mark.parametrize(
    "change",
    [{"nonce": bytes(31)}, {"nonce": b""}, {"client_id": b"short"}, {"role": "king"}],
)
def test_a_malformed_hello_is_refused(change: dict[str, bytes | str]) -> None:
    with pytest.raises(HandshakeError, match="malformed"):
        server().answer(client(**change).hello())


def test_hello_comes_once() -> None:
    theirs = server()
    theirs.answer(client().hello())

    with pytest.raises(HandshakeError, match="twice"):
        theirs.answer(client().hello())


def test_a_proof_before_hello_is_refused() -> None:
    ours = client()
    prove = ours.prove(server().answer(ours.hello()), "calls", 0, 0)

    with pytest.raises(HandshakeError, match="before HELLO"):
        server().check(prove)


def test_an_unknown_purpose_is_refused() -> None:
    ours, theirs = client(), server()
    reply = theirs.answer(ours.hello())

    with pytest.raises(HandshakeError, match="purpose"):
        theirs.check(ours.prove(reply, "fun", 0, 0))


TCP = Peer("tcp://10.0.0.1:7000")
STATED, KERNELS = (1000, 100, (7,)), (2000, 200, (8,))


def unix(uid: int) -> Peer:
    return Peer("unix:///socket", uid, 200, 42, (8,))


@pytest.mark.parametrize(
    ("peer", "who"),
    [(TCP, STATED), (unix(0), STATED), (unix(2000), KERNELS)],
    ids=["over TCP who he says", "root as who he says", "others as the kernel says"],
)
def test_a_client_is(peer: Peer, who: tuple[int, int, tuple[int, ...]]) -> None:
    hello, prove = client().hello(), Prove(b"", "calls", *STATED)

    assert caller_of(hello, prove, peer, own_uid=500)[3:] == who


@pytest.mark.parametrize("peer", [TCP, unix(0), unix(500)], ids=["tcp", "root", "same user"])
def test_a_node_may_be(peer: Peer) -> None:
    hello, prove = client(role="node").hello(), Prove(b"", "calls", *STATED)

    assert caller_of(hello, prove, peer, own_uid=500).role == "node"


def test_a_node_is_not_another_user_of_its_host() -> None:
    hello, prove = client(role="node").hello(), Prove(b"", "calls", *STATED)

    with pytest.raises(HandshakeError, match="same user"):
        caller_of(hello, prove, unix(2000), own_uid=500)
