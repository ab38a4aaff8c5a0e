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
from benchfs.rpc.frames import CANCEL, ERROR, REPLY, REQUEST, Kind, encode
from benchfs.rpc.handshake import ClientHandshake
from benchfs.rpc.messages import BY_REQUEST, LENDING, Failure, HelloReply, Welcome
from benchfs.rpc.schema import build, decoder_behind
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


class _Form(NamedTuple):
    """What is known of a request's operation before it is called."""

    number: int
    decode: Callable[[object], tuple[object, ...]]  # of a reply's body, number included


class _Waiting(NamedTuple):
    """A call in flight."""

    future: asyncio.Future[Answer]
    form: _Form
    deadline: float
    into: memoryview | None


_forms: dict[type, _Form] = {}  # by request, made at its first use
_failure = decoder_behind(Failure, 1)


def _new_form(request: type) -> _Form:
    operation = BY_REQUEST[request]
    form = _Form(int(operation.op), decoder_behind(operation.reply, 1))
    _forms[request] = form
    return form


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
        # One call at a time: sent at once. Waiting for others would cost another turn of the
        # loop, 2 µs of CPU and of latency, and there were none the last time.
        self._alone = True
        self._sweep: asyncio.TimerHandle | None = None
        self._sweep_at = 0.0
        self._pinged_at = 0.0
        self._waiting_bytes = 0  # of the link, at the last look

    async def greet(
        self,
        handshake: ClientHandshake,
        purpose: str,
        *,
        uid: int,
        gid: int,
        groups: tuple[int, ...] = (),
        timeout: float,
    ) -> Welcome:
        """Shake hands. Raises HandshakeError, ConnectionLostError, CallTimeoutError."""
        try:
            hello = await self.call(handshake.hello(), timeout=timeout)
            assert isinstance(hello.message, HelloReply)
            prove = handshake.prove(hello.message, purpose, uid, gid, groups)
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
        form = _forms.get(type(request)) or _new_form(type(request))
        self._last_id = call_id = self._last_id % 0xFFFF_FFFF + 1
        deadline_ms = int(timeout * 1000)
        if not 0 <= deadline_ms <= 0xFFFF_FFFF:
            deadline_ms = 0 if deadline_ms < 0 else 0xFFFF_FFFF
        body = self._pack((form.number, deadline_ms, group, epoch, slot, sequence, *request))
        if payload:
            size = sum(map(len, payload))
            head = encode(REQUEST, call_id, body, size)
            self._outbox.add_with_payload(head, payload, size)
        else:
            self._outbox.add(encode(REQUEST, call_id, body))
        future: asyncio.Future[Answer] = self.loop.create_future()
        self._calls[call_id] = build(_Waiting, (future, form, deadline, into))
        if self._sweep is None:
            self._start_sweep()
        if self._alone and len(self._calls) == 1:
            self._flush()
        elif not self._flush_due:
            self._flush_due = True
            self.loop.call_soon(self._flush_gathered)
        try:
            return await future
        except asyncio.CancelledError:
            self._cancel(call_id)
            if future.done() and not future.cancelled() and future.exception() is None:
                _close(future.result().descriptor)
            raise

    @property
    def in_flight(self) -> int:
        """Calls that wait for their answer."""
        return len(self._calls)

    # ------------------------------------------------------------ sending

    def _flush_gathered(self) -> None:
        self._flush_due = False
        self._flush()

    def _flush(self) -> None:
        self._alone = len(self._calls) <= 1
        self._outbox.send(self.link)
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
            self._send_now(encode(CANCEL, call_id, b""))
            self._next_queued()

    # ------------------------------------------------------------ receiving

    def _allocate(self, kind: Kind, call_id: int, body: list[object], size: int) -> memoryview:
        if kind is not REPLY:
            raise ProtocolError(f"a {kind.name} frame carries no payload in this direction")
        waiting = self._calls.get(call_id)
        if waiting is not None and waiting.into is not None and size <= len(waiting.into):
            return waiting.into[:size]
        return memoryview(bytearray(size))

    def _frame(
        self, kind: Kind, call_id: int, body: list[object], payload: memoryview | None
    ) -> None:
        if kind is not REPLY and kind is not ERROR:
            raise ProtocolError(f"a {kind.name} frame is not expected by a client")
        operation = body[0]
        if type(operation) is not int:
            raise ProtocolError("a reply starts with its operation's number")
        waiting = self._calls.get(call_id)
        descriptor = None
        if operation in LENDING and kind is REPLY:
            descriptor = self.link.take_descriptor()
        if waiting is None:
            _close(descriptor)
            return  # it was cancelled, or its deadline passed
        future, form, _deadline, _into = waiting
        if operation != form.number:
            _close(descriptor)
            raise ProtocolError(f"the reply to operation {form.number} says {operation}")
        if kind is REPLY:
            answer = build(Answer, (form.decode(body), payload, descriptor))
            del self._calls[call_id]
            if future.done():
                _close(descriptor)
            else:
                future.set_result(answer)
        else:
            failure = _failure(body)
            del self._calls[call_id]
            if not future.done():
                future.set_exception(RemoteError(*failure))
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
            pinged = self._pinged_at > self.last_heard
            if self._calls and silent > PING_AFTER_SECONDS and not pinged:
                self._pinged_at = now
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
