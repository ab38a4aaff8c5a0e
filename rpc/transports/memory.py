"""The `memory` engine: links inside one process, over the event loop, for tests and simulation.

What one flush hands over (whole frames) travels as one unit. A `MemoryNetwork` holds the
listeners by name and the faults: delay, loss and reordering of units, partitions between named
ends, cut connections. There is no clock but the loop's, and chance comes from one given source:
the same seed on the same loop gives the same run. It copies every unit: not made for speed.
"""

from __future__ import annotations

import asyncio
import errno
import heapq
import os
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from benchfs.rpc.transports.base import HIGH_WATER_BYTES, Buffer, Peer, Receiver

# What may be under way in one direction, like a socket's buffers; one larger unit goes alone.
WINDOW_BYTES = 1024 * 1024
# How long a closing link may still send what was queued.
LINGER_SECONDS = 1.0


class Faults(NamedTuple):
    """What happens to the units of one direction. The default: nothing."""

    delay: Callable[[random.Random], float] | None = None  # seconds, drawn for each unit
    loss: float = 0.0  # the share of units that never arrive
    reorder: float = 0.0  # the share of units that later ones overtake
    reorder_seconds: float = 0.01  # by how much they come late


class MemoryNetwork:
    """Named ends and what lies between them. `transport(name)` is one end's way in."""

    def __init__(self, rng: random.Random | None = None, faults: Faults | None = None) -> None:
        self.rng = random.Random(0) if rng is None else rng
        self._faults = Faults() if faults is None else faults
        self._faults_between: dict[tuple[str, str], Faults] = {}
        self._partitioned: set[frozenset[str]] = set()
        self._listeners: dict[str, MemoryListener] = {}
        self._links: dict[MemoryLink, None] = {}  # a set that keeps the order

    def transport(self, name: str) -> MemoryTransport:
        """The transport of the end called `name`: where its connections come from."""
        return MemoryTransport(self, name)

    def set_faults(self, faults: Faults, source: str = "", target: str = "") -> None:
        """From now on, of units from `source` to `target`; without them, of all others."""
        if source and target:
            self._faults_between[source, target] = faults
        else:
            self._faults = faults

    def partition(self, first: str, second: str) -> None:
        """Swallow what the two send each other, and refuse new connections between them."""
        self._partitioned.add(frozenset((first, second)))

    def heal(self, first: str, second: str) -> None:
        """End a partition. What was swallowed does not come back."""
        self._partitioned.discard(frozenset((first, second)))

    def cut(self, first: str, second: str) -> None:
        """Reset all connections between the two, at both ends."""
        for link in list(self._links):
            if {link.local, link.remote} == {first, second}:
                link.reset()

    # ------------------------------------------------------------ for links

    def faults(self, source: str, target: str) -> Faults:
        """Of units from `source` to `target`."""
        return self._faults_between.get((source, target), self._faults)

    def partitioned(self, source: str, target: str) -> bool:
        """Whether the two cannot reach each other."""
        return bool(self._partitioned) and frozenset((source, target)) in self._partitioned

    def join(self, link: MemoryLink) -> None:
        """A link came up."""
        self._links[link] = None

    def leave(self, link: MemoryLink) -> None:
        """A link ended."""
        self._links.pop(link, None)

    def bind(self, name: str, listener: MemoryListener) -> None:
        """Raises OSError when somebody else listens as `name`."""
        if name in self._listeners:
            raise OSError(errno.EADDRINUSE, "somebody else listens on the address", f"mem://{name}")
        self._listeners[name] = listener

    def unbind(self, name: str) -> None:
        """Nobody listens as `name` any more."""
        self._listeners.pop(name, None)

    def listener(self, source: str, name: str) -> MemoryListener:
        """Who listens as `name`, as far as `source` can reach it. Raises ConnectionRefusedError."""
        found = self._listeners.get(name)
        if found is None or self.partitioned(source, name):
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        return found


class _Unit(NamedTuple):
    """What one flush handed over, still at the sender."""

    buffers: list[Buffer]
    size: int
    thens: list[Callable[[], None]]


