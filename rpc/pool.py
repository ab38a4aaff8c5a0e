"""The connection pool: one multiplexed connection per peer and purpose, made when needed.

Small calls, bulk transfers and passed descriptors have connections of their own, so that
4 MiB never stand in front of a stat. A peer's unix socket is tried before TCP when it is on
this host. After a failure the next attempt waits about 20 ms, doubling up to a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from benchfs.rpc.connection import Connection
from benchfs.rpc.errors import ConnectionLostError, HandshakeError, RpcError, TurnedAwayError
from benchfs.rpc.handshake import NONCE_BYTES, ClientHandshake
from benchfs.rpc.transports.base import Transport

BACKOFF_FIRST_SECONDS = 0.02
BACKOFF_MOST_SECONDS = 1.0


class Peer(NamedTuple):
    """Where a node can be reached; `node_id` may be empty before the first HELLO."""

    node_id: str
    addresses: tuple[str, ...]


class Credentials(NamedTuple):
    """What this client shows in HELLO."""

    secret: bytes
    client_id: bytes  # 16 bytes: the session
    role: str
    uid: int
    gid: int
    token_bytes: Callable[[int], bytes]
    groups: tuple[int, ...] = ()  # supplementary


class _Key(NamedTuple):
    peer: str
    purpose: str


class _Failing:
    """A peer that could not be reached: when to try again."""

    __slots__ = ("delay", "reason", "until")

    def __init__(self) -> None:
        self.delay = BACKOFF_FIRST_SECONDS
        self.until = 0.0
        self.reason = ""


class Pool:
    """Connections of one client. All methods belong to the event loop's thread."""

    def __init__(
        self,
        transports: Callable[[str], Transport],
        credentials: Credentials,
        prefers: str = "unix",
    ) -> None:
        """`transports` gives a scheme's, or raises OSError; `prefers` is the scheme tried first."""
        self._transports = transports
        self._prefers = prefers
        self._credentials = credentials
        self._ready: dict[_Key, Connection] = {}
        self._opening: dict[_Key, asyncio.Task[Connection]] = {}
        self._failing: dict[_Key, _Failing] = {}
        self._closed = False

    def ready(self, node_id: str, purpose: str) -> Connection | None:
        """The connection if there is one, without waiting: the fast path."""
        return self._ready.get(_Key(node_id, purpose))

    async def connect(self, peer: Peer, purpose: str, *, timeout: float) -> Connection:
        """The connection to `peer` for `purpose`, opened if necessary.

        Raises ConnectionLostError (nobody answers, with the reason of the last address tried;
        TurnedAwayError if that was crowded) or HandshakeError. When the backoff after a failure
        does not end within `timeout` seconds, waits that long and raises the failure.
        """
        key = _Key(peer.node_id or ",".join(peer.addresses), purpose)
        found = self._ready.get(key)
        if found is not None:
            return found
        if self._closed:
            raise ConnectionLostError("the client is closed", sent=False)
        opening = self._opening.get(key)
        if opening is None:
            opening = asyncio.get_running_loop().create_task(self._open(key, peer, timeout))
            self._opening[key] = opening
            opening.add_done_callback(lambda task: self._opened(key, task))
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.shield(opening)
        except TimeoutError:
            failing = self._failing.get(key)
            reason = f": {failing.reason}" if failing is not None and failing.reason else ""
            raise ConnectionLostError(
                f"no connection to {', '.join(peer.addresses)} within {timeout:.1f} s{reason}",
                sent=False,
            ) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if opening.cancelled() and task is not None and not task.cancelling():
                raise ConnectionLostError("the client is closed", sent=False) from None
            raise

    async def close(self) -> None:
        """Say goodbye on every connection and wait until they are gone."""
        self._closed = True
        opening = list(self._opening.values())
        for task in opening:
            task.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
        connections, self._ready = list(self._ready.values()), {}
        gone = []
        for connection in connections:
            event = asyncio.Event()
            connection.on_end = event.set
            connection.goodbye("the client is closing")
            if connection.ended is None:
                gone.append(event)
        try:
            for event in gone:  # a link that closes ends within a bounded time
                await event.wait()
        except asyncio.CancelledError:
            for connection in connections:
                connection.abort("the client is closing")
            raise

    # ------------------------------------------------------------ opening

    def _opened(self, key: _Key, task: asyncio.Task[Connection]) -> None:
        self._opening.pop(key, None)
        if not task.cancelled():
            task.exception()  # those who waited have it, if anybody still did

    async def _open(self, key: _Key, peer: Peer, timeout: float) -> Connection:
        loop = asyncio.get_running_loop()
        failing = self._failing.setdefault(key, _Failing())
        wait = failing.until - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        try:
            connection = await self._try_addresses(peer, key.purpose, timeout)
        except RpcError as exc:
            failing.reason = str(exc)
            failing.until = loop.time() + failing.delay * self._jitter()
            failing.delay = min(failing.delay * 2, BACKOFF_MOST_SECONDS)
            raise
        self._failing.pop(key, None)
        if self._closed:
            connection.goodbye("the client is closing")
            raise ConnectionLostError("the client is closed", sent=False)
        self._ready[key] = connection
        connection.on_end = lambda: self._forget(key, connection)
        if connection.ended is not None:
            self._forget(key, connection)
            raise ConnectionLostError(connection.ended, sent=False)
        return connection

    def _jitter(self) -> float:
        """1 to 2, so that those who lost a node together do not come back together."""
        return 1.0 + self._credentials.token_bytes(1)[0] / 255

    def _forget(self, key: _Key, connection: Connection) -> None:
        if self._ready.get(key) is connection:
            del self._ready[key]

    async def _try_addresses(self, peer: Peer, purpose: str, timeout: float) -> Connection:
        failure: RpcError = ConnectionLostError("the node has no address", sent=False)
        addresses = sorted(filter(self._serves, peer.addresses), key=self._preference)
        addresses = addresses or list(peer.addresses)
        if purpose == "descriptors":
            addresses = [address for address in addresses if urlsplit(address).scheme == "unix"]
        loop = asyncio.get_running_loop()
        give_up = loop.time() + timeout
        for number, address in enumerate(addresses):
            # An address that swallows everything leaves its share of the time to the others.
            share = (give_up - loop.time()) / (len(addresses) - number)
            try:
                connection = await self._connect(address, purpose, share)
            except OSError as exc:
                reason = exc.strerror or str(exc)
                failure = ConnectionLostError(f"{address}: {reason}", sent=False)
            except RpcError as exc:
                failure = exc
            else:
                assert connection.welcome is not None
                if not peer.node_id or connection.welcome.node_id == peer.node_id:
                    return connection
                other = connection.welcome.node_id
                connection.goodbye("this is another node")
                failure = HandshakeError(f"{address} is node {other}, not {peer.node_id}")
        raise failure

    def _serves(self, address: str) -> bool:
        """Whether this side has a transport for an address: a node may listen on more."""
        try:
            self._transports(urlsplit(address).scheme)
        except OSError:
            return False
        return True

    def _preference(self, address: str) -> int:
        """Then unix sockets: no TCP stack, and descriptors can be passed."""
        scheme = urlsplit(address).scheme
        return 0 if scheme == self._prefers else 1 if scheme == "unix" else 2

    async def _connect(self, address: str, purpose: str, timeout: float) -> Connection:
        loop = asyncio.get_running_loop()
        who = self._credentials
        connection = Connection(loop)
        transport = self._transports(urlsplit(address).scheme)
        try:
            async with asyncio.timeout(timeout):
                await transport.connect(address, connection)
                handshake = ClientHandshake(
                    who.secret, who.client_id, who.role, who.token_bytes(NONCE_BYTES)
                )
                await connection.greet(
                    handshake,
                    purpose,
                    uid=who.uid,
                    gid=who.gid,
                    groups=who.groups,
                    timeout=timeout,
                )
        except ConnectionLostError as exc:
            connection_abort(connection, "the handshake failed")
            raise TurnedAwayError(f"{address}: {exc.reason}") from exc
        except TimeoutError:
            connection_abort(connection, "connecting took too long")
            raise ConnectionLostError(f"{address}: connecting took too long", sent=False) from None
        except BaseException:
            connection_abort(connection, "the handshake failed")
            raise
        return connection


def connection_abort(connection: Connection, reason: str) -> None:
    """Abort a connection that may not have got its link yet."""
    if hasattr(connection, "link"):
        connection.abort(reason)
