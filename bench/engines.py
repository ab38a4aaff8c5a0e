"""The sockets engine against asyncio's stream transport: `python -m benchfs.bench.engines`.

One process serves replies over a unix socket, this one asks: 4 KiB with 32 in flight, and
4 MiB with 2 in flight. No frames and no messages: the engines alone. One run each; repeat on a
quiet machine before believing a difference below 1.3. See docs/decisions/001-sockets-engine.md.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from typing import Protocol, cast

import uvloop

from benchfs.rpc.transports.base import Buffer, Link
from benchfs.rpc.transports.sockets import SocketTransport

ASK = b"?"
SCRATCH_BYTES = 256 * 1024
CASES = ((4096, 32), (4 * 1024 * 1024, 2))
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
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


def main() -> None:
    """Measure all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    seconds = parser.parse_args().seconds
    print(f"{'reply':>9} {'in flight':>9} {'loop':>8} {'engine':>17} {'calls/s':>10} {'GB/s':>6}")
    for size, depth in CASES:
        for loop in LOOPS:
            for own in (False, True):
                rate = _measure(size, depth, loop, own, seconds)
                engine = "own sockets" if own else "BufferedProtocol"
                speed = rate * size / 1e9
                print(f"{size:9} {depth:9} {loop:>8} {engine:>17} {rate:10,.0f} {speed:6.2f}")


def _measure(size: int, depth: int, loop: str, own: bool, seconds: float) -> float:
    with tempfile.TemporaryDirectory(prefix="bfs-") as folder:
        path = os.path.join(folder, "s")
        context = multiprocessing.get_context("spawn")
        ready = context.Event()
        server = context.Process(target=_serve, args=(path, size, loop, own, ready))
        server.start()
        try:
            if not ready.wait(30):
                raise RuntimeError("the server did not start")
            with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
                return runner.run(_ask(path, size, depth, own, seconds))
        finally:
            server.join(5)
            if server.is_alive():
                server.kill()
                server.join()


def _serve(path: str, size: int, loop: str, own: bool, ready: Event) -> None:
    async def serve() -> None:
        end = End(bytes(size), 1)
        if own:
            listener = await SocketTransport().listen(f"unix://{path}", lambda: end)
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


async def _ask(path: str, size: int, depth: int, own: bool, seconds: float) -> float:
    end = End(None, size)
    if own:
        await SocketTransport().connect(f"unix://{path}", end)
    else:
        running = asyncio.get_running_loop()
        await running.create_unix_connection(lambda: Buffered(end), path)
    end.send([ASK * depth])
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    rate = end.bytes / size / (time.perf_counter() - began)
    if end.transport is not None:
        end.transport.abort()
    else:
        end.link.abort()
    await end.over
    return rate


if __name__ == "__main__":
    main()