class _Way:
    """One direction of a connection: units under way, in the order in which they will arrive."""

    def __init__(self, loop: asyncio.AbstractEventLoop, source: MemoryLink, target: MemoryLink):
        self._loop = loop
        self._source = source
        self._target = target
        self._under_way: list[tuple[float, int, bytes | None]] = []  # due, number, None: the end
        self._number = 0
        self._in_order_due = 0.0  # of the last unit that keeps its place
        self._last_due = 0.0
        self._timer: asyncio.Handle | None = None
        self.bytes = 0  # sent, not yet received or lost

    def send(self, data: bytes | None) -> None:
        """Send a unit, or the end of the stream."""
        network = self._source.network
        faults, now = network.faults(self._source.local, self._source.remote), self._loop.time()
        delay = faults.delay(network.rng) if faults.delay is not None else 0.0
        if data is None:
            due = max(now + delay, self._last_due)
        else:
            self.bytes += len(data)
            if faults.loss and network.rng.random() < faults.loss:
                self._loop.call_soon(self.taken, len(data))
                return
            if faults.reorder and network.rng.random() < faults.reorder:
                due = max(now + delay, self._in_order_due) + faults.reorder_seconds
            else:
                due = self._in_order_due = max(now + delay, self._in_order_due)
        self._last_due = max(self._last_due, due)
        self._number += 1
        heapq.heappush(self._under_way, (due, self._number, data))
        self._wait()

    def taken(self, count: int) -> None:
        """The receiver has taken `count` bytes, or they were lost: there is room for more."""
        self.bytes -= count
        self._loop.call_soon(self._source.pump)

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = self._under_way[0][0]
        if due <= self._loop.time():
            self._timer = self._loop.call_soon(self._arrive)
        else:
            self._timer = self._loop.call_at(due, self._arrive)

    def _arrive(self) -> None:
        self._timer = None
        now = max(self._under_way[0][0], self._loop.time())
        while self._under_way and self._under_way[0][0] <= now:
            _due, _number, data = heapq.heappop(self._under_way)
            if not self._source.network.partitioned(self._source.local, self._source.remote):
                self._target.arrived(data)
            elif data is not None:
                self.taken(len(data))
        if self._under_way:
            self._wait()


