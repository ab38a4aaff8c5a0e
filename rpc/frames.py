"""The frame codec: bytes in, frames out. No socket, no clock, no task.

A frame is a 24-byte header, a MessagePack body and raw payload bytes. `FrameReader` is fed
through `get_buffer`/`received`, so that a transport receives a payload straight into the
buffer it is meant for; limits are checked on the header, before anything is allocated.
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
_pack_header = HEADER.pack
_unpack_header = HEADER.unpack_from

# What one recv may bring. Small frames come many at a time; of a bulk payload at most this
# much is copied once more, from here to its destination (6 % of 1 MiB).
SCRATCH_BYTES = 64 * 1024


class Kind(IntEnum):
    """What a frame is. A peer that sends any other number broke the protocol."""

    REQUEST = 1
    REPLY = 2
    ERROR = 3
    CANCEL = 4
    PING = 5
    PONG = 6
    GOODBYE = 7


_KINDS = {int(kind): kind for kind in Kind}


class Limits(NamedTuple):
    """The greatest sizes in bytes that a peer may send."""

    body: int
    payload: int


# A directory page of 1,000 entries with attributes takes 130 KiB; four chunks of 4 MiB are
# more than any request needs. Before the secret is proved a HELLO of a few hundred bytes is all.
LIMITS = Limits(body=1024 * 1024, payload=16 * 1024 * 1024)
HANDSHAKE_LIMITS = Limits(body=4096, payload=0)


class Frame(NamedTuple):
    """One whole frame; `payload` is the buffer that `allocate` gave, filled."""

    kind: Kind
    call_id: int
    body: list[object]
    payload: memoryview | None
    check: int


Allocate = Callable[[Kind, int, list[object], int], memoryview]


def encode(kind: Kind, call_id: int, body: bytes, payload_bytes: int = 0, check: int = 0) -> bytes:
    """Header and body of a frame; the payload's `payload_bytes` follow it on the wire."""
    if len(body) > LIMITS.body or payload_bytes > LIMITS.payload:
        raise LocalProtocolError(
            f"a frame of {len(body)} + {payload_bytes} bytes is over the limits {LIMITS}"
        )
    return _pack_header(MAGIC, VERSION, kind, call_id, len(body), payload_bytes, check) + body


class FrameReader:
    """Cuts a byte stream into frames.

    `allocate(kind, call_id, body, size)` names the buffer for a payload of `size` bytes; it is
    asked once per frame with a payload, when the body is known.
    """

    def __init__(self, allocate: Allocate, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self.error: ProtocolError | None = None  # the stream is unusable from here on
        self._allocate = allocate
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))
        self._filled = 0
        self._rest: memoryview | None = None  # what is missing of the payload in progress
        self._head: Frame | None = None  # its frame

    def get_buffer(self) -> memoryview:
        """Where the next bytes of the stream belong; never empty."""
        if self._rest is not None:
            return self._rest
        return self._scratch[self._filled :]

    def received(self, count: int) -> list[Frame]:
        """Take note of `count` bytes now in the buffer; returns the frames they complete.

        What breaks the protocol is raised; when whole frames came before it in the same bytes,
        these are returned and the failure waits in `error`, so that it does not matter how the
        stream was cut into receives. After either, nothing more may be received.
        """
        if self._rest is not None:
            self._rest = self._rest[count:]
            if len(self._rest):
                return []
            head = self._head
            assert head is not None
            self._rest = self._head = None
            return [head]
        self._filled += count
        frames: list[Frame] = []
        try:
            self._cut(frames)
        except ProtocolError as exc:
            self.error = exc
            if not frames:
                raise
        return frames

    def fills(self, call_id: int) -> bool:
        """Whether the next bytes belong to the payload of this call."""
        return self._head is not None and self._head.call_id == call_id

    def abandon(self, call_id: int) -> None:
        """Nobody waits for this call's reply any more: its payload goes to a sink instead."""
        head = self._head
        if head is not None and head.call_id == call_id and self._rest is not None:
            self._rest = memoryview(bytearray(len(self._rest)))
            self._head = head._replace(payload=None)

    def _cut(self, frames: list[Frame]) -> None:
        scratch, filled, start = self._scratch, self._filled, 0
        while filled - start >= HEADER_BYTES:
            magic, version, kind, call_id, body_size, payload_size, check = _unpack_header(
                scratch, start
            )
            self._check_header(magic, version, kind, body_size, payload_size)
            body_end = start + HEADER_BYTES + body_size
            if filled < body_end:
                break
            body = unpack(scratch[start + HEADER_BYTES : body_end]) if body_size else []
            start = body_end
            if not payload_size:
                frames.append(Frame(_KINDS[kind], call_id, body, None, check))
                continue
            target = self._allocate(_KINDS[kind], call_id, body, payload_size)
            frame = Frame(_KINDS[kind], call_id, body, target, check)
            have = min(payload_size, filled - start)
            target[:have] = scratch[start : start + have]
            start += have
            if have < payload_size:
                self._head, self._rest = frame, target[have:]
                break
            frames.append(frame)
        self._keep(start, filled)

    def _keep(self, start: int, filled: int) -> None:
        """Move the unread tail to the front of a scratch that can hold the frame it begins."""
        left = filled - start
        need = SCRATCH_BYTES
        if left >= HEADER_BYTES:
            need = max(need, HEADER_BYTES + HEADER.unpack_from(self._scratch, start)[4])
        if need != len(self._scratch):
            grown = memoryview(bytearray(need))
            grown[:left] = self._scratch[start:filled]
            self._scratch = grown
        elif start and left:
            self._scratch[:left] = bytes(self._scratch[start:filled])
        self._filled = left

    def _check_header(
        self, magic: bytes, version: int, kind: int, body_size: int, payload_size: int
    ) -> None:
        if magic != MAGIC:
            raise ProtocolError("this is not a BenchFS connection: a frame starts with BF")
        if version != VERSION:
            raise ProtocolError(
                f"the peer speaks frame format {version}, this side speaks {VERSION}"
            )
        if kind not in _KINDS:
            raise ProtocolError(f"unknown frame kind {kind}")
        if body_size > self.limits.body:
            raise ProtocolError(f"a body of {body_size} bytes is over {self.limits.body}")
        if payload_size > self.limits.payload:
            raise ProtocolError(f"a payload of {payload_size} bytes is over {self.limits.payload}")
        if kind <= Kind.ERROR and not body_size:
            raise ProtocolError(f"a {_KINDS[kind].name} frame without a body")
