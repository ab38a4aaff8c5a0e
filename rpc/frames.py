"""The frame codec: bytes in, frames out. No socket, no clock, no task.

A frame is a 24-byte header, a MessagePack body and raw payload bytes. `FrameReader` is fed
through `get_buffer`/`received`, so that a transport receives a payload straight into the
buffer it is meant for; limits are checked on the header, before anything is allocated.
Frames are given as arguments of a call: an object for each would cost either side 0.4 µs.
`docs/PROTOCOL.md` is the same format in words, with test vectors.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from benchfs.rpc.errors import LocalProtocolError, ProtocolError
from benchfs.rpc.schema import unpack

MAGIC = b"BF"
VERSION = 1
HEADER = struct.Struct("<2sBBIIIQ")
HEADER_BYTES = HEADER.size

# What one recv may bring. Small frames come many at a time; of a bulk payload at most this
# much is copied once more, from here to its destination (6 % of 1 MiB).
SCRATCH_BYTES = 64 * 1024
# Where many small frames fill that, so much, until few fill it: receiving 32 replies of 4 KiB
# at once and not in four pieces saves 1.3 µs a reply.
MANY_FRAMES = 8
MANY_FRAMES_BYTES = 256 * 1024


class Kind(IntEnum):
    """What a frame is. A peer that sends any other number broke the protocol."""

    REQUEST = 1
    REPLY = 2
    ERROR = 3
    CANCEL = 4
    PING = 5
    PONG = 6
    GOODBYE = 7


# `Kind.REPLY` looks the name up in the enumeration's class, 0.1 µs each time; these cost nothing.
REQUEST, REPLY, ERROR, CANCEL, PING, PONG, GOODBYE = Kind
_WITH_BODY = (REQUEST, REPLY, ERROR)

# The header as the hot paths read it: its first four bytes are one number, and knowing that
# number means that magic, version and kind are all right (0.15 µs a frame less than asking each).
_HEADER = struct.Struct("<IIIIQ")
_pack_header = _HEADER.pack
_unpack_header = _HEADER.unpack_from
_STARTS = tuple(
    int.from_bytes(MAGIC + bytes((VERSION, kind)), "little") for kind in range(len(Kind) + 1)
)
_KINDS = {_STARTS[kind]: kind for kind in Kind}


class Limits(NamedTuple):
    """The greatest sizes in bytes that a peer may send."""

    body: int
    payload: int


# A directory page of 1,000 entries with attributes takes 130 KiB; four chunks of 4 MiB are
# more than any request needs. Before the secret is proved a HELLO of a few hundred bytes is all.
LIMITS = Limits(body=1024 * 1024, payload=16 * 1024 * 1024)
HANDSHAKE_LIMITS = Limits(body=4096, payload=0)
_BODY_MOST, _PAYLOAD_MOST = LIMITS


class Frame(NamedTuple):
    """One frame, for those who keep it; `payload` is the buffer that `allocate` gave, filled."""

    kind: Kind
    call_id: int
    body: list[object]
    payload: memoryview | None
    check: int


Allocate = Callable[[Kind, int, list[object], int], memoryview]
Deliver = Callable[[Kind, int, list[object], memoryview | None, int], None]


def encode(kind: Kind, call_id: int, body: bytes, payload_bytes: int = 0, check: int = 0) -> bytes:
    """Header and body of a frame; the payload's `payload_bytes` follow it on the wire."""
    size = len(body)
    if size > _BODY_MOST or payload_bytes > _PAYLOAD_MOST:
        raise LocalProtocolError(
            f"a frame of {size} + {payload_bytes} bytes is over the limits {LIMITS}"
        )
    return _pack_header(_STARTS[kind], call_id, size, payload_bytes, check) + body


_NOTHING = memoryview(b"")


def _refuse(*_: object) -> memoryview:
    raise LocalProtocolError("the stream is over")


def _ignore(*_: object) -> None:
    """Nobody is there any more."""


