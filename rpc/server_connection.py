"""One client's connection to a node: its requests, their handlers, and the answers.

A handler that need not wait returns its `Reply` inside the receive callback: no task, no
future. One that must wait returns an awaitable and gets a task, which ends with the
connection unless the operation mutates (then it runs to its end and its reply is dropped).
While the gate's batch is open (a storage transaction of this turn), replies are held back
until it has committed: nothing is acknowledged that is not stored.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from benchfs.rpc.calls import Call, Caller, Handler, Reply
from benchfs.rpc.channel import Channel
from benchfs.rpc.errors import HandshakeError, ProtocolError, RemoteError
from benchfs.rpc.frames import (
    CANCEL,
    ERROR,
    HANDSHAKE_LIMITS,
    LIMITS,
    REPLY,
    REQUEST,
    Frame,
    Kind,
    encode,
)
from benchfs.rpc.handshake import NONCE_BYTES, ServerHandshake, caller_of
from benchfs.rpc.messages import (
    OPERATIONS,
    Code,
    Envelope,
    Failure,
    Hello,
    Op,
    Operation,
    Prove,
    Welcome,
)
from benchfs.rpc.schema import build, decoder, decoder_of_both
from benchfs.rpc.transports.base import HIGH_WATER_BYTES, Link

if TYPE_CHECKING:
    from benchfs.rpc.server import Server

log = logging.getLogger("benchfs.rpc")

HANDSHAKE_SECONDS = 5.0
HALF_OPEN_MOST = 64
CREDITS = 512
# Tasks of one connection: a mutation that was cancelled still runs to its end.
RUNNING_MOST = 2 * CREDITS
# Answers leave while the rest of a turn is still worked on, the first so many, then twice as many,
# and so on: on another CPU the client goes on meanwhile (decision 010).
FIRST_GROUP = 4
ENVELOPE_FIELDS = len(Envelope._fields)
TEXT_LENGTH = 1024  # of a Failure's text
PATH_BYTES = 4096  # of its path
BROKEN = RemoteError(errno.EIO, "an error inside the node: its log tells more")


class Identity(NamedTuple):
    """What the server says of itself once the peer has proved the secret."""

    node_id: str
    cluster_id: str
    secret: bytes
    incarnation: int
    host: str
    unix_path: str
    token_bytes: Callable[[int], bytes]  # randomness for the challenge
    map_version: Callable[[], int]


class Form(NamedTuple):
    """What is known of an operation before it is requested."""

    operation: Operation
    handler: Handler
    decode: Callable[[object], tuple[Envelope, tuple[object, ...]]]  # of a request's body


class ServerConnection(Channel):
    """One client's connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, server: Server) -> None:
        super().__init__(loop, HANDSHAKE_LIMITS)
        self.caller: Caller | None = None
        self._server = server
        self._handshake = ServerHandshake(
            server.identity.secret, server.identity.token_bytes(NONCE_BYTES)
        )
        self._tasks: dict[int, tuple[asyncio.Task[None], Operation]] = {}  # of calls in flight
        self._answered = 0  # requests of this turn, since the last sending
        self._group = FIRST_GROUP
        self._running = 0  # tasks, of calls that were cancelled too
        self._holding = False  # what is in the outbox waits for the gate
        self._backlog: deque[Frame] = deque()  # requests that wait for the peer to read
        self._timer = loop.call_later(HANDSHAKE_SECONDS, self._too_slow)

    def connected(self, link: Link) -> None:
        """The first 64 strangers may speak; the others are turned away."""
        super().connected(link)
        half_open = sum(other.caller is None for other in self._server.connections)
        if half_open > HALF_OPEN_MOST:
            self.loop.call_soon(self.abort, "too many connections have not proved the secret")

    def _too_slow(self) -> None:
        self.abort("the handshake took too long")

    # ------------------------------------------------------------ frames

    def _allocate(self, kind: Kind, call_id: int, body: list[object], size: int) -> memoryview:
        if kind is not REQUEST:
            raise ProtocolError(f"a {kind.name} frame carries no payload in this direction")
        return self._server.buffers.take(size)

    def _frame(
        self, kind: Kind, call_id: int, body: list[object], payload: memoryview | None
    ) -> None:
        if kind is CANCEL:
            task, operation = self._tasks.pop(call_id, (None, None))
            if task is not None and operation is not None and not operation.mutates:
                self.loop.call_soon(task.cancel)  # not before its first step: it cleans up
        elif kind is not REQUEST:
            raise ProtocolError(f"a {kind.name} frame is not expected by a node")
        elif self.link.waiting_bytes + self._outbox.waiting_bytes > HIGH_WATER_BYTES:
            self._put_off(kind, call_id, body, payload, 0)
            self._reader.deliver = self._put_off
            self.link.pause_reading()
        elif self.caller is None:
            self._greet(call_id, body)
        else:
            self._request(call_id, body, payload, self.caller)

    def _put_off(
        self, kind: Kind, call_id: int, body: list[object], payload: memoryview | None, check: int
    ) -> None:
        self._backlog.append(Frame(kind, call_id, body, payload, check))

    def drained(self) -> None:
        """The peer has read: go on with its requests."""
        while self._backlog and self.ended is None and self._goodbye is None:
            if self.link.waiting_bytes + self._outbox.waiting_bytes > HIGH_WATER_BYTES:
                break
            try:
                self._deliver(*self._backlog.popleft())
            except ProtocolError as exc:
                self.goodbye(str(exc), final=True)
        self._release()
        if not self._backlog:
            self._reader.deliver = self._deliver
            self.link.resume_reading()

    def _handled(self) -> None:
        self._release()
        self._group = FIRST_GROUP
        if self._server.on_requests is not None:
            self._server.on_requests()

    # ------------------------------------------------------------ requests

    def _request(
        self, call_id: int, body: list[object], payload: memoryview | None, caller: Caller
    ) -> None:
        """Run a handler. Hot: what goes wrong is looked into elsewhere."""
        if self._tasks:
            self._require_credit(call_id)
        number = body[0]
        form = self._server.forms.get(number) if type(number) is int else None
        if form is None:
            form = self._new_form(call_id, body)
            if form is None:
                return
        operation, handler, decode = form
        try:
            envelope, message = decode(body)
        except ProtocolError:
            self._refuse(call_id, body, operation)
            return
        if self._running >= RUNNING_MOST:
            failure = RemoteError(Code.NOT_READY, "too many cancelled calls have not ended yet")
            self._fail(call_id, operation.op, failure)
            return
        # `last_heard` is the time of this turn: asking the loop again costs 0.1 µs.
        deadline = self.last_heard + envelope.deadline_ms / 1000
        call = build(Call, (operation, envelope, message, payload, caller, deadline))
        try:
            result = handler(call)
            if not isinstance(result, Reply):
                self._start(call_id, call, result)
                return
            self._reply(call_id, operation.op, result)
        except RemoteError as exc:
            self._fail(call_id, operation.op, exc)
        except Exception:
            log.exception("the handler of %s failed", operation.op.name)
            self._fail(call_id, operation.op, BROKEN)
        self._give_back(payload)
        self._answered += 1
        if self._answered >= self._group and not self._holding:
            self._release()
            self._group *= 2

    def _require_credit(self, call_id: int) -> None:
        if len(self._tasks) >= CREDITS:
            raise ProtocolError(f"more than {CREDITS} calls are in flight")
        if call_id in self._tasks:
            raise ProtocolError(f"call {call_id} is already in flight")

    def _new_form(self, call_id: int, body: list[object]) -> Form | None:
        """The form of an operation that is requested first, or never existed."""
        if len(body) < ENVELOPE_FIELDS:
            raise ProtocolError("the request is shorter than an envelope")
        number = _envelope(body[:ENVELOPE_FIELDS]).operation
        operation = OPERATIONS.get(number)
        handler = None if operation is None else self._server.handlers.get(operation.op)
        if operation is None or handler is None:
            failure = RemoteError(Code.UNKNOWN_OPERATION, "this node has no such operation")
            self._fail(call_id, number, failure)
            return None
        form = Form(operation, handler, decoder_of_both(Envelope, operation.request))
        self._server.forms[number] = form
        return form

    def _refuse(self, call_id: int, body: list[object], operation: Operation) -> None:
        """Say what is wrong with a request: a bad envelope ends the connection."""
        if len(body) < ENVELOPE_FIELDS:
            raise ProtocolError("the request is shorter than an envelope")
        _envelope(body[:ENVELOPE_FIELDS])
        try:
            decoder(operation.request)(body[ENVELOPE_FIELDS:])
        except ProtocolError as exc:
            self._fail(call_id, operation.op, RemoteError(Code.BAD_MESSAGE, str(exc)))

    def _start(self, call_id: int, call: Call, result: Awaitable[Reply]) -> None:
        task = self.loop.create_task(self._finish(call_id, call, result))
        self._tasks[call_id] = (task, call.operation)
        self._running += 1
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    async def _finish(self, call_id: int, call: Call, result: Awaitable[Reply]) -> None:
        try:
            async with asyncio.timeout_at(call.deadline if not call.operation.mutates else None):
                reply = await result
            self._reply(call_id, call.operation.op, reply)
        except RemoteError as exc:
            self._fail(call_id, call.operation.op, exc)
        except TimeoutError:
            failure = RemoteError(Code.UNAVAILABLE, "the deadline passed inside the node")
            self._fail(call_id, call.operation.op, failure)
        except Exception:
            log.exception("the handler of %s failed", call.operation.op.name)
            self._fail(call_id, call.operation.op, BROKEN)
        finally:
            self._running -= 1
            if self._tasks.get(call_id, (None,))[0] is asyncio.current_task():
                del self._tasks[call_id]
            self._give_back(call.payload)
            self._release()

    def _give_back(self, payload: memoryview | None) -> None:
        if payload is not None:
            self._server.buffers.give(payload)

    # ------------------------------------------------------------ replies

    def _reply(self, call_id: int, op: int, reply: Reply) -> None:
        message, payload, descriptors, done = reply
        self._hold_if_open()
        try:
            body = self._pack((op, *message))
            if not payload and not descriptors and done is None:
                self._outbox.add(encode(REPLY, call_id, body))
                return
            size = len(payload[0]) if len(payload) == 1 else sum(map(len, payload))
            head = encode(REPLY, call_id, body, size)
            if descriptors and not self.link.passes_descriptors:
                raise OSError(errno.EOPNOTSUPP, "descriptors are passed on unix sockets only")
        except Exception:
            for descriptor in descriptors:
                os.close(descriptor)
            if done is not None:
                done()
            raise
        if descriptors:
            self._outbox.add_bulk((head, *payload), len(head) + size, descriptors, done)
        else:
            self._outbox.add_with_payload(head, payload, size, done)

    def _fail(self, call_id: int, op: int, error: RemoteError) -> None:
        failure = Failure(
            int(error.code),
            _printable(error.text),
            error.path[:PATH_BYTES],
            error.node or self._server.identity.node_id,
            error.detail,
        )
        self._hold_if_open()
        self._outbox.add(encode(ERROR, call_id, self._pack((op, *failure))))

    def _hold_if_open(self) -> None:
        """What is answered while the gate's batch is open waits for it, not what was before."""
        gate = self._server.gate
        if gate is not None and not self._holding and gate.batch_open:
            self._outbox.send(self.link)
            self._holding = True

    def _release(self) -> None:
        """Send what this turn wrote, now or when the turn's transaction has committed."""
        self._answered = 0
        if self._holding:
            gate = self._server.gate
            assert gate is not None
            gate.on_commit(self._send_held)
        else:
            self._outbox.send(self.link)
        if self.ended is None:
            self.link.flush()

    def _send_held(self) -> None:
        if not self._holding:
            return
        self._holding = False
        self._release()
        if self.ended is None and self._backlog and self.link.waiting_bytes <= HIGH_WATER_BYTES:
            self.drained()

    def _pass_on(self) -> None:
        """What waits for the gate may be overtaken."""
        if not self._holding:
            super()._pass_on()

    # ------------------------------------------------------------ handshake and end

    def _greet(self, call_id: int, body: list[object]) -> None:
        envelope = _envelope(body[:ENVELOPE_FIELDS])
        fields = body[ENVELOPE_FIELDS:]
        try:
            if envelope.operation == Op.HELLO:
                hello = self._handshake.answer(decoder(Hello)(fields))
                self._reply(call_id, Op.HELLO, Reply(hello))
            elif envelope.operation == Op.PROVE:
                self._welcome(call_id, decoder(Prove)(fields))
            else:
                raise ProtocolError("the first frame of a connection is HELLO")
        except HandshakeError as exc:
            log.warning("refused %s: %s", self.link.peer.address, exc.reason)
            raise ProtocolError(exc.reason) from None

    def _welcome(self, call_id: int, prove: Prove) -> None:
        hello = self._handshake.check(prove)
        if prove.purpose == "descriptors" and not self.link.passes_descriptors:
            raise HandshakeError("descriptors are passed on unix sockets only")
        identity = self._server.identity
        self.caller = caller_of(hello, prove, self.link.peer, own_uid=os.geteuid())
        self._timer.cancel()
        self._reader.limits = LIMITS
        welcome = Welcome(
            identity.node_id,
            identity.cluster_id,
            identity.incarnation,
            identity.map_version(),
            CREDITS,
            identity.host,
            identity.unix_path,
            (),
        )
        self._reply(call_id, Op.PROVE, Reply(welcome))

    def _ended(self, reason: str) -> None:
        self._timer.cancel()
        self._server.connections.discard(self)
        for frame in self._backlog:
            self._give_back(frame.payload)
        self._backlog.clear()
        for task, operation in self._tasks.values():
            if not operation.mutates:
                self.loop.call_soon(task.cancel)


def _printable(text: str) -> str:
    """An error's text as its field takes it: a long path, or a name that is not UTF-8, in it."""
    return text[:TEXT_LENGTH].encode("utf-8", "backslashreplace").decode()[:TEXT_LENGTH]


_envelope = decoder(Envelope)
