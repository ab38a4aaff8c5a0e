"""docs/PROTOCOL.md and tests/vectors/ say what the code does."""

import json
from pathlib import Path
from typing import Any

import pytest
import xxhash

from benchfs.checks import piece_checks, verify_pieces
from benchfs.rpc import describe, handshake, server, server_connection
from benchfs.rpc.connection import DEAD_AFTER_SECONDS, PING_AFTER_SECONDS
from benchfs.rpc.errors import ProtocolError
from benchfs.rpc.frames import HANDSHAKE_LIMITS, LIMITS, Frame, FrameReader, Kind
from benchfs.rpc.messages import OPERATIONS, Envelope, Failure
from benchfs.rpc.schema import decoder

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "PROTOCOL.md"


def vectors(name: str) -> Any:
    return json.loads((ROOT / "tests" / "vectors" / name).read_text())


def test_the_operations_in_the_document_are_those_of_the_code() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")

    assert describe.described(text) == text, "run: python -m benchfs.rpc.describe docs/PROTOCOL.md"


def test_a_document_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="markers"):
        describe.described("# nothing")


def test_the_limits_in_the_document_are_those_of_the_code() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")

    assert f"{LIMITS.body:,} bytes; before the secret is proved {HANDSHAKE_LIMITS.body:,}" in text
    assert f"{LIMITS.payload:,} bytes; before the secret is proved 0" in text
    assert f"| {server_connection.HANDSHAKE_SECONDS:.0f} seconds |" in text
    assert f"| {server_connection.HALF_OPEN_MOST}; further" in text
    assert f"after {PING_AFTER_SECONDS:.0f} second of" in text
    assert f"gives the connection up after {DEAD_AFTER_SECONDS:.0f}." in text
    idle = f"after {server.IDLE_PING_SECONDS:.0f} seconds and gives up after"
    assert f"{idle} {server.IDLE_DEAD_SECONDS:.0f}." in text
    for kind in Kind:
        assert f"| {kind.name} | {int(kind)} |" in text


@pytest.mark.parametrize("vector", vectors("frames.json"), ids=lambda vector: vector["what"])
def test_a_frame_of_the_vectors_means_what_they_say(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["hex"])
    delivered: list[Frame] = []
    reader = FrameReader(
        lambda _kind, _call, _body, size: memoryview(bytearray(size)),
        lambda *fields: delivered.append(Frame(*fields)),
    )
    reader.get_buffer()[: len(raw)] = raw

    reader.received(len(raw))
    (frame,) = delivered

    assert frame.kind.name == vector["kind"]
    assert frame.call_id == vector["call_id"]
    assert plain(frame.body) == vector["body"]
    assert bytes(frame.payload or b"").hex() == vector["payload"]
    assert f"{frame.check:016x}" == vector["check"]
    if frame.check:
        assert xxhash.xxh3_64_intdigest(frame.payload) == frame.check
    if frame.kind is Kind.REQUEST:
        envelope = decoder(Envelope)(frame.body[:6])
        decoder(OPERATIONS[envelope.operation].request)(frame.body[6:])
    elif frame.kind is Kind.REPLY:
        operation, *fields = frame.body
        assert isinstance(operation, int)
        decoder(OPERATIONS[operation].reply)(fields)
    elif frame.kind is Kind.ERROR:
        decoder(Failure)(frame.body[1:])


@pytest.mark.parametrize("vector", vectors("bad_frames.json"), ids=lambda vector: vector["what"])
def test_a_bad_frame_of_the_vectors_is_refused(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["hex"])
    reader = FrameReader(lambda *_: pytest.fail("allocated"), lambda *_: pytest.fail("delivered"))
    reader.get_buffer()[: len(raw)] = raw

    with pytest.raises(ProtocolError):
        reader.received(len(raw))


@pytest.mark.parametrize("vector", vectors("handshake.json"))
def test_the_proofs_of_the_vectors(vector: dict[str, str]) -> None:
    names = ("secret", "client_nonce", "server_nonce")
    secret, client, server_ = (bytes.fromhex(vector[name]) for name in names)

    assert handshake.proof(b"S", secret, client, server_).hex() == vector["server_proof"]
    assert handshake.proof(b"C", secret, client, server_).hex() == vector["client_proof"]


@pytest.mark.parametrize("vector", vectors("block_checks.json")["vectors"])
def test_the_block_checks_of_the_vectors(vector: dict[str, Any]) -> None:
    data = bytes(7 * number % 251 for number in range(vector["size"]))

    assert piece_checks(data, vector["offset"]).hex() == vector["checks"]
    assert verify_pieces(data, vector["offset"], bytes.fromhex(vector["checks"])) is None


def plain(value: object) -> object:
    """Bytes as the vectors write them."""
    if isinstance(value, bytes):
        return {"bin": value.hex()}
    return [plain(item) for item in value] if isinstance(value, list) else value
