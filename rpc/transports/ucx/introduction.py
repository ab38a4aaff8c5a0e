"""How two ends of a link come to know one another, before UCX hears of either. No socket, no clock.

UCX's own listener ends the process when a stranger writes to it, so its port is told only to a
peer that knows the cluster's secret. Over a TCP connection each side says a nonce, then shows its
card, with an HMAC-SHA256 of both nonces and the card under the secret; the side that connected
shows first. What does not keep to that is an IntroductionError.

    opening   magic 8 | nonce 32
    card      proof 32 | number 8 | port u16
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable
from typing import NamedTuple

# The last byte is the version of this and of the stream.
MAGIC = b"BfsUCX\x00\x02"
NONCE_BYTES = 32
PROOF_BYTES = 32
NUMBER_BYTES = 8

_CARD = struct.Struct(f"<{PROOF_BYTES}s{NUMBER_BYTES}sH")
_OPENING_BYTES = len(MAGIC) + NONCE_BYTES
_MOST_BYTES = _OPENING_BYTES + _CARD.size


class IntroductionError(Exception):
    """The peer is not one of this cluster's; the text says why."""


class Card(NamedTuple):
    """Where an end of a link is reached."""

    number: bytes  # random: who does not know it cannot send to the link
    port: int  # of UCX's listener; 0: of the side that connects


class Introduction:
    """One side of it: `opening` is said at once; `receive` takes bytes and gives the answer.

    When `peer` is there, the peer is known to be of the same cluster.
    """

    def __init__(
        self, secret: bytes, nonce: bytes, card: Callable[[], Card], *, connects: bool
    ) -> None:
        """`card` is asked for when it is shown, which a listening side does only to a peer."""
        self.peer: Card | None = None
        self._secret = secret
        self._nonce = nonce
        self._own_card = card
        self._connects = connects
        self._peer_nonce = b""
        self._received = bytearray()

    def opening(self) -> bytes:
        """What either side says first."""
        return MAGIC + self._nonce

    def receive(self, data: bytes) -> bytes:
        """Take what has come, in pieces of any size. Raises IntroductionError."""
        received = self._received
        received += data[: _MOST_BYTES + 1]
        answer = b""
        if not self._peer_nonce:
            if not MAGIC.startswith(received[: len(MAGIC)]):
                raise IntroductionError("the peer does not speak this version of BenchFS over UCX")
            if len(received) < _OPENING_BYTES:
                return b""
            self._peer_nonce = bytes(received[len(MAGIC) : _OPENING_BYTES])
            del received[:_OPENING_BYTES]
            answer = self._signed_card() if self._connects else b""
        if self.peer is None and self._take_card():
            answer += b"" if self._connects else self._signed_card()
        if self.peer is not None and received:
            raise IntroductionError("the peer says more than it has to")
        return answer

    def _take_card(self) -> bool:
        """Whether the peer has shown its card."""
        received = self._received
        if len(received) < _CARD.size:
            return False
        proof, number, port = _CARD.unpack_from(received)
        card = Card(number, port)
        if not hmac.compare_digest(proof, self._proof(card, of_peer=True)):
            raise IntroductionError("the peer does not know this cluster's secret")
        del received[: _CARD.size]
        self.peer = card
        return True

    def _signed_card(self) -> bytes:
        card = self._own_card()
        return _CARD.pack(self._proof(card, of_peer=False), *card)

    def _proof(self, card: Card, *, of_peer: bool) -> bytes:
        nonces = (self._nonce, self._peer_nonce)
        connecting, accepting = nonces if self._connects else nonces[::-1]
        role = b"C" if self._connects != of_peer else b"S"
        said = b"benchfs-ucx" + role + connecting + accepting + card.number + card.port.to_bytes(2)
        return hmac.digest(self._secret, said, "sha256")
