"""What pyfuse3 asks of its event loop, by asyncio, with few system calls.

pyfuse3 is written for trio and takes any object with the same few names. Its own one for asyncio
registers the kernel's descriptor anew for every request; here it stays registered, and a request
that is there already is taken without asking the loop.
"""

from __future__ import annotations

import asyncio
import select
from collections import deque
from collections.abc import Callable, Coroutine
from types import TracebackType

import pyfuse3

AT_ONCE = 8  # requests that are taken one after the other before the loop gets its turn


class ClosedResourceError(Exception):
    """The mount ends: there is nothing to wait for."""


class Turn:
    """A lock for `async with`, first come, first served; a free one costs nothing."""

    def __init__(self) -> None:
        self._taken = False
        self._queue: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        if self._taken:
            turn = asyncio.get_running_loop().create_future()
            self._queue.append(turn)
            await turn
        self._taken = True

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():  # cancelled
                turn.set_result(None)  # it stays taken
                return
        self._taken = False


class Waiting:
    """Stands in for the module trio, in one event loop. For one descriptor, one waiter at a time.

    A read of the descriptor blocks the whole process if nothing is there, so whoever waits looks
    again before he goes on: what the loop says may be old.
    """

    ClosedResourceError = ClosedResourceError

    def __init__(self) -> None:
        self.Lock = Turn
        self.lowlevel = self
        self.from_thread = self
        self._loop = asyncio.get_running_loop()
        self._poll = select.poll()
        self._descriptor: int | None = None
        self._registered = False
        self._waiter: asyncio.Future[None] | None = None
        self._closing = False
        self._taken = 0

    def install(self) -> None:
        """Have pyfuse3 use this."""
        pyfuse3.trio = self  # type: ignore[attr-defined]  # not declared

    async def wait_readable(self, descriptor: int) -> None:
        """Return when a request is there. Raises ClosedResourceError."""
        if self._descriptor is None:
            self._descriptor = descriptor
            self._poll.register(descriptor, select.POLLIN)
        self._taken += 1
        if self._taken % AT_ONCE == 0:
            await asyncio.sleep(0)
        while not self._closing and not self._poll.poll(0):
            if not self._registered:
                self._loop.add_reader(descriptor, self._readable)
                self._registered = True
            self._waiter = self._loop.create_future()
            await self._waiter
        if self._closing:
            self._unregister()
            raise ClosedResourceError

    def notify_closing(self, descriptor: int) -> None:
        """Wake the waiter for good."""
        self._closing = True
        self._wake()

    def current_trio_token(self) -> str:
        """Something that is not None."""
        return "asyncio"

    def current_task(self) -> asyncio.Task[object] | None:
        """Its name is asked for."""
        return asyncio.current_task()

    def open_nursery(self) -> Nursery:
        """Where pyfuse3 starts its workers."""
        return Nursery()

    def _readable(self) -> None:
        if self._waiter is None and self._poll.poll(0):
            self._unregister()  # all workers are busy: the loop would not rest
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _unregister(self) -> None:
        if self._registered and self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            self._registered = False


class Nursery:
    """Tasks that are waited for at the end; the first failure is raised when all have ended."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    def start_soon(
        self,
        work: Callable[..., Coroutine[None, None, None]],
        *arguments: object,
        name: str | None = None,
    ) -> None:
        """Start a worker."""
        task = asyncio.get_running_loop().create_task(work(*arguments), name=name)
        task.name = name  # type: ignore[attr-defined]  # pyfuse3 asks for it like this
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            self._failure = self._failure or task.exception()

    async def __aenter__(self) -> Nursery:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._failure is not None:
            raise self._failure
