"""The TCP connection beside each link: the ends are introduced on it, and it ends with them.

It is what listens at a node's ucx:// address, so that strangers talk to this code and not to UCX.
After the introduction nothing is said on it any more: the kernel ends it at once when a process
dies, also where UCX would not notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable

from benchfs.rpc.transports.base import Link, Peer, Receiver
from benchfs.rpc.transports.sockets import MakeLink, SocketLink, SocketTransport
from benchfs.rpc.transports.ucx.introduction import (
    NONCE_BYTES,
    Card,
    Introduction,
    IntroductionError,
)

# All that a peer may say fits into a few of these.
_READ_BYTES = 4096


class Lifeline:
    """One end of it: the receiver of a link over TCP.

    `card` is asked for when it is shown, `met` is called when the peer is introduced; `on_lost`
    once, at the end, except after `close`.
    """

    def __init__(
        self,
        secret: bytes,
        card: Callable[[], Card],
        met: Callable[[Lifeline, Card], None],
        on_lost: Callable[[Lifeline, str], None],
        *,
        connects: bool,
    ) -> None:
        self.on_lost = on_lost
        self.peer_address = ""  # as tcp://ip:port
        self._met = met
        self._introduction = Introduction(secret, os.urandom(NONCE_BYTES), card, connects=connects)
        self._link: Link | None = None
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._over = False

    # ------------------------------------------------------------ what the connection tells

    def connected(self, link: Link) -> None:
        self._link = link
        self.peer_address = link.peer.address
        if self._over:
            link.abort()
        else:
            self._say(self._introduction.opening())

    def get_buffer(self) -> memoryview:
        return self._buffer

    def received(self, count: int) -> None:
        if self._over:
            return
        introduced = self._introduction.peer is not None
        try:
            self._say(self._introduction.receive(bytes(self._buffer[:count])))
        except (IntroductionError, OSError) as exc:
            self.end(str(exc))
            return
        peer = self._introduction.peer
        if peer is not None and not introduced:
            self._met(self, peer)

    def drained(self) -> None:
        """Nothing here is so long that it has to wait."""

    def lost(self, reason: str) -> None:
        self.end(reason)

    def _say(self, data: bytes) -> None:
        if data and self._link is not None:
            self._link.write([data])
            self._link.flush()

    # ------------------------------------------------------------ ending

    def end(self, reason: str) -> None:
        """End it, and have `on_lost` called with the reason. Idempotent."""
        if not self._over:
            self.close()
            self.on_lost(self, reason)

    def close(self) -> None:
        """End it. Idempotent."""
        self._over = True
        if self._link is not None:
            self._link.abort()


def _line(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, peer: Peer, receiver: Receiver
) -> SocketLink:
    """A link that knows where its peer is, on either side."""
    with contextlib.suppress(OSError):  # it has gone already
        host, port, *_ = sock.getpeername()
        peer = Peer(tcp_address(host, port))
    return SocketLink(loop, sock, peer, receiver)


class Lines(SocketTransport):
    """The TCP connections under lifelines."""

    make_link: MakeLink = staticmethod(_line)


def tcp_address(ip: str, port: int) -> str:
    """The URL of a TCP address."""
    return f"tcp://[{ip}]:{port}" if ":" in ip else f"tcp://{ip}:{port}"
