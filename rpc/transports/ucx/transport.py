"""The transport: listens and connects by (ip, port), and says what UCX has to choose from."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable

from benchfs.rpc.transports.base import Listener, Peer, Receiver
from benchfs.rpc.transports.sockets import SocketTransport
from benchfs.rpc.transports.ucx import binding, context
from benchfs.rpc.transports.ucx import worker as workers
from benchfs.rpc.transports.ucx.introduction import NUMBER_BYTES, Card
from benchfs.rpc.transports.ucx.lifeline import Lifeline
from benchfs.rpc.transports.ucx.link import UcxLink
from benchfs.rpc.transports.ucx.worker import Worker

# A peer that has connected is introduced and says HELLO within this, and only so many may not
# have done so yet.
GREETING_SECONDS = 5.0
HALF_OPEN_MOST = 256
# UCX pairs the endpoints of two workers by their order: one worker makes those that this side
# asked for, the other those that it was asked for.
CONNECTING, LISTENING = "connecting", "listening"


class UcxListener:
    """A listening address; its connections are links once they have greeted."""

    address = ""

    def __init__(self, worker: Worker, secret: bytes, accept: Callable[[], Receiver]) -> None:
        self._worker = worker
        self._secret = secret
        self._accept = accept
        self._address = worker.address()
        self._listener: Listener | None = None
        self._half_open: dict[Lifeline, asyncio.TimerHandle] = {}
        self._closed = False

    async def open(self, address: str) -> None:
        """Listen. Raises OSError."""
        place = _with_scheme("tcp", address)
        self._listener = await SocketTransport().listen(place, self._lifeline)
        self.address = _with_scheme("ucx", self._listener.address)

    def _lifeline(self) -> Lifeline:
        """Of somebody who has connected to the port."""
        number = os.urandom(NUMBER_BYTES)

        def introduced(lifeline: Lifeline, card: Card) -> None:
            self._worker.take_hold()
            peer = Peer(_with_scheme("ucx", lifeline.peer_address))
            UcxLink(self._worker, peer, number, card, lifeline, greeted)

        def greeted(link: UcxLink | None) -> None:
            self._settled(lifeline)
            if link is not None and self._closed:
                link.abort()
            elif link is not None:
                link.attach(self._accept())

        card = Card(number, self._address)
        lifeline = Lifeline(self._secret, card, introduced, self._lost, connects=False)
        if len(self._half_open) >= HALF_OPEN_MOST:
            lifeline.close()
        else:
            timer = self._worker.loop.call_later(GREETING_SECONDS, lifeline.end, "it is too slow")
            self._half_open[lifeline] = timer
        return lifeline

    def _lost(self, lifeline: Lifeline, _: str) -> None:
        self._settled(lifeline)

    def _settled(self, lifeline: Lifeline) -> None:
        timer = self._half_open.pop(lifeline, None)
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._listener is not None:
            self._listener.close()
        for lifeline in list(self._half_open):
            lifeline.end("the node stops")
        self._worker.let_go()


class UcxTransport:
    """UCX by the system's library. Raises TransportUnavailableError where there is none.

    Which of its transports it uses is UCX's choice, within the environment's UCX_TLS.
    """

    name = "ucx"
    schemes = frozenset({"ucx"})

    def __init__(self, secret: bytes = b"") -> None:
        """`secret` is what both ends of a connection have to know."""
        self._secret = secret
        version = ".".join(map(str, binding.load().version))
        resources = ", ".join(context.resources()) or "nothing: see UCX_TLS"
        self.summary = f"ucx {version} (may use {resources})"

    def details(self) -> str:
        """The paths that UCX chose for the links there are, as `; links over tcp/lo (3)`."""
        chosen = workers.paths_of_all()
        each = ", ".join(f"{path} ({count})" for path, count in sorted(chosen.items()))
        return f"; links over {each}" if each else ""

    async def connect(self, address: str, receiver: Receiver) -> UcxLink:
        worker = workers.hold(CONNECTING)
        try:
            link = await self._meet(worker, address)
        finally:
            worker.let_go()  # the link holds it
        try:
            async with worker.turn(link.peer_worker):
                await link.hello()
        except BaseException:
            link.abort()
            raise
        link.attach(receiver)
        return link

    async def _meet(self, worker: Worker, address: str) -> UcxLink:
        """Connect by TCP and learn who is there. Raises OSError."""
        met: asyncio.Future[UcxLink] = worker.loop.create_future()
        number = os.urandom(NUMBER_BYTES)

        def introduced(lifeline: Lifeline, card: Card) -> None:
            worker.take_hold()
            link = UcxLink(worker, Peer(address), number, card, lifeline)
            if met.done():
                link.abort()
            else:
                met.set_result(link)

        def lost(_: Lifeline, reason: str) -> None:
            if not met.done():
                met.set_exception(ConnectionError(errno.ECONNRESET, reason, address))

        card = Card(number, worker.address())
        lifeline = Lifeline(self._secret, card, introduced, lost, connects=True)
        try:
            await SocketTransport().connect(_with_scheme("tcp", address), lifeline)
            return await met
        except BaseException:
            if met.done() and not met.cancelled() and met.exception() is None:
                met.result().abort()
            lifeline.close()
            raise

    async def listen(self, address: str, accept: Callable[[], Receiver]) -> UcxListener:
        worker = workers.hold(LISTENING)
        try:
            listener = UcxListener(worker, self._secret, accept)
            await listener.open(address)
        except BaseException:
            worker.let_go()
            raise
        return listener


def _with_scheme(scheme: str, address: str) -> str:
    """A ucx:// address as a tcp:// one, or the other way round. Raises OSError."""
    given, _, place = address.partition("://")
    if given not in {"ucx", "tcp"}:
        raise OSError(errno.EINVAL, "an address is ucx://ip:port", address)
    return f"{scheme}://{place}"
