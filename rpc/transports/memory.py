"""The `memory` engine: links inside one process, for tests and simulation.

A `MemoryNetwork` holds the listeners by name (mem://name) and injects faults from a seeded
random source: delay, loss, overtaking, partition and heal, cut. What one flush hands over is
the unit of delivery. There is no clock but the loop's, so a simulated loop makes runs repeat.

A link stays an ordered stream whatever happens: units of different links overtake each other,
those of one link never do; a lost unit ends its link, since a stream with a hole is none.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from benchfs.rpc.transports.base import HIGH_WATER_BYTES, Buffer, Peer, Receiver

# What may be under way in one direction before the sender must wait, as in a socket's buffers.
WINDOW_BYTES = 1024 * 1024
LINGER_SECONDS = 1.0


class Faults(NamedTuple):
    """What happens to units on their way. Seconds and probabilities."""

    delay_least: float = 0.0
    delay_most: float = 0.0
    loss: float = 0.0  # that a unit is lost, and its link with it
    overtaken: float = 0.0  # that a unit waits `overtaken_seconds` more
    overtaken_seconds: float = 0.01


class MemoryNetwork:
    """All listeners and links of one process, and the faults between them."""

    def __init__(self, seed: int = 0, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.listeners: dict[str, MemoryListener] = {}
        self.links: dict[MemoryLink, None] = {}  # in the order in which they were made
        self.on_unit: Callable[[MemoryLink, int], None] | None = None  # sender, bytes handed over
        self._random = random.Random(seed)
        self._parted: list[tuple[frozenset[str], frozenset[str]]] = []
        self._healed: list[asyncio.Future[None]] = []

    def transport(self, name: str) -> MemoryTransport:
        """The network as the place `name` sees it: partitions are between names."""
        return MemoryTransport(self, name)

    def partition(self, some: Collection[str], others: Collection[str]) -> None:
        """Hold back all that goes between `some` and `others`, both ways, until `heal`."""
        self._parted.append((frozenset(some), frozenset(others)))

    def heal(self) -> None:
        """Undo all partitions: what was held back arrives."""
        self._parted.clear()
        healed, self._healed = self._healed, []
        for future in healed:
            if not future.done():
                future.set_result(None)
        for link in list(self.links):
            link.inbound.go_on()

    def cut(self, some: Collection[str], others: Collection[str]) -> None:
        """End all links between `some` and `others`; what is under way is lost."""
        for link in list(self.links):
            if link.here in some and link.there in others:
                link.break_both("the connection was cut")

    def parted(self, one: str, other: str) -> bool:
        """Whether nothing passes between the two names."""
        return any((one in a and other in b) or (one in b and other in a) for a, b in self._parted)

    async def until_healed(self) -> None:
        """Wait for `heal`."""
        future = asyncio.get_running_loop().create_future()
        self._healed.append(future)
        await future

    def delay(self) -> float:
        """Seconds that the next unit takes."""
        faults = self.faults
        delay = faults.delay_least
        if faults.delay_most > faults.delay_least:
            delay = self._random.uniform(faults.delay_least, faults.delay_most)
        if faults.overtaken and self._random.random() < faults.overtaken:
            delay += faults.overtaken_seconds
        return delay

    def loses(self) -> bool:
        """Whether the next unit is lost."""
        return bool(self.faults.loss) and self._random.random() < self.faults.loss


class _Unit:
    """What one flush handed over; `end` tells that nothing follows."""

    __slots__ = ("data", "descriptors", "due", "end")

    def __init__(self, data: bytes, descriptors: tuple[int, ...], due: float, end: bool) -> None:
        self.data = memoryview(data)
        self.descriptors = descriptors
        self.due = due
        self.end = end


class _Inbound:
    """One direction of a link: the units on their way to `link`, in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop, link: MemoryLink) -> None:
        self.bytes = 0  # handed over by the sender and not yet received
        self._loop = loop
        self._link = link
        self._units: deque[_Unit] = deque()
        self._handle: asyncio.Handle | None = None
        self._last_due = 0.0

    def put(self, data: bytes, descriptors: tuple[int, ...] = (), end: bool = False) -> None:
        delay = self._link.network.delay()
        due = self._last_due = max(self._last_due, self._loop.time() + delay)
        self._units.append(_Unit(data, descriptors, due, end))
        self.bytes += len(data)
        self.go_on()

    def go_on(self) -> None:
        """Have the first unit delivered when it is due, unless something holds it back."""
        link = self._link
        if self._handle is not None or not self._units or not link.takes():
            return
        wait = self._units[0].due - self._loop.time()
        if wait > 0:
            self._handle = self._loop.call_later(wait, self._deliver)
        else:
            self._handle = self._loop.call_soon(self._deliver)

    def clear(self) -> None:
        """Forget all units."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        for unit in self._units:
            _close_all(unit.descriptors)
        self._units.clear()
        self.bytes = 0

    def _deliver(self) -> None:
        self._handle = None
        link = self._link
        if not link.takes():
            return  # this came up while the delivery was due
        unit = self._units[0]
        descriptors, unit.descriptors = unit.descriptors, ()
        link.take_over(descriptors)
        while unit.data and link.takes():
            buffer = link.receiver.get_buffer()
            count = min(len(buffer), len(unit.data))
            buffer[:count] = unit.data[:count]
            unit.data = unit.data[count:]
            self.bytes -= count
            link.receiver.received(count)
        if link.has_ended():
            return
        if not unit.data:
            self._units.popleft()
            if unit.end:
                link.end("the peer closed the connection")
                return
        link.peer_link.room()
        self.go_on()


class MemoryLink:
    """One end of a link."""

    peer_link: MemoryLink

    def __init__(self, network: MemoryNetwork, here: str, there: str, receiver: Receiver) -> None:
        self._loop = asyncio.get_running_loop()
        self.network = network
        self.here = here
        self.there = there
        self.peer = Peer(f"mem://{there}")
        self.receiver = receiver
        self.waiting_bytes = 0
        self.passes_descriptors = True
        self.paused = False
        self.ended = False
        self.inbound = _Inbound(self._loop, self)
        self._queue: deque[Buffer | tuple[int, ...] | Callable[[], None]] = deque()
        self._over = False
        self._full = False  # the peer must receive before more can be handed over
        self._sending = False
        self._closing: asyncio.TimerHandle | None = None
        self._expects = False
        self._descriptors: deque[int] = deque()
        network.links[self] = None

    # ------------------------------------------------------------ receiving

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        if self.paused and not self.ended and self._closing is None:
            self.paused = False
            self.inbound.go_on()

    def takes(self) -> bool:
        """Whether a unit may arrive now."""
        return not (self.paused or self.ended or self.network.parted(self.here, self.there))

    def has_ended(self) -> bool:
        """Whether this side is over."""
        return self.ended

    def settle(self) -> None:
        """Nothing to do: bytes are copied only when the receiver is asked for its buffer."""

    def expect_descriptors(self) -> None:
        self._expects = True

    def take_descriptor(self) -> int | None:
        return self._descriptors.popleft() if self._descriptors else None

    def take_over(self, descriptors: tuple[int, ...]) -> None:
        """Descriptors arrive; nobody expects them: they are closed, as the kernel does."""
        if self._expects:
            self._descriptors.extend(descriptors)
        else:
            _close_all(descriptors)

    # ------------------------------------------------------------ sending

    def write(
        self,
        buffers: Sequence[Buffer],
        *,
        descriptors: Sequence[int] = (),
        then: Callable[[], None] | None = None,
    ) -> None:
        if self.ended:
            _close_all(descriptors)
            if then is not None:
                then()
            return
        if descriptors:
            self._queue.append(tuple(descriptors))
        self._queue.extend(buffers)
        if then is not None:
            self._queue.append(then)
        self.waiting_bytes += sum(map(len, buffers))
        if self.waiting_bytes > HIGH_WATER_BYTES:
            self._over = True

    def flush(self) -> None:
        if not self._full and not self.ended:
            self._send()

    def room(self) -> None:
        """The peer received something: hand over more."""
        if self._full and not self.ended and self._way.bytes <= WINDOW_BYTES // 2:
            self._full = False
            self._send()

    @property
    def _way(self) -> _Inbound:
        return self.peer_link.inbound

    def _send(self) -> None:
        """Hand over a unit: all that is queued, as far as the window takes it."""
        if self._sending:
            return  # a `then` flushed; the loop below goes on with the queue
        self._sending = True
        try:
            while self._queue and not self.ended and not self._full:
                self._send_unit()
        finally:
            self._sending = False
        if self.ended:
            return
        if self._over and self.waiting_bytes < HIGH_WATER_BYTES // 2:
            self._over = False
            self._loop.call_soon(self._report_drained)
        if self._closing is not None and not self._queue:
            self.abort()

    def _send_unit(self) -> None:
        queue, room = self._queue, WINDOW_BYTES - self._way.bytes
        pieces: list[bytes] = []
        descriptors: tuple[int, ...] = ()
        calls: list[Callable[[], None]] = []
        while queue and room > 0:
            item = queue.popleft()
            if isinstance(item, tuple):
                if pieces or descriptors:  # they go with the first byte of what follows
                    queue.appendleft(item)
                    break
                descriptors = item
            elif callable(item):
                calls.append(item)
            else:
                if len(item) > room:
                    queue.appendleft(memoryview(item)[room:])
                    item = memoryview(item)[:room]
                pieces.append(bytes(item))
                room -= len(item)
        self._full = room <= 0
        data = b"".join(pieces)
        self.waiting_bytes -= len(data)
        if self.network.on_unit is not None:
            self.network.on_unit(self, len(data))
        if self.peer_link.ended:
            _close_all(descriptors)  # the news of its end is on the way
        elif self.network.loses():
            _close_all(descriptors)
            self._loop.call_soon(self.break_both, "a unit was lost")
        elif data or descriptors:
            self._way.put(data, descriptors)
        for call in calls:
            call()

    def _report_drained(self) -> None:
        if not self.ended:
            self.receiver.drained()

    # ------------------------------------------------------------ ending

    def close(self) -> None:
        if self.ended or self._closing is not None:
            return
        self._closing = self._loop.call_later(LINGER_SECONDS, self.abort)
        self.pause_reading()
        if not self._full:
            self._send()
        if not self._queue:
            self.abort()

    def abort(self) -> None:
        if not self.ended:
            if not self.peer_link.ended:
                self._way.put(b"", end=True)
            self.end("this side closed the connection")

    def break_both(self, reason: str) -> None:
        """End both ends now; what is under way is lost."""
        for link in (self, self.peer_link):
            link.inbound.clear()
            link.end(reason)

    def end(self, reason: str) -> None:
        """End this side. Idempotent."""
        if self.ended:
            return
        self.ended = True
        self.network.links.pop(self, None)
        if self._closing is not None:
            self._closing.cancel()
        self.inbound.clear()
        self.waiting_bytes = 0
        queue, self._queue = self._queue, deque()
        for item in queue:
            if isinstance(item, tuple):
                _close_all(item)
            elif callable(item):
                item()
        _close_all(self._descriptors)
        self._descriptors.clear()
        self.receiver.lost(reason)


class MemoryListener:
    """A name that can be connected to."""

    def __init__(self, network: MemoryNetwork, name: str, accept: Callable[[], Receiver]) -> None:
        self.address = f"mem://{name}"
        self.accept = accept
        self._network = network
        self._name = name

    def close(self) -> None:
        if self._network.listeners.get(self._name) is self:
            del self._network.listeners[self._name]


class MemoryTransport:
    """A `MemoryNetwork` seen from one name."""

    name = "memory"
    schemes = frozenset({"mem"})

    def __init__(self, network: MemoryNetwork, here: str = "client") -> None:
        self.network = network
        self.here = here

    async def connect(self, address: str, receiver: Receiver) -> MemoryLink:
        name = _name(address)
        loop = asyncio.get_running_loop()
        arrived = None
        while arrived is None or self.network.parted(self.here, name):
            while self.network.parted(self.here, name):
                await self.network.until_healed()
            arrived = loop.create_future()
            timer = loop.call_later(self.network.delay(), arrived.set_result, None)
            try:
                await arrived
            finally:
                timer.cancel()
        listener = self.network.listeners.get(name)
        if listener is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens there", address)
        ours = MemoryLink(self.network, self.here, name, receiver)
        theirs = MemoryLink(self.network, name, self.here, listener.accept())
        ours.peer_link, theirs.peer_link = theirs, ours
        theirs.receiver.connected(theirs)
        receiver.connected(ours)
        return ours

    async def listen(self, address: str, accept: Callable[[], Receiver]) -> MemoryListener:
        name = _name(address)
        if name in self.network.listeners:
            raise OSError(errno.EADDRINUSE, "somebody listens there already", address)
        listener = self.network.listeners[name] = MemoryListener(self.network, name, accept)
        return listener


def _name(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme != "mem" or not parts.netloc:
        raise OSError(errno.EINVAL, "an address in memory is mem://name", address)
    return parts.netloc


def _close_all(descriptors: Collection[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