class MemoryLink:
    """One end of a connection inside the process."""

    def __init__(
        self,
        network: MemoryNetwork,
        loop: asyncio.AbstractEventLoop,
        receiver: Receiver,
        local: str,
        remote: str,
    ) -> None:
        self.network = network
        self.local = local
        self.remote = remote
        self.peer = Peer(f"mem://{remote}")
        self.waiting_bytes = 0
        self._loop = loop
        self._receiver = receiver
        self._out: _Way
        self._in: _Way
        self._other: MemoryLink
        self._unflushed = _Unit([], 0, [])
        self._units: deque[_Unit] = deque()
        self._inbox: deque[memoryview | None] = deque()  # None: the peer has ended the stream
        self._feeding = False
        self._over = False
        self._paused = False
        self._closing: asyncio.TimerHandle | None = None
        self._ended = False

    def join(self, other: MemoryLink, way_out: _Way, way_in: _Way) -> None:
        """Become one end of a connection with `other`."""
        self._other, self._out, self._in = other, way_out, way_in
        self.network.join(self)
        self._receiver.connected(self)

    # ------------------------------------------------------------ receiving

    def arrived(self, data: bytes | None) -> None:
        """A unit, or the end of the stream, has come from the other end."""
        if self._ended:
            if data is not None:
                self._loop.call_soon(self._other.reset)
            return
        self._inbox.append(None if data is None else memoryview(data))
        self._feed()

    def _feed(self) -> None:
        if self._feeding:
            return
        self._feeding = True
        try:
            while self._inbox and not self._paused and not self._ended:
                unit = self._inbox[0]
                if unit is None:
                    self._end("the peer closed the connection")
                    break
                buffer = self._receiver.get_buffer()
                count = min(len(buffer), len(unit))
                buffer[:count] = unit[:count]
                if count < len(unit):
                    self._inbox[0] = unit[count:]
                else:
                    self._inbox.popleft()
                self._in.taken(count)
                self._receiver.received(count)
        finally:
            self._feeding = False

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        if self._paused and self._closing is None:
            self._paused = False
            self._loop.call_soon(self._feed)

    def expect_descriptors(self) -> None:
        raise OSError(errno.EOPNOTSUPP, "descriptors are passed on unix sockets only")

    def take_descriptor(self) -> int | None:
        return None

    # ------------------------------------------------------------ sending

    def write(
        self,
        buffers: Sequence[Buffer],
        *,
        descriptors: Sequence[int] = (),
        then: Callable[[], None] | None = None,
    ) -> None:
        if descriptors:
            raise OSError(errno.EOPNOTSUPP, "descriptors are passed on unix sockets only")
        if self._ended:
            if then is not None:
                then()
            return
        size = sum(map(len, buffers))
        unit = self._unflushed
        unit.buffers.extend(buffers)
        if then is not None:
            unit.thens.append(then)
        self._unflushed = unit._replace(size=unit.size + size)
        self.waiting_bytes += size
        if self.waiting_bytes > HIGH_WATER_BYTES:
            self._over = True

    def flush(self) -> None:
        if self._unflushed.buffers or self._unflushed.thens:
            self._units.append(self._unflushed)
            self._unflushed = _Unit([], 0, [])
        self.pump()

    def pump(self) -> None:
        """Send units while there is room on the way."""
        while self._units and not self._ended:
            size = self._units[0].size
            if self._out.bytes and self._out.bytes + size > WINDOW_BYTES:
                break
            unit = self._units.popleft()
            if size:
                self._out.send(b"".join(unit.buffers))
            self.waiting_bytes -= size
            for then in unit.thens:
                then()
        if self._over and self.waiting_bytes < HIGH_WATER_BYTES // 2 and not self._ended:
            self._over = False
            self._loop.call_soon(self._report_drained)
        if self._closing is not None and not self._units:
            self.abort()

    def _report_drained(self) -> None:
        if not self._ended:
            self._receiver.drained()

    # ------------------------------------------------------------ ending

    def close(self) -> None:
        if self._ended or self._closing is not None:
            return
        self._closing = self._loop.call_later(LINGER_SECONDS, self.abort)
        self._paused = True
        self.flush()

    def abort(self) -> None:
        if not self._ended:
            self._out.send(None)
            self._end("this side closed the connection")

    def reset(self) -> None:
        """End the link as a broken connection does: what was under way to it is lost."""
        self._end(os.strerror(errno.ECONNRESET))

    def _end(self, reason: str) -> None:
        if self._ended:
            return
        self._ended = True
        self.network.leave(self)
        if self._closing is not None:
            self._closing.cancel()
        self.waiting_bytes = 0
        units = [*self._units, self._unflushed]
        self._units.clear()
        self._inbox.clear()
        for unit in units:
            for then in unit.thens:
                then()
        self._receiver.lost(reason)


class MemoryListener:
    """A name where connections arrive."""

    def __init__(self, network: MemoryNetwork, name: str, accept: Callable[[], Receiver]) -> None:
        self.address = f"mem://{name}"
        self.accept = accept
        self._network = network
        self._name = name
        self._closed = False
        network.bind(name, self)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._network.unbind(self._name)


class MemoryTransport:
    """One end of a MemoryNetwork; see the module's docstring."""

    name = "memory"
    schemes = frozenset({"mem"})

    def __init__(self, network: MemoryNetwork, end: str) -> None:
        self._network = network
        self._end = end

    async def connect(self, address: str, receiver: Receiver) -> MemoryLink:
        loop = asyncio.get_running_loop()
        network, source, target = self._network, self._end, _name(address)
        delay = network.faults(source, target).delay
        await asyncio.sleep(0.0 if delay is None else delay(network.rng))
        listener = network.listener(source, target)
        here = MemoryLink(network, loop, receiver, source, target)
        there = MemoryLink(network, loop, listener.accept(), target, source)
        way, way_back = _Way(loop, here, there), _Way(loop, there, here)
        there.join(here, way_back, way)
        here.join(there, way, way_back)
        return here

    async def listen(self, address: str, accept: Callable[[], Receiver]) -> MemoryListener:
        return MemoryListener(self._network, _name(address), accept)


def _name(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme != "mem" or not parts.netloc:
        raise OSError(errno.EINVAL, "an address of this transport is mem://name", address)
    return parts.netloc
