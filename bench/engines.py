"""The engines alone, without frames and messages: `python -m benchfs.bench.engines`.

One process serves replies over a unix socket, this one asks: 4 KiB with 32 and with 1 in flight,
4 MiB with 2. Engines are asyncio's stream transport (`BufferedProtocol`), `sockets` and `uring`;
loops are asyncio's, uvloop, and asyncio's with the ring for its selector, where one system call
a turn submits, waits and reaps. Both processes are on one CPU: there the CPU time of a call is
what counts, and it is the figure that other work on the machine disturbs least. Medians of 5.
See docs/decisions/001-sockets-engine.md and 004-uring-engine.md.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import multiprocessing
import os
import select
import selectors
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import uvloop

from benchfs.bench.processes import cpu_seconds
from benchfs.rpc import ring as rings
from benchfs.rpc.transports.base import Buffer, Link, Transport
from benchfs.rpc.transports.sockets import SocketTransport
from benchfs.rpc.transports.uring import UringTransport

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike
    from uring_api import Completion

ASK = b"?"
SCRATCH_BYTES = 256 * 1024
CASES = ((4096, 32), (4096, 1), (4 * 1024 * 1024, 2))
ROUNDS = 5


class RingSelector(selectors.SelectSelector):
    """A selector that waits in the ring; descriptors are polled by it once for every event."""

    def __init__(self) -> None:
        super().__init__()
        self.ring: SelectorRing | None = None  # set before the loop runs
        self._polls: dict[int, Completion] = {}
        self._ready: list[tuple[selectors.SelectorKey, int]] = []

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        """As a selector's."""
        key = super().unregister(fileobj)
        poll = self._polls.pop(key.fd, None)
        if poll is not None and self.ring is not None:
            self.ring.settle(poll)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Submit, wait, and handle what completed, all in one turn."""
        assert self.ring is not None
        for key in self.get_map().values():
            if key.fd not in self._polls:
                self._polls[key.fd] = self.ring.poll(key.fd, POLLED[key.events], self._event(key))
        self._ready = []
        self.ring.turn(None if timeout is None else max(timeout, 0.0))
        return self._ready

    def close(self) -> None:
        """As a selector's; with it goes the ring."""
        super().close()
        if self.ring is not None:
            self.ring.let_go()

    def _event(self, key: selectors.SelectorKey) -> rings.Done:
        def done(_result: int, _flags: int) -> None:
            del self._polls[key.fd]
            self._ready.append((key, key.events))

        return done


ENGINES: dict[str, Callable[[], Transport] | None] = {
    "BufferedProtocol": None,
    "sockets": SocketTransport,
    "uring": UringTransport,
}
POLLED = {1: select.POLLIN, 2: select.POLLOUT, 3: select.POLLIN | select.POLLOUT}


class SelectorRing(rings.LoopRing):
    """A loop's ring that its selector drives."""

    def turn(self, timeout: float | None) -> None:
        """Submit, wait at most `timeout` seconds, and handle what completed."""
        self._reaping = True
        try:
            for completion in self._ring.wait(timeout) or ():
                done = cast(rings.Done, completion.user_data)
                done(completion.res, completion.flags)
        finally:
            self._reaping = False

    def _attach(self) -> None:
        """Nothing: the selector calls `turn`."""

    def _detach(self) -> None:
        """Nothing."""

    def _submit_soon(self) -> None:
        """The next turn submits."""


def ring_loop() -> asyncio.AbstractEventLoop:
    """Asyncio's loop on a ring."""
    selector = RingSelector()
    loop = asyncio.SelectorEventLoop(selector)
    selector.ring = SelectorRing(loop)
    rings.adopt(loop, selector.ring)
    return loop


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
    "ring": ring_loop,
}


class Event(Protocol):
    """An event between processes."""

    def set(self) -> None:
        """Wake those who wait."""


