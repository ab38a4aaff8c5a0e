"""What both ends of a connection share: frames over a link, PING and PONG, GOODBYE, the end.

A channel is the `Receiver` of its link. Subclasses say what a frame means (`_frame`), where a
payload belongs (`_allocate`) and what the end of the connection means (`_ended`).
"""

from __future__ import annotations

import asyncio

import msgpack
import xxhash

from benchfs.rpc.errors import ProtocolError
from benchfs.rpc.frames import (
    GOODBYE,
    LIMITS,
    PING,
    PONG,
    FrameReader,
    Kind,
    Limits,
    encode,
)
from benchfs.rpc.outbox import Outbox
from benchfs.rpc.transports.base import Link

GOODBYE_TEXT_LENGTH = 500
PACK_BYTES = 4096  # room for most bodies; it grows for greater ones
# More than this that waits to be sent is itself the sign of life a PING asks for.
PONG_WAITING_BYTES = 64 * 1024


class Channel:
    """One end of a connection."""

    link: Link

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits = LIMITS) -> None:
        self.loop = loop
        self.last_heard = loop.time()
        self.ended: str | None = None  # why the connection is over
        self._reader = FrameReader(self._allocate, self._deliver, limits)
        self._outbox = Outbox()
        # Packers begin with 1 MiB by default: a thousand of them left 60 MiB behind each time.
        self._pack = msgpack.Packer(buf_size=PACK_BYTES).pack
        self.refused = False  # another connection to this peer would end in the same way
        self._goodbye: str | None = None  # the reason that either side gave
        self._aborted: str | None = None  # the reason that this side did not tell

    # ------------------------------------------------------------ Receiver

    def connected(self, link: Link) -> None:
        """Called by the transport, once."""
        self.link = link

    def get_buffer(self) -> memoryview:
        """Where the link puts what it receives next."""
        return self._reader.get_buffer()

    def received(self, count: int) -> None:
        """Handle the frames that `count` more bytes complete."""
        self.last_heard = self.loop.time()
        try:
            self._reader.received(count)
        except ProtocolError as exc:
            self.goodbye(str(exc), final=True)
        finally:  # what was answered before the peer broke the protocol still holds
            self._handled()

    def drained(self) -> None:
        """Nothing waits for this at the client's end."""

    def lost(self, reason: str) -> None:
        """Called by the link, once and last."""
        if self.ended is None:
            self.ended = self._goodbye or self._aborted or reason
            self._ended(self.ended)
            self._reader.close()  # else its buffer stays until cycles are collected

    # ------------------------------------------------------------ both ends

    def goodbye(self, reason: str, *, final: bool = False) -> None:
        """Tell the peer why, then end the connection. Idempotent.

        `final`: it is of no use to connect again and say the same.
        """
        if self.ended is None and self._goodbye is None:
            self._goodbye = reason
            self.refused = final
            body = self._pack([reason[:GOODBYE_TEXT_LENGTH], final])
            self._pass_on()
            self.link.write([encode(GOODBYE, 0, body)])
            self.link.close()

    def abort(self, reason: str) -> None:
        """End the connection now."""
        if self.ended is None:
            self._aborted = self._aborted or reason
            self.link.abort()

    def ping(self) -> None:
        """Ask for a sign of life; the answer moves `last_heard`."""
        self._send_now(encode(PING, 0, b""))

    def _deliver(
        self, kind: Kind, call_id: int, body: list[object], payload: memoryview | None, check: int
    ) -> None:
        if self._goodbye is not None or self.ended is not None:
            return
        if check and payload is not None and xxhash.xxh3_64_intdigest(payload) != check:
            raise ProtocolError(f"the payload of call {call_id} fails its check")
        if kind is PING:
            if self.link.waiting_bytes <= PONG_WAITING_BYTES:
                self._send_now(encode(PONG, call_id, b""))
        elif kind is GOODBYE:
            reason, self.refused = _reason(body)
            self._goodbye = f"the peer ended the connection: {reason}"
            self.link.abort()
        elif kind is not PONG:
            self._frame(kind, call_id, body, payload)

    def _send_now(self, frame: bytes) -> None:
        if self.ended is None:
            self._pass_on()
            self.link.write((frame,))
            self.link.flush()

    def _pass_on(self) -> None:
        """Give the link what this turn has gathered: what is written next comes after it."""
        self._outbox.send(self.link)

    # ------------------------------------------------------------ for subclasses

    def _allocate(self, kind: Kind, call_id: int, body: list[object], size: int) -> memoryview:
        raise ProtocolError(f"a {kind.name} frame carries no payload in this direction")

    def _frame(
        self, kind: Kind, call_id: int, body: list[object], payload: memoryview | None
    ) -> None:
        raise ProtocolError(f"a {kind.name} frame is not expected in this direction")

    def _handled(self) -> None:
        """Everything that came in one receive has been handled."""

    def _ended(self, reason: str) -> None:
        """The connection is over."""


def _reason(body: list[object]) -> tuple[str, bool]:
    """Why the peer said GOODBYE, and whether that is final. Nothing in it is an error."""
    if not body or not isinstance(body[0], str):
        return "no reason given", False
    return body[0][:GOODBYE_TEXT_LENGTH], len(body) > 1 and body[1] is True
