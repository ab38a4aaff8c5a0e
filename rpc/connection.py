"""The calling end of a connection: many calls in flight, answered in any order.

Every call has a deadline; when it passes the call fails and the peer is told to CANCEL. A
peer that is silent while calls wait is asked by PING and given up after `DEAD_AFTER_SECONDS`:
then all its calls fail at once. Frames queued in one turn of the loop leave in one syscall.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchfs.rpc.channel import Channel
from benchfs.rpc.errors import (
    CallTimeoutError,
    ConnectionLostError,
    HandshakeError,
    ProtocolError,
    RemoteError,
)
from benchfs.rpc.frames import Frame, Kind, encode
from benchfs.rpc.handshake import ClientHandshake
from benchfs.rpc.messages import BY_REQUEST, LENDING, Failure, HelloReply, Operation, Welcome
from benchfs.rpc.schema import decoder
from benchfs.rpc.transports.base import Buffer

# Deadlines are looked at this often while calls wait: a timer per call costs 1.5 µs of a
# 4 KiB read's 30, a sweep of all waiting calls costs nothing that can be measured.
SWEEP_SECONDS = 0.05
PING_AFTER_SECONDS = 1.0
DEAD_AFTER_SECONDS = 4.0
# The loop itself stood still (the process was stopped, or the program computed): what the
# peer sent meanwhile is read before anybody is declared dead.
LATE_SECONDS = 0.5


class Answer(NamedTuple):
    """What came back: the reply message, its payload, and the descriptor passed with it."""

    message: tuple[object, ...]
    payload: memoryview | None
    descriptor: int | None = None  # the receiver's to close


class _Waiting:
    """A call in flight."""

    __slots__ = ("deadline", "decode", "future", "into", "op")

    def __init__(
        self,
        future: asyncio.Future[Answer],
        operation: Operation,
        deadline: float,
        into: memoryview | None,
    ) -> None:
        self.future = future
        self.op = int(operation.op)
        self.decode: Callable[[object], tuple[object, ...]] = decoder(operation.reply)
        self.deadline = deadline
        self.into = into


_failure = decoder(Failure)


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


class Connection(Channel):
    """A client's connection to one node. `greet` first, then `call`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.welcome: Welcome | None = None
        self.on_end: Callable[[], None] | None = None
        self._calls: dict[int, _Waiting] = {}
        self._last_id = 0
        self._credits = 2  # HELLO and its proof
        self._queued: deque[asyncio.Future[None]] = deque()  # calls that wait for a credit
        self._granted = 0  # calls that were given a credit and have not used it yet
        self._flush_due = False
        self._sweep: asyncio.TimerHandle | None = None
        self._sweep_at = 0.0
        self._pinged = False
        self._waiting_bytes = 0  # of the link, at the last look

    async def greet(
        self, handshake: ClientHandshake, purpose: str, *, uid: int, gid: int, timeout: float
    ) -> Welcome:
        """Shake hands. Raises HandshakeError, ConnectionLostError, CallTimeoutError."""
        try:
            hello = await self.call(handshake.hello(), timeout=timeout)
            assert isinstance(hello.message, HelloReply)
            prove = handshake.prove(hello.message, purpose, uid, gid)
            answer = await self.call(prove, timeout=timeout)
        except RemoteError as exc:
            raise HandshakeError(exc.text) from None
        except ConnectionLostError as exc:
            if self.refused:
                raise HandshakeError(exc.reason) from None
            raise
        assert isinstance(answer.message, Welcome)
        self.welcome = answer.message
        self._credits = max(1, answer.message.credits)
        if purpose == "descriptors":
            self.link.expect_descriptors()
        return answer.message

    async def call(
        self,
        request: tuple[object, ...],
        *,
        timeout: float,
        group: int = 0,
        epoch: int = 0,
        slot: int = 0,
        sequence: int = 0,
        payload: Sequence[Buffer] = (),
        into: memoryview | None = None,
    ) -> Answer:
        """Send a request and wait for its answer, at most `timeout` seconds.

        `payload` buffers stay untouched by the caller until this returns. A reply's payload is
        received into `into` where it fits there. Raises RemoteError, CallTimeoutError,
        ConnectionLostError. On cancellation the peer is told, and `into` is not written to
        any more.
        """
        deadline = self.loop.time() + timeout
        if len(self._calls) + self._granted >= self._credits or self._queued:
            await self._wait_for_credit(deadline)
            timeout = max(0.0, deadline - self.loop.time())
        if self.ended is not None or self._goodbye is not None:
            raise ConnectionLostError(self.ended or self._goodbye or "", sent=False)
        operation = BY_REQUEST[type(request)]
        self._last_id = call_id = self._last_id % 0xFFFF_FFFF + 1
        deadline_ms = min(max(int(timeout * 1000), 0), 0xFFFF_FFFF)
        body = self._pack((int(operation.op), deadline_ms, group, epoch, slot, sequence, *request))
        waiting = _Waiting(self.loop.create_future(), operation, deadline, into)
        if payload:
            size = sum(map(len, payload))
            self.link.write([encode(Kind.REQUEST, call_id, body, size), *payload])
        else:
            self.link.write((encode(Kind.REQUEST, call_id, body),))
        self._calls[call_id] = waiting
        self._flush_soon()
        if self._sweep is None:
            self._start_sweep()
        try:
            return await waiting.future
        except asyncio.CancelledError:
            self._cancel(call_id)
            future = waiting.future
            if future.done() and not future.cancelled() and future.exception() is None:
                _close(future.result().descriptor)
            raise

    @property
    def in_flight(self) -> int:
        """Calls that wait for their answer."""
        return len(self._calls)

    # ------------------------------------------------------------ sending

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self.ended is None:
            self.link.flush()

    async def _wait_for_credit(self, deadline: float) -> None:
        turn: asyncio.Future[None] = self.loop.create_future()
        self._queued.append(turn)
        try:
            async with asyncio.timeout_at(deadline):
                await turn
        except BaseException as exc:
            if turn in self._queued:
                self._queued.remove(turn)
            elif not turn.cancelled():  # granted in the same turn of the loop: pass it on
                self._granted -= 1
                self._next_queued()
            if isinstance(exc, TimeoutError):
                raise CallTimeoutError("no call could be sent: too many are in flight") from None
            raise
        self._granted -= 1

    def _next_queued(self) -> None:
        free = self._credits - len(self._calls) - self._granted
        while self._queued and free > 0:
            turn = self._queued.popleft()
            if not turn.done():
                turn.set_result(None)
                self._granted += 1
                free -= 1

    def _cancel(self, call_id: int) -> None:
        if self._calls.pop(call_id, None) is not None and self.ended is None:
            if self._reader.fills(call_id):
                self.link.settle()  # the kernel may be receiving into the caller's buffer
            self._reader.abandon(call_id)
            self._send_now([encode(Kind.CANCEL, call_id, b"")])
            self._next_queued()

    # ------------------------------------------------------------ receiving

    def _allocate(self, kind: Kind, call_id: int, body: list[object], size: int) -> memoryview:
        if kind is not Kind.REPLY:
            raise ProtocolError(f"a {kind.name} frame carries no payload in this direction")
        waiting = self._calls.get(call_id)
        if waiting is not None and waiting.into is not None and size <= len(waiting.into):
            return waiting.into[:size]
        return memoryview(bytearray(size))

    def _frame(self, frame: Frame) -> None:
        if frame.kind not in (Kind.REPLY, Kind.ERROR):
            raise ProtocolError(f"a {frame.kind.name} frame is not expected by a client")
        self._pinged = False
        waiting = self._calls.get(frame.call_id)
        operation, *fields = frame.body
        if type(operation) is not int:
            raise ProtocolError("a reply starts with its operation's number")
        descriptor = None
        if operation in LENDING and frame.kind is Kind.REPLY:
            descriptor = self.link.take_descriptor()
        if waiting is None:
            _close(descriptor)
            return  # it was cancelled, or its deadline passed
        if operation != waiting.op:
            raise ProtocolError(f"the reply to operation {waiting.op} says {operation}")
        if frame.kind is Kind.REPLY:
            answer = Answer(waiting.decode(fields), frame.payload, descriptor)
            del self._calls[frame.call_id]
            if waiting.future.done():
                _close(descriptor)
            else:
                waiting.future.set_result(answer)
        else:
            failure = _failure(fields)
            del self._calls[frame.call_id]
            if not waiting.future.done():
                waiting.future.set_exception(RemoteError(*failure))
        if self._queued:
            self._next_queued()

    # ------------------------------------------------------------ deadlines and health

    def _start_sweep(self) -> None:
        self._sweep_at = self.loop.time() + SWEEP_SECONDS
        self._sweep = self.loop.call_at(self._sweep_at, self._look)
        self.last_heard = max(self.last_heard, self._sweep_at - SWEEP_SECONDS)

    def _look(self) -> None:
        """Fail the calls whose deadline passed; notice a dead peer."""
        self._sweep = None
        now = self.loop.time()
        late = now - self._sweep_at > LATE_SECONDS
        if late:
            self.last_heard = now
        else:
            for call_id, waiting in list(self._calls.items()):
                if waiting.deadline <= now:
                    self._expire(call_id, waiting)
            waiting_bytes = self.link.waiting_bytes
            if waiting_bytes < self._waiting_bytes:
                self.last_heard = now  # it takes what is sent: a PING stands behind all that
            self._waiting_bytes = waiting_bytes
            silent = now - self.last_heard
            if self._calls and silent > DEAD_AFTER_SECONDS:
                self.abort(f"the node has not answered for {silent:.1f} s")
                return
            if self._calls and silent > PING_AFTER_SECONDS and not self._pinged:
                self._pinged = True
                self.ping()
        if self._calls:
            self._sweep_at = now + SWEEP_SECONDS
            self._sweep = self.loop.call_at(self._sweep_at, self._look)

    def _expire(self, call_id: int, waiting: _Waiting) -> None:
        self._cancel(call_id)
        if not waiting.future.done():
            waiting.future.set_exception(
                CallTimeoutError("the deadline passed before the node answered")
            )

    def received(self, count: int) -> None:
        """Any byte is a sign of life."""
        self._pinged = False
        super().received(count)

    def _ended(self, reason: str) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        calls, self._calls = self._calls, {}
        for waiting in calls.values():
            if not waiting.future.done():
                waiting.future.set_exception(ConnectionLostError(reason))
        while self._queued:
            turn = self._queued.popleft()
            if not turn.done():
                turn.set_result(None)
                self._granted += 1
        if self.on_end is not None:
            self.on_end()
