"""The transport: listens and connects by (ip, port), and says what UCX has to choose from."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Callable
from urllib.parse import urlsplit

from benchfs.rpc.transports.base import Listener, Peer, Receiver
from benchfs.rpc.transports.ucx import binding, context, descriptors
from benchfs.rpc.transports.ucx import worker as workers
from benchfs.rpc.transports.ucx.door import Door
from benchfs.rpc.transports.ucx.introduction import NUMBER_BYTES, Card
from benchfs.rpc.transports.ucx.lifeline import Lifeline, Lines, tcp_address
from benchfs.rpc.transports.ucx.link import UcxLink
from benchfs.rpc.transports.ucx.worker import Worker

log = logging.getLogger("benchfs.rpc")

# A peer that has connected is introduced and says HELLO within this, and only so many may not
# have done so yet.
GREETING_SECONDS = 5.0
HALF_OPEN_MOST = 256


class UcxListener:
    """A listening address; its connections are links once they have greeted."""

    address = ""

    def __init__(
        self, worker: Worker, secret: bytes, ip: str, accept: Callable[[], Receiver]
    ) -> None:
        self._worker = worker
        self._secret = secret
        self._accept = accept
        self._door = Door(worker, ip)
        self._listener: Listener | None = None
        self._half_open: dict[Lifeline, asyncio.TimerHandle] = {}
        self._expected: dict[Lifeline, str] = {}  # at the door, with the IP they come from
        self._closed = False

    async def open(self, address: str) -> None:
        """Listen. Raises OSError."""
        self._listener = await Lines().listen(address, self._lifeline)
        self.address = _with_scheme("ucx", self._listener.address)

    def _lifeline(self) -> Lifeline:
        """Of somebody who has connected to the port."""
        number = os.urandom(NUMBER_BYTES)

        def card() -> Card:
            ip = urlsplit(lifeline.peer_address).hostname or ""
            self._door.expect(ip)
            self._expected[lifeline] = ip
            return Card(number, self._door.port)

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

        lifeline = Lifeline(self._secret, card, introduced, self._lost, connects=False)
        if len(self._half_open) >= HALF_OPEN_MOST or not self._has_reserved():
            lifeline.close()
        else:
            timer = self._worker.loop.call_later(GREETING_SECONDS, lifeline.end, "it is too slow")
            self._half_open[lifeline] = timer
        return lifeline

    def _has_reserved(self) -> bool:
        try:
            descriptors.reserve()
        except OSError as exc:
            log.warning("a peer is turned away: %s", exc.strerror)
            return False
        return True

    def _lost(self, lifeline: Lifeline, _: str) -> None:
        self._settled(lifeline)

    def _settled(self, lifeline: Lifeline) -> None:
        timer = self._half_open.pop(lifeline, None)
        if timer is not None:
            timer.cancel()
            descriptors.release()
        ip = self._expected.pop(lifeline, None)
        if ip is not None:
            self._door.forget(ip)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._listener is not None:
            self._listener.close()
        for lifeline in list(self._half_open):
            lifeline.end("the node stops")
        self._door.close()
        self._worker.let_go()


class UcxTransport:
    """UCX by the system's library. Raises TransportUnavailableError where there is none.

    Which of its transports it uses is UCX's choice, within the environment's UCX_TLS.
    """

    name = "ucx"
    schemes = frozenset({"ucx"})

    def __init__(self, secret: bytes = b"", hold: Callable[[], Worker] = workers.hold) -> None:
        """`secret` is what both ends of a connection have to know."""
        self._secret = secret
        self._hold = hold
        version = ".".join(map(str, binding.load().version))
        resources = ", ".join(context.resources()) or "nothing: see UCX_TLS"
        self.summary = f"ucx {version} (may use {resources})"

    def details(self) -> str:
        """The paths that UCX chose for the links there are, as `; links over tcp/lo (3)`."""
        chosen = workers.paths_of_all()
        each = ", ".join(f"{path} ({count})" for path, count in sorted(chosen.items()))
        return f"; links over {each}" if each else ""

    async def connect(self, address: str, receiver: Receiver) -> UcxLink:
        ip, port = await _resolve(address)
        descriptors.reserve()
        try:
            return await self._connect(address, ip, port, receiver)
        finally:
            descriptors.release()

    async def _connect(self, address: str, ip: str, port: int, receiver: Receiver) -> UcxLink:
        worker = self._hold()
        try:
            link, listener_port = await self._meet(worker, address, ip, port)
        finally:
            worker.let_go()  # the link holds it
        try:
            await link.hello(ip, listener_port, receiver)
        except BaseException:
            link.abort()
            raise
        return link

    async def _meet(self, worker: Worker, address: str, ip: str, port: int) -> tuple[UcxLink, int]:
        """Connect by TCP and learn who is there, and where UCX listens. Raises OSError."""
        met: asyncio.Future[tuple[UcxLink, int]] = worker.loop.create_future()
        number = os.urandom(NUMBER_BYTES)

        def introduced(lifeline: Lifeline, card: Card) -> None:
            worker.take_hold()
            link = UcxLink(worker, Peer(address), number, card, lifeline)
            if met.done():
                link.abort()
            else:
                met.set_result((link, card.port))

        def lost(_: Lifeline, reason: str) -> None:
            if not met.done():
                met.set_exception(ConnectionError(errno.ECONNRESET, reason, address))

        own = Card(number, 0)
        lifeline = Lifeline(self._secret, lambda: own, introduced, lost, connects=True)
        try:
            await Lines().connect(tcp_address(ip, port), lifeline)
            return await met
        except BaseException:
            if met.done() and not met.cancelled() and met.exception() is None:
                met.result()[0].abort()
            lifeline.close()
            raise

    async def listen(self, address: str, accept: Callable[[], Receiver]) -> UcxListener:
        ip, port = await _resolve(address)
        worker = self._hold()
        try:
            listener = UcxListener(worker, self._secret, ip, accept)
        except OSError:
            worker.let_go()
            raise
        try:
            await listener.open(tcp_address(ip, port))
        except BaseException:
            listener.close()
            raise
        return listener


def _with_scheme(scheme: str, address: str) -> str:
    return f"{scheme}://{address.partition('://')[2]}"


async def _resolve(address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    if parts.scheme != "ucx" or parts.hostname is None or parts.port is None:
        raise OSError(errno.EINVAL, "an address is ucx://ip:port", address)
    infos = await asyncio.get_running_loop().getaddrinfo(parts.hostname, parts.port)
    return str(infos[0][4][0]), int(infos[0][4][1])
