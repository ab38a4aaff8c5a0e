"""Many small calls against one server process, to see whether memory is flat.

`python -m benchfs.bench.soak --calls 10000000` asks for 4 KiB again and again over each engine,
with 32 calls in flight, and samples the resident memory of both processes at equal distances.
Memory is flat when neither process has grown by 1 MiB or more in the second half of the calls:
by then all pools are filled. With a million calls in that half, one lost byte a call shows.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import uvloop
from rich.console import Console
from rich.table import Table

from benchfs.bench.processes import resident_bytes
from benchfs.bench.rpc import CALL_SECONDS, Case, ServerProcess, connected, serving
from benchfs.rpc.connection import Connection
from benchfs.rpc.messages import ReadChunk
from benchfs.rpc.transports.choose import ENGINES, choose

CALLS = 1_000_000
SAMPLES = 20
DEPTH = 32
REPLY_BYTES = 4096
MOST_GROWTH_BYTES = 1 << 20
MIB = 1 << 20
TITLES = ("engine", "calls", "calls/s", "process", "MiB: start", "half", "end", "")


@dataclass(frozen=True, slots=True)
class Sample:
    """Resident memory of both processes after so many calls."""

    calls: int
    seconds: float
    client_bytes: int
    server_bytes: int


@dataclass(frozen=True, slots=True)
class Soak:
    """What one engine did. `samples` are at equal distances; the first is before all calls."""

    transport: str
    samples: tuple[Sample, ...]

    @property
    def calls_s(self) -> float:
        """Calls a second, over all."""
        return self.samples[-1].calls / self.samples[-1].seconds

    @property
    def client_growth(self) -> int:
        """Bytes that the client grew by in the second half."""
        return self.samples[-1].client_bytes - self._middle.client_bytes

    @property
    def server_growth(self) -> int:
        """Bytes that the server grew by in the second half."""
        return self.samples[-1].server_bytes - self._middle.server_bytes

    @property
    def flat(self) -> bool:
        """Whether neither process grows."""
        return max(self.client_growth, self.server_growth) < MOST_GROWTH_BYTES

    @property
    def _middle(self) -> Sample:
        return self.samples[len(self.samples) // 2]


def soak(transport: str, calls: int, scheme: str = "tcp") -> Soak:
    """Make `calls` calls over an engine."""
    case = Case(transport, scheme, DEPTH, REPLY_BYTES)
    with serving(case) as server, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return Soak(transport, runner.run(_run(case, server, calls)))


async def _run(case: Case, server: ServerProcess, calls: int) -> tuple[Sample, ...]:
    async with connected(case, server) as connection:
        started = time.perf_counter()
        samples = [_sample(0, started, server)]
        for number in range(1, SAMPLES + 1):
            until = calls * number // SAMPLES
            await _ask(connection, case, until - samples[-1].calls)
            samples.append(_sample(until, started, server))
    return tuple(samples)


def _sample(calls: int, started: float, server: ServerProcess) -> Sample:
    seconds = time.perf_counter() - started
    return Sample(calls, seconds, resident_bytes(os.getpid()), resident_bytes(server.pid))


async def _ask(connection: Connection, case: Case, calls: int) -> None:
    """Make so many calls, `case.depth` of them at a time."""
    left = calls

    async def ask() -> None:
        nonlocal left
        into = memoryview(bytearray(case.size))
        while left > 0:
            left -= 1
            answer = await connection.call(
                ReadChunk(1, left & 0xFFFF, 0, case.size), timeout=CALL_SECONDS, into=into
            )
            if answer.payload is None or len(answer.payload) != case.size:
                raise OSError(f"asked for {case.size} bytes, got {answer}")

    async with asyncio.TaskGroup() as group:
        for _ in range(case.depth):
            group.create_task(ask())


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak each engine and print; 1 if memory is not flat."""
    parser = argparse.ArgumentParser(prog="benchfs.bench.soak", description="Many small calls.")
    parser.add_argument("--calls", type=int, default=CALLS, help="over each engine")
    parser.add_argument("--transport", action="append", choices=tuple(ENGINES))
    parser.add_argument("--scheme", choices=("tcp", "unix"), default="tcp")
    options = parser.parse_args(arguments)
    table = Table(
        "engine", "calls", "calls/s", "process", "MiB: start", "half", "end", "", box=None
    )
    console = Console(highlight=False)
    flat = True
    for name in options.transport or ENGINES:
        if (summary := choose(name).summary) != name:
            console.print(f"not {name}: {summary}", markup=False)
            continue
        found = soak(name, options.calls, options.scheme)
        flat = flat and found.flat
        _add(table, found)
    console.print(table)
    return 0 if flat else 1


def _add(table: Table, found: Soak) -> None:
    start, middle, end = found.samples[0], found.samples[len(found.samples) // 2], found.samples[-1]
    for process, sizes, growth in (
        ("client", [one.client_bytes for one in (start, middle, end)], found.client_growth),
        ("server", [one.server_bytes for one in (start, middle, end)], found.server_growth),
    ):
        table.add_row(
            found.transport,
            f"{end.calls:,}",
            f"{found.calls_s:,.0f}",
            process,
            *(f"{size / MIB:.2f}" for size in sizes),
            "flat" if growth < MOST_GROWTH_BYTES else f"GROWS by {growth / MIB:.2f} MiB",
        )


if __name__ == "__main__":
    sys.exit(main())
