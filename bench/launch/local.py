"""Ranks as processes of this host, started anew (spawn); this process is their hub.

Each rank has a pipe to the hub and sends it what it gives to an exchange; when all have, the hub
sends the whole list to each. A rank that ends early ends the run: the hub tells the others, and
says which rank it was and how it ended. All processes are gone when `run` returns.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import signal
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Generic, NamedTuple

import uvloop

from benchfs import garbage
from benchfs.bench.launch.base import (
    EXCHANGE_SECONDS,
    Job,
    Program,
    RankLostError,
    Result,
    StoppedError,
    Value,
)

MOST_TASKS = 1024
END_SECONDS = 10.0
HUB_GONE = "the process that started this rank has ended"


class _Given(NamedTuple):
    """To the hub: a rank's part of an exchange."""

    value: object


class _Done(NamedTuple):
    """To the hub: a rank's program has returned, or raised what `failure` says.

    `agreed`: all ranks raise the same, and it names the one where it happened.
    """

    result: object
    failure: str
    agreed: bool = False


class _Lost(NamedTuple):
    """From the hub, in place of everybody's values."""

    why: str


class LocalRanks:
    """One rank's end of its pipe to the hub."""

    def __init__(self, rank: int, size: int, pipe: Connection) -> None:
        self.rank = rank
        self.size = size
        self._pipe = pipe

    async def exchange(self, value: Value) -> list[Value]:
        """As in `Ranks`."""
        try:
            self._pipe.send(_Given(value))
        except ConnectionError:
            raise RankLostError(HUB_GONE) from None
        loop = asyncio.get_running_loop()
        arrived = asyncio.Event()
        loop.add_reader(self._pipe.fileno(), arrived.set)
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS):
                await arrived.wait()
        except TimeoutError:
            raise RankLostError(f"the others did not come in {EXCHANGE_SECONDS:.0f} s") from None
        finally:
            loop.remove_reader(self._pipe.fileno())
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise RankLostError(HUB_GONE) from None
        if isinstance(answer, _Lost):
            raise RankLostError(answer.why)
        values: list[Value] = answer
        return values


def run(program: Program[Job, Result], job: Job, tasks: int) -> Result:
    """Run `program` with `job` in `tasks` processes; what rank 0 returned.

    Raises RankLostError if rank 0 did not return, ValueError for an impossible number of tasks.
    """
    if not 1 <= tasks <= MOST_TASKS:
        raise ValueError(f"{tasks} tasks: 1 to {MOST_TASKS} processes can be started")
    context = multiprocessing.get_context("spawn")
    hub: _Hub[Result] = _Hub()
    try:
        for rank in range(tasks):
            ours, theirs = context.Pipe()
            process = context.Process(target=_rank, args=(program, job, rank, tasks, theirs))
            process.start()
            theirs.close()
            hub.add(process, ours)
        return hub.serve()
    except KeyboardInterrupt:
        hub.kill()
        raise
    finally:
        hub.end()


class _Hub(Generic[Result]):
    """The ranks' pipes, what each has given, and what has become of each."""

    def __init__(self) -> None:
        self._processes: list[SpawnProcess] = []
        self._pipes: list[Connection] = []
        self._given: dict[int, object] = {}
        self._done: dict[int, _Done] = {}
        self._lost = ""

    def add(self, process: SpawnProcess, pipe: Connection) -> None:
        """A rank that was started, in the order of ranks."""
        self._processes.append(process)
        self._pipes.append(pipe)

    def serve(self) -> Result:
        """Pass values on until every rank is done; rank 0's result."""
        give_up_at = time.monotonic() + EXCHANGE_SECONDS
        while len(self._done) < len(self._pipes):
            open_pipes = [p for rank, p in enumerate(self._pipes) if rank not in self._done]
            ready = wait(open_pipes, timeout=max(0.0, give_up_at - time.monotonic()))
            if not ready:
                raise RankLostError(f"nothing was heard of the ranks in {EXCHANGE_SECONDS:.0f} s")
            give_up_at = time.monotonic() + EXCHANGE_SECONDS
            for pipe in ready:
                assert isinstance(pipe, Connection)
                self._hear(self._pipes.index(pipe), pipe)
            self._answer()
        first = self._done[0]
        if first.failure:
            raise RankLostError(self._lost or f"rank 0: {first.failure}")
        result: Result = first.result  # type: ignore[assignment]  # it came through a pipe
        return result

    def _hear(self, rank: int, pipe: Connection) -> None:
        try:
            message = pipe.recv()
        except (EOFError, ConnectionError, pickle.UnpicklingError):
            message = _Done(None, self._how_it_ended(rank))
        if isinstance(message, _Given):
            self._given[rank] = message.value
            return
        self._done[rank] = message
        if message.failure:
            why = message.failure if message.agreed else f"rank {rank}: {message.failure}"
            self._lost = self._lost or why

    def _how_it_ended(self, rank: int) -> str:
        process = self._processes[rank]
        process.join(END_SECONDS)
        code = process.exitcode
        if code is not None and code < 0:
            return f"its process {process.pid} was ended by {signal.Signals(-code).name}"
        return f"its process {process.pid} ended with status {code}"

    def _answer(self) -> None:
        """Everybody's values to all that wait, or why they wait in vain."""
        if not self._given:
            return
        if self._done:  # whoever is done will not come any more
            self._send(_Lost(self._lost or "another rank has ended before"))
        elif len(self._given) == len(self._pipes):
            self._send([self._given[rank] for rank in range(len(self._pipes))])

    def _send(self, answer: object) -> None:
        for rank in self._given:
            try:
                self._pipes[rank].send(answer)
            except ConnectionError:
                continue  # its end is heard next
        self._given = {}

    def kill(self) -> None:
        """End every rank at once, whatever it does."""
        for process in self._processes:
            process.kill()

    def end(self) -> None:
        """Close the pipes, and end what still runs."""
        for pipe in self._pipes:
            pipe.close()
        _join(self._processes)


def _join(processes: Sequence[SpawnProcess]) -> None:
    give_up_at = time.monotonic() + END_SECONDS
    for process in processes:
        process.join(max(0.0, give_up_at - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


def _rank(program: Program[Job, Result], job: Job, rank: int, size: int, pipe: Connection) -> None:
    """In a rank's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the hub is interrupted too, and ends us
    try:
        result = uvloop.run(program(LocalRanks(rank, size, pipe), job))
        done = _Done(result if rank == 0 else None, "")
    except OSError as exc:
        done = _Done(None, str(exc), agreed=isinstance(exc, StoppedError))
    except Exception as exc:  # noqa: BLE001 (told to the hub, and shown in full here)
        traceback.print_exc()
        done = _Done(None, f"{type(exc).__name__}: {exc}")
    garbage.leave()
    try:
        pipe.send(done)
    except ConnectionError:
        return  # the hub has gone, and with it whoever would read this