class End:
    """One end, over either engine: the server answers, the client asks again."""

    link: Link
    transport: asyncio.Transport | None = None

    def __init__(self, reply: bytes | None, size: int) -> None:
        self.reply = reply
        self.size = size
        self.bytes = 0
        self.over = asyncio.get_running_loop().create_future()
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))

    def send(self, buffers: list[Buffer]) -> None:
        if self.transport is not None:
            self.transport.writelines(buffers)
        else:
            self.link.write(buffers)
            self.link.flush()

    # what a Link calls
    def connected(self, link: Link) -> None:
        self.link = link

    def get_buffer(self) -> memoryview:
        return self._scratch

    def received(self, count: int) -> None:
        before, self.bytes = self.bytes, self.bytes + count
        if self.reply is not None:
            self.send([self.reply] * count)
        elif done := self.bytes // self.size - before // self.size:
            self.send([ASK * done])

    def drained(self) -> None:
        """Requests are bounded: nothing waits."""

    def lost(self, reason: str) -> None:
        if not self.over.done():
            self.over.set_result(None)


class Buffered(asyncio.BufferedProtocol):
    """asyncio's stream transport, in the words of a Link."""

    def __init__(self, end: End) -> None:
        self._end = end

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._end.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        self._end.received(nbytes)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._end.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.lost("")


class Sample(NamedTuple):
    """Replies a second, and CPU seconds a reply, of both processes together."""

    rate: float
    cpu: float


def main() -> None:
    """Measure all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each measurement")
    seconds = parser.parse_args().seconds
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"{'reply':>9} {'in flight':>9} {'loop':>8} {'engine':>17} {'calls/s':>10} {'CPU µs':>8}")
    for (size, depth), engine, loop in itertools.product(CASES, ENGINES, LOOPS):
        if loop == "ring" and engine == "BufferedProtocol":
            continue  # its sockets would be polled, not received from: nobody would do that
        samples = [_measure(size, depth, loop, engine, seconds) for _ in range(ROUNDS)]
        rate = statistics.median(sample.rate for sample in samples)
        cpu = statistics.median(sample.cpu for sample in samples) * 1e6
        print(f"{size:9} {depth:9} {loop:>8} {engine:>17} {rate:10,.0f} {cpu:8.2f}", flush=True)


def _measure(size: int, depth: int, loop: str, engine: str, seconds: float) -> Sample:
    with tempfile.TemporaryDirectory(prefix="bfs-") as folder:
        path = os.path.join(folder, "s")
        context = multiprocessing.get_context("spawn")
        ready = context.Event()
        server = context.Process(target=_serve, args=(path, size, loop, engine, ready))
        server.start()
        try:
            if not ready.wait(30):
                raise RuntimeError("the server did not start")
            with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
                return runner.run(_ask(path, size, depth, engine, seconds, server.pid or 0))
        finally:
            server.join(5)
            if server.is_alive():
                server.kill()
                server.join()


def _serve(path: str, size: int, loop: str, engine: str, ready: Event) -> None:
    async def serve() -> None:
        end = End(bytes(size), 1)
        make = ENGINES[engine]
        if make is not None:
            listener = await make().listen(f"unix://{path}", lambda: end)
            ready.set()
            await end.over
            listener.close()
        else:
            running = asyncio.get_running_loop()
            server = await running.create_unix_server(lambda: Buffered(end), path)
            ready.set()
            await end.over
            server.close()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(serve())


async def _ask(  # noqa: PLR0917 (a case, in parts)
    path: str, size: int, depth: int, engine: str, seconds: float, server: int
) -> Sample:
    end = End(None, size)
    make = ENGINES[engine]
    if make is not None:
        await make().connect(f"unix://{path}", end)
    else:
        running = asyncio.get_running_loop()
        await running.create_unix_connection(lambda: Buffered(end), path)
    end.send([ASK * depth])
    began, cpu = time.perf_counter(), cpu_seconds(server) + time.process_time()
    await asyncio.sleep(seconds)
    count = end.bytes / size
    taken = time.perf_counter() - began
    cpu = cpu_seconds(server) + time.process_time() - cpu
    if end.transport is not None:
        end.transport.abort()
    else:
        end.link.abort()
    await end.over
    return Sample(count / taken, cpu / count)


if __name__ == "__main__":
    main()
