"""The answering end of a node: where it listens, and all connections that it accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from benchfs.rpc.buffers import BufferPool
from benchfs.rpc.calls import Call, Caller, Gate, Handler, Reply
from benchfs.rpc.messages import Op
from benchfs.rpc.server_connection import Form, Identity, ServerConnection
from benchfs.rpc.transports.base import Listener, Transport

__all__ = ["Call", "Caller", "Gate", "Handler", "Identity", "Reply", "Server", "ServerConnection"]

# A peer that says nothing is asked after the first, and given up after the second.
IDLE_PING_SECONDS = 15.0
IDLE_DEAD_SECONDS = 45.0


class Server:
    """All connections of one node."""

    def __init__(
        self,
        identity: Identity,
        handlers: Mapping[Op, Handler],
        buffers: BufferPool,
        gate: Gate | None = None,
    ) -> None:
        self.identity = identity
        self.handlers = handlers
        self.forms: dict[int, Form] = {}  # by operation number, made at its first request
        self.buffers = buffers
        self.gate = gate
        self.connections: set[ServerConnection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.on_requests: Callable[[], None] | None = None
        """Called when some came, at the end of what need not wait."""
        self.addresses: list[str] = []
        self._listeners: list[Listener] = []
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    async def listen(self, transport: Transport, address: str) -> str:
        """Accept connections at `address`; returns it with the real port. Raises OSError."""
        listener = await transport.listen(address, self._accept)
        self._listeners.append(listener)
        self.addresses.append(listener.address)
        if self._timer is None:
            self._timer = self._loop.call_later(IDLE_PING_SECONDS, self._look)
        return listener.address

    async def close(self, grace: float) -> None:
        """Accept nothing more, let running calls finish for `grace` seconds, say goodbye."""
        for listener in self._listeners:
            listener.close()
        if self._timer is not None:
            self._timer.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=grace)
        for connection in list(self.connections):
            connection.goodbye("the node is stopping")
        for task in list(self.tasks):
            self._loop.call_soon(task.cancel)
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=grace + 1.0)
        while self.connections:
            await asyncio.sleep(0)
            for connection in list(self.connections):
                if connection.link.waiting_bytes == 0:
                    connection.abort("the node has stopped")
            grace -= 0.01
            if grace < 0:
                for connection in list(self.connections):
                    connection.abort("the node has stopped")
            await asyncio.sleep(0.01)

    def _accept(self) -> ServerConnection:
        connection = ServerConnection(self._loop, self)
        self.connections.add(connection)
        return connection

    def _look(self) -> None:
        now = self._loop.time()
        for connection in list(self.connections):
            silent = now - connection.last_heard
            if silent > IDLE_DEAD_SECONDS:
                connection.abort("the client has not answered a PING")
            elif silent > IDLE_PING_SECONDS:
                connection.ping()
        self._timer = self._loop.call_later(IDLE_PING_SECONDS, self._look)
