"""A link over one UCX endpoint: greeting, both halves of the stream, and how it ends.

Its ends have met on a `Lifeline`. The side that connected goes in by the other's `Door` then and
says HELLO by UCX, the other takes the endpoint for the link and says WELCOME. A link that closes
sends what is queued and a FIN behind it, and ends when the peer has seen that: the end of a
connection may overtake its bytes.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from struct import error as StructError

from benchfs.rpc.transports.base import Peer, Receiver
from benchfs.rpc.transports.ucx import binding
from benchfs.rpc.transports.ucx.binding import Pointer, failure
from benchfs.rpc.transports.ucx.door import Arrival
from benchfs.rpc.transports.ucx.incoming import Incoming, StreamError
from benchfs.rpc.transports.ucx.introduction import Card
from benchfs.rpc.transports.ucx.lifeline import Lifeline
from benchfs.rpc.transports.ucx.outgoing import (
    CONFIRM,
    CREDIT,
    DATA,
    FIN,
    FIN_SEEN,
    HEADER,
    HELLO,
    OFFER,
    WELCOME,
    Outgoing,
)
from benchfs.rpc.transports.ucx.owners import Ends
from benchfs.rpc.transports.ucx.worker import GIVE_UP_SECONDS, Worker

# How long a closing link may still send what was queued.
LINGER_SECONDS = 1.0
PEER_CLOSED = "the peer closed the connection"

Greeted = Callable[["UcxLink | None"], None]


class UcxLink(Outgoing):
    """One endpoint, as a stream.

    On the listening side `greeted` is called once, with the link, or None when nothing comes of it.
    """

    def __init__(  # noqa: PLR0917 (one argument a part)
        self,
        worker: Worker,
        peer: Peer,
        number: bytes,
        card: Card,
        lifeline: Lifeline,
        greeted: Greeted | None = None,
    ) -> None:
        """`number` is this side's, `card` is the peer's. The worker is held for the link."""
        super().__init__(worker, card.number)
        self.peer = peer
        self.path = ""  # what UCX chose, as tcp/eth0; known once there is a receiver
        self._greeted = greeted
        self._welcomed: asyncio.Future[None] | None = None
        self._awaiting: Receiver | None = None  # the WELCOME
        self._incoming = Incoming(worker, self, self._credit)
        self._receiver: Receiver | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._lingers = False  # this side closes: what is queued is still sent
        self._fin_sent = False
        self._why: str | None = None  # to be ended, and why
        self._notes: list[tuple[int, int]] = []  # messages outside of the stream
        self._arrival: Arrival | None = None
        self._own_number = number
        self._lifeline = lifeline
        lifeline.on_lost = self._cut_off
        worker.expect(number, self)

    async def hello(self, ip: str, port: int, receiver: Receiver) -> None:
        """Connect to UCX's listener there, say HELLO and wait for the WELCOME.

        The side that connected does. Raises OSError. Cancelling leaves a link to be aborted.
        """
        if self._ended:
            raise ConnectionError(errno.ECONNRESET, self._why, self.peer.address)
        self._welcomed = self._worker.loop.create_future()
        self._awaiting = receiver
        try:
            self._endpoint = self._worker.connect(ip, port, self)
            header = HEADER.pack(self._peer_number, HELLO, 0, 0)
            flags = binding.AM_SEND_EAGER | binding.AM_SEND_REPLY
            self._worker.send(self._endpoint, header, b"", flags, self._noted)
            await self._welcomed
        except BaseException:
            self._welcomed = None
            raise

    def _welcome(self) -> None:
        if self._arrival is not None:
            self._endpoint = self._arrival.claim(self)
        greeted, self._greeted = self._greeted, None
        if self._endpoint is None or greeted is None:
            self._why = "the peer broke the link's rules: it did not come in by the door"
            return
        self._control(WELCOME, 0)
        greeted(self)

    def attach(self, receiver: Receiver) -> None:
        """Both ends have greeted: the link has its receiver now."""
        self._receiver = self._incoming.receiver = receiver
        self.path = self._worker.path(self._endpoint)
        receiver.connected(self)
        self._worker.touch(self)

    # ------------------------------------------------------------ what the worker notes

    def reached(self, owner: Ends | None) -> None:
        if isinstance(owner, Arrival) and self._arrival is None:
            self._arrival = owner

    def arrived(self, header: bytes, data: bytes) -> None:
        try:
            _, kind, number, value = HEADER.unpack(header)
            if kind == DATA:
                self._incoming.add_joined(number, data)
            elif kind == FIN:
                self._incoming.add(kind, number, data, None, len(data))
            else:
                self._notes.append((kind, value))
        except (StreamError, StructError) as exc:
            self._why = self._why or f"the peer broke the link's rules: {exc}"

    def offered(self, header: bytes, rendezvous: Pointer, size: int) -> None:
        try:
            if len(header) != HEADER.size:
                self._incoming.strays.append(rendezvous)
            _, kind, number, _ = HEADER.unpack(header)
            self._incoming.add(OFFER, number, b"", rendezvous, size)
            if kind != OFFER:
                raise StreamError(f"an offer of kind {kind}")
        except (StreamError, StructError) as exc:
            self._why = self._why or f"the peer broke the link's rules: {exc}"

    def failed(self, status: int) -> None:
        self._incoming.cut = True
        self._why = self._why or self._text(status)

    def _cut_off(self, _: Lifeline, reason: str) -> None:
        self._incoming.cut = True
        self._why = self._why or reason
        self._worker.touch(self)

    def _text(self, status: int) -> str:
        if status == binding.ERR_CONNECTION_RESET:
            return PEER_CLOSED
        return failure(status).strerror or ""

    # ------------------------------------------------------------ what follows from it

    def handle(self) -> None:
        if self._ended:
            return
        if self._notes:
            notes, self._notes = self._notes, []
            for kind, value in notes:
                self._note(kind, value)
                if self._is_over():
                    return
        self._incoming.pump()
        if self._is_over():
            return
        if self._why is None and self._incoming.failed:
            self._why = self._text(self._incoming.failed)
        if self._why is not None:
            self._end(self._why)
        elif self._lingers and self._incoming.fin_arrived:
            self._end(PEER_CLOSED)  # both close: neither reads on
        elif self._incoming.finished and self._closing is None:
            self._control(FIN_SEEN, 0)
            # The peer ends the connection now, and is the first to know that it has ended.
            self._closing = self._worker.loop.call_later(LINGER_SECONDS, self._end, PEER_CLOSED)

    def _is_over(self) -> bool:
        return self._ended

    def _note(self, kind: int, value: int) -> None:
        if kind == HELLO and self._greeted is not None:
            self._welcome()
        elif kind == WELCOME and self._welcomed is not None:
            welcomed, self._welcomed = self._welcomed, None
            if self._awaiting is not None and not welcomed.done():
                self.attach(self._awaiting)  # now: the endpoint may be gone in the next turn
                welcomed.set_result(None)
        elif kind == CREDIT:
            self._credited(value)
        elif kind == CONFIRM:
            self._incoming.confirm(value)
        elif kind == FIN_SEEN:
            self._end("this side closed the connection")
        else:
            self._why = f"the peer broke the link's rules: a message of kind {kind}"

    def _credit(self, size: int) -> None:
        if not self._ended:
            self._control(CREDIT, size)

    def _broken(self, status: int) -> None:
        self._why = self._why or self._text(status)
        self._worker.touch(self)

    def _report_drained(self) -> None:
        if not self._ended and self._receiver is not None:
            self._receiver.drained()

    # ------------------------------------------------------------ reading

    def pause_reading(self) -> None:
        self._incoming.paused = True

    def resume_reading(self) -> None:
        if self._incoming.paused and not self._ended and self._closing is None:
            self._incoming.paused = False
            self._worker.touch(self)

    def settle(self) -> None:
        if not self._incoming.settle():
            self._end("the peer did not go on with a transfer whose buffer was wanted back")

    def expect_descriptors(self) -> None:
        raise OSError(errno.EOPNOTSUPP, "descriptors are passed on unix sockets only")

    def take_descriptor(self) -> int | None:
        return None

    # ------------------------------------------------------------ ending

    def close(self) -> None:
        if self._ended or self._closing is not None:
            return
        self._lingers = True
        self._closing = self._worker.loop.call_later(LINGER_SECONDS, self.abort)
        self._incoming.paused = True
        self.waiting_bytes += 1  # the FIN, until it is seen
        self.flush()

    def _all_sent(self) -> None:
        if self._lingers and not self._fin_sent:
            self._fin_sent = True
            self._post(FIN, b"", binding.AM_SEND_EAGER, self._noted)

    def abort(self) -> None:
        self._end("this side closed the connection")

    def _end(self, reason: str) -> None:
        if self._ended:
            return
        self._ended = True
        if self._closing is not None:
            self._closing.cancel()
        worker, incoming = self._worker, self._incoming
        self._lifeline.close()
        incoming.refuse()
        worker.forget(self._own_number)
        if self._endpoint is not None:
            worker.close(self._endpoint)
        if incoming.under_way() or (self._offers and worker.handles_failure):
            worker.progress_until(self._has_buffers_back, GIVE_UP_SECONDS)
        self._take_back()
        greeted, self._greeted = self._greeted, None
        if greeted is not None:
            greeted(None)
        welcomed, self._welcomed = self._welcomed, None
        if welcomed is not None and not welcomed.done():
            problem = ConnectionError(errno.ECONNRESET, reason, self.peer.address)
            welcomed.set_exception(problem)
        if self._receiver is not None:
            self._receiver.lost(reason)
        worker.let_go()

    def _has_buffers_back(self) -> bool:
        under_way = any(map(self._worker.under_way, self._offers))
        return not under_way and not self._incoming.under_way()