class FrameReader:
    """Cuts a byte stream into frames.

    `allocate(kind, call_id, body, size)` names the buffer for a payload of `size` bytes; it is
    asked once per frame with a payload, when the body is known. `deliver` is called with the
    fields of each whole `Frame`, in the stream's order; it may be changed between two calls.
    """

    def __init__(self, allocate: Allocate, deliver: Deliver, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self.deliver = deliver
        self._allocate = allocate
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))
        self._usual = SCRATCH_BYTES  # the scratch's size when no body needs more
        self._filled = 0
        self._rest: memoryview | None = None  # what is missing of the payload in progress
        self._head: Frame | None = None  # its frame

    def get_buffer(self) -> memoryview:
        """Where the next bytes of the stream belong; never empty."""
        if self._rest is not None:
            return self._rest
        return self._scratch[self._filled :]

    def received(self, count: int) -> None:
        """Take note of `count` bytes now in the buffer, and deliver the frames they complete.

        What breaks the protocol is raised when everything before it has been delivered, however
        the stream was cut into receives. After that nothing more may be received.
        """
        rest, head = self._rest, self._head
        if rest is None or head is None:
            self._filled += count
            self._cut()
        elif count < len(rest):
            self._rest = rest[count:]
        else:
            self._rest = self._head = None
            self.deliver(*head)

    def fills(self, call_id: int) -> bool:
        """Whether the next bytes belong to the payload of this call."""
        return self._head is not None and self._head.call_id == call_id

    def abandon(self, call_id: int) -> None:
        """Nobody waits for this call's reply any more: its payload goes to a sink instead."""
        head = self._head
        if head is not None and head.call_id == call_id and self._rest is not None:
            self._rest = memoryview(bytearray(len(self._rest)))
            self._head = head._replace(payload=None)

    def close(self) -> None:
        """The stream is over: let go of the buffers, and of who named them."""
        self._scratch, self._rest, self._head = _NOTHING, None, None
        self._allocate, self.deliver = _refuse, _ignore

    def _cut(self) -> None:
        """Deliver the frames that the scratch holds. Hot: 0.8 µs a frame, a third `unpack`."""
        scratch, filled, start = self._scratch, self._filled, 0
        most_body, most_payload = self.limits
        count = 0
        while filled - start >= HEADER_BYTES:
            word, call_id, body_size, payload_size, check = _unpack_header(scratch, start)
            kind = _KINDS.get(word)
            if (
                kind is None
                or body_size > most_body
                or payload_size > most_payload
                or (not body_size and kind in _WITH_BODY)
            ):
                raise self._refusal(start)
            body_start = start + HEADER_BYTES
            body_end = body_start + body_size
            if filled < body_end:
                break
            body = unpack(scratch[body_start:body_end]) if body_size else []
            start = body_end
            payload = None
            if payload_size:
                payload = self._allocate(kind, call_id, body, payload_size)
                have = filled - start
                if have < payload_size:
                    payload[:have] = scratch[start:filled]
                    start = filled
                    self._head = Frame(kind, call_id, body, payload, check)
                    self._rest = payload[have:]
                    break
                payload[:payload_size] = scratch[start : start + payload_size]
                start += payload_size
            count += 1
            self.deliver(kind, call_id, body, payload, check)
            if self._scratch is not scratch:
                return  # what was delivered has closed the stream
        if filled == len(scratch):
            self._usual = MANY_FRAMES_BYTES if count >= MANY_FRAMES else SCRATCH_BYTES
        self._keep(start, filled)

    def _keep(self, start: int, filled: int) -> None:
        """Move the unread tail to the front of a scratch that can hold the frame it begins."""
        left = filled - start
        need = self._usual
        if left >= HEADER_BYTES:
            need = max(need, HEADER_BYTES + HEADER.unpack_from(self._scratch, start)[4])
        if need != len(self._scratch):
            grown = memoryview(bytearray(need))
            grown[:left] = self._scratch[start:filled]
            self._scratch = grown
        elif start and left:
            self._scratch[:left] = bytes(self._scratch[start:filled])
        self._filled = left

    def _refusal(self, start: int) -> ProtocolError:
        """What is wrong with the header at `start`."""
        header = HEADER.unpack_from(self._scratch, start)
        magic, version, kind, _call_id, body_size, payload_size, _check = header
        if magic != MAGIC:
            return ProtocolError("this is not a BenchFS connection: a frame starts with BF")
        if version != VERSION:
            return ProtocolError(
                f"the peer speaks frame format {version}, this side speaks {VERSION}"
            )
        if kind not in iter(Kind):
            return ProtocolError(f"unknown frame kind {kind}")
        if body_size > self.limits.body:
            return ProtocolError(f"a body of {body_size} bytes is over {self.limits.body}")
        if payload_size > self.limits.payload:
            return ProtocolError(f"a payload of {payload_size} bytes is over {self.limits.payload}")
        return ProtocolError(f"a {Kind(kind).name} frame without a body")
