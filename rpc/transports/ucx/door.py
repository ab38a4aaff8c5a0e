"""UCX's own listener, which introduced peers are let through to, and nobody else.

UCX 1.13 ends the process when 17 bytes that are not its own arrive at its listener. So its port is
any that is free, told only to peers that proved to be of the cluster, and the kernel drops what
comes to it from other hosts than theirs, and all while nobody is expected. (Listening only then
would not do: UCX ends the process, too, when a listener goes that somebody has half come in by.)
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchfs.rpc.transports.ucx import binding
from benchfs.rpc.transports.ucx.binding import Pointer, check
from benchfs.rpc.transports.ucx.owners import Ends
from benchfs.rpc.transports.ucx.worker import Worker

SO_ATTACH_FILTER = 26
# Of the kernel's packet filters: load a word of the network header, compare, answer.
_LOAD, _EQUAL, _ANSWER = 0x20, 0x15, 0x06
_NETWORK_HEADER = 0x100000000 - 0x100000
_ALL = 0xFFFFFFFF
# Where an IPv4 and an IPv6 header have the source address.
_SOURCES = {4: 12, 16: 8}


class Arrival:
    """A peer that has come in by the door and has not said whose link it is."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.endpoint: Pointer = None  # None: it belongs to a link, or has gone

    def claim(self, link: Ends) -> Pointer:
        """The endpoint, which is the link's from now on. None if it has gone."""
        endpoint, self.endpoint = self.endpoint, None
        if endpoint is not None:
            self._worker.give(endpoint, link)
        return endpoint

    def close(self) -> None:
        """Turn it away."""
        endpoint, self.endpoint = self.endpoint, None
        if endpoint is not None:
            self._worker.close(endpoint)

    def reached(self, owner: Ends | None) -> None: ...
    def arrived(self, header: bytes, data: bytes) -> None: ...
    def offered(self, header: bytes, rendezvous: Pointer, size: int) -> None: ...
    def failed(self, status: int) -> None: ...

    def handle(self) -> None:
        """It has failed."""
        self.close()


class Door:
    """A UCX listener at an address. Raises OSError."""

    def __init__(self, worker: Worker, ip: str) -> None:
        self._worker = worker
        self._expected: Counter[str] = Counter()  # by the IP they come from
        self._arrivals: list[Arrival] = []
        self._requests: list[Pointer] = []  # told by UCX, not handled yet
        ffi, lib = worker.ucx.ffi, worker.ucx.lib
        self._on_connection = ffi.callback("void(void *, void *)", self._requested)
        raw = ffi.new("unsigned char[]", binding.pack_address(ip, 0))
        parameters = ffi.new("ucp_listener_params_t *")
        parameters.field_mask = 1 | 4  # address and callback
        parameters.sockaddr.addr = raw
        parameters.sockaddr.addrlen = len(raw)
        parameters.ccb = self._on_connection
        place = ffi.new("void **")
        check(lib.ucp_listener_create(worker.handle, parameters, place), f"ucx://{ip}")
        self._handle = place[0]
        attributes = ffi.new("ucp_listener_attr_t *")
        attributes.field_mask = 1
        check(lib.ucp_listener_query(self._handle, attributes))
        _, self.port = binding.unpack_address(bytes(attributes.address))
        # UCX's socket once more, to tell the kernel from whom it may receive.
        self._sockets = list(_listening_sockets(ip, self.port))
        only_from([], self._sockets)
        worker.kick()

    def expect(self, peer_ip: str) -> None:
        """One more peer from there is on its way. Pair with `forget`."""
        self._expected[peer_ip] += 1
        only_from(list(self._expected), self._sockets)

    def forget(self, peer_ip: str) -> None:
        """The peer has come, or will not come any more."""
        self._expected[peer_ip] -= 1
        if not self._expected[peer_ip]:
            del self._expected[peer_ip]
        only_from(list(self._expected), self._sockets)
        if not self._expected:
            self._turn_away()

    def close(self) -> None:
        """Stop listening."""
        self.handle()
        self._turn_away()
        self._worker.ucx.lib.ucp_listener_destroy(self._handle)
        for one in self._sockets:
            one.close()

    def _turn_away(self) -> None:
        """End who has come in and belongs to no link."""
        arrivals, self._arrivals = self._arrivals, []
        for arrival in arrivals:
            arrival.close()

    def _requested(self, request: Pointer, _: Pointer) -> None:
        self._requests.append(request)
        self._worker.touch(self)

    def handle(self) -> None:
        """Accept those who have connected."""
        requests, self._requests = self._requests, []
        for request in requests:
            arrival = Arrival(self._worker)
            with contextlib.suppress(OSError):  # it has gone already
                arrival.endpoint = self._worker.accept(request, arrival)
                self._arrivals.append(arrival)


def only_from(peers: Sequence[str], listening: Sequence[socket.socket]) -> None:
    """Have the kernel drop what other hosts send to listening TCP sockets.

    Where no filter can be had all is as before.
    """
    program = b"".join(_filter([socket.inet_pton(_family(peer), peer) for peer in peers]))
    buffer = ctypes.create_string_buffer(program, len(program))
    instructions = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    for one in listening:
        with contextlib.suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, instructions)


def _filter(sources: Sequence[bytes]) -> Iterator[bytes]:
    """The filter's instructions: accept these source addresses."""
    for source in sources:
        words = struct.unpack(f"!{len(source) // 4}I", source)
        for number, word in enumerate(words):
            place = _NETWORK_HEADER + _SOURCES[len(source)] + 4 * number
            yield struct.pack("=HBBI", _LOAD, 0, 0, place)
            # Where it differs: on to the next address, behind the answer of this one.
            yield struct.pack("=HBBI", _EQUAL, 0, 2 * (len(words) - number) - 1, word)
        yield struct.pack("=HBBI", _ANSWER, 0, 0, _ALL)
    yield struct.pack("=HBBI", _ANSWER, 0, 0, 0)


def _listening_sockets(ip: str, port: int) -> Iterator[socket.socket]:
    """Those of this process at an address: UCX opened it and does not say which it is.

    They are the caller's to close. There are none where connections are made by RDMA.
    """
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if not str(entry.readlink()).startswith("socket:"):
                continue
            candidate = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:
            continue  # closed meanwhile
        if (
            candidate.family == _family(ip)
            and candidate.type == socket.SOCK_STREAM
            and candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            and candidate.getsockname()[1] == port
        ):
            yield candidate
        else:
            candidate.close()


def _family(ip: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in ip else socket.AF_INET
