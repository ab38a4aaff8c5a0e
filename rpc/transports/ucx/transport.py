"""The transport: listens and connects by (ip, port), and says what UCX has to choose from."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from urllib.parse import urlsplit

from benchfs.rpc.transports.base import Peer, Receiver
from benchfs.rpc.transports.ucx import binding, context
from benchfs.rpc.transports.ucx import worker as workers
from benchfs.rpc.transports.ucx.binding import Pointer, check
from benchfs.rpc.transports.ucx.link import UcxLink
from benchfs.rpc.transports.ucx.worker import Worker

# A peer that has connected says HELLO within this, and only so many may not have done so yet.
GREETING_SECONDS = 5.0
HALF_OPEN_MOST = 256


class UcxListener:
    """A listening address; its connections are links once they have greeted."""

    def __init__(self, worker: Worker, ip: str, port: int, accept: Callable[[], Receiver]) -> None:
        self._worker = worker
        self._accept = accept
        self._requests: list[Pointer] = []  # told by UCX, not handled yet
        self._half_open: dict[UcxLink, asyncio.TimerHandle] = {}
        self._closed = False
        ffi, lib = worker.ucx.ffi, worker.ucx.lib
        self._on_connection = ffi.callback("void(void *, void *)", self._requested)
        raw = ffi.new("unsigned char[]", binding.pack_address(ip, port))
        parameters = ffi.new("ucp_listener_params_t *")
        parameters.field_mask = 1 | 4  # address and callback
        parameters.sockaddr.addr = raw
        parameters.sockaddr.addrlen = len(raw)
        parameters.ccb = self._on_connection
        place = ffi.new("void **")
        check(lib.ucp_listener_create(worker.handle, parameters, place), f"ucx://{ip}:{port}")
        self._handle = place[0]
        attributes = ffi.new("ucp_listener_attr_t *")
        attributes.field_mask = 1
        check(lib.ucp_listener_query(self._handle, attributes))
        self.address = _url(*binding.unpack_address(bytes(attributes.address)))
        worker.kick()

    def _requested(self, request: Pointer, _: Pointer) -> None:
        self._requests.append(request)
        self._worker.touch(self)

    def handle(self) -> None:
        """Accept those who have connected."""
        requests, self._requests = self._requests, []
        for request in requests:
            if self._closed or len(self._half_open) >= HALF_OPEN_MOST:
                self._worker.ucx.lib.ucp_listener_reject(self._handle, request)
            else:
                self._take(request)

    def _take(self, request: Pointer) -> None:
        worker = self._worker
        attributes = worker.ucx.ffi.new("ucp_conn_request_attr_t *")
        attributes.field_mask = 1
        address = self.address
        if worker.ucx.lib.ucp_conn_request_query(request, attributes) == binding.OK:
            address = _url(*binding.unpack_address(bytes(attributes.address)))
        link = UcxLink(worker, Peer(address), self._greeted)
        try:
            endpoint = worker.accept(request, link)
        except OSError:
            return  # it has gone already
        worker.take_hold()
        link.start(endpoint)
        self._half_open[link] = worker.loop.call_later(GREETING_SECONDS, link.abort)

    def _greeted(self, link: UcxLink, problem: OSError | None) -> None:
        self._half_open.pop(link).cancel()
        if problem is None:
            if self._closed:
                link.abort()
            else:
                link.attach(self._accept())

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.handle()
        for link in list(self._half_open):
            link.abort()
        self._worker.ucx.lib.ucp_listener_destroy(self._handle)
        self._worker.let_go()


class UcxTransport:
    """UCX by the system's library. Raises TransportUnavailableError where there is none.

    Which of its transports it uses is UCX's choice, within the environment's UCX_TLS.
    """

    name = "ucx"
    schemes = frozenset({"ucx"})

    def __init__(self, hold: Callable[[], Worker] = workers.hold) -> None:
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
        worker = self._hold()
        ready: asyncio.Future[None] = worker.loop.create_future()

        def greeted(_: UcxLink, problem: OSError | None) -> None:
            if ready.done():
                return
            if problem is None:
                ready.set_result(None)
                link.attach(receiver)
            else:
                ready.set_exception(problem)

        link = UcxLink(worker, Peer(address), greeted)
        try:
            link.start(worker.connect(ip, port, link))
        except OSError:
            worker.let_go()
            raise
        link.hello()
        try:
            await ready
        except asyncio.CancelledError:
            link.abort()
            raise
        return link

    async def listen(self, address: str, accept: Callable[[], Receiver]) -> UcxListener:
        ip, port = await _resolve(address)
        worker = self._hold()
        try:
            return UcxListener(worker, ip, port, accept)
        except OSError:
            worker.let_go()
            raise


def _url(ip: str, port: int) -> str:
    return f"ucx://[{ip}]:{port}" if ":" in ip else f"ucx://{ip}:{port}"


async def _resolve(address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    if parts.scheme != "ucx" or parts.hostname is None or parts.port is None:
        raise OSError(errno.EINVAL, "an address is ucx://ip:port", address)
    infos = await asyncio.get_running_loop().getaddrinfo(parts.hostname, parts.port)
    return str(infos[0][4][0]), int(infos[0][4][1])
