"""What pyfuse3 asks of its event loop, by asyncio, with few system calls and turns of the loop.

pyfuse3 is written for trio and takes any object with the same few names. Its own one for asyncio
registers the kernel's descriptor anew for every request. Here it stays registered; the worker that
was busy last is woken within the loop's callback; and a request that is there already is taken
without asking the loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import select
from collections.abc import Callable, Coroutine, Generator
from types import TracebackType

import pyfuse3

from benchfs.fuse.awake import Awake
from benchfs.halting import NoHalting, open_device

AT_ONCE = 8  # requests that are taken one after the other before the loop gets its turn
_OVER = select.POLLERR | select.POLLHUP | select.POLLNVAL  # as when it is unmounted


class ClosedResourceError(Exception):
    """The mount ends: there is nothing to wait for."""


class Free:
    """A lock for `async with` that never locks: workers wait in `wait_readable`, and only there."""

    def __init__(self) -> None:
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._done.set_result(None)

    def __aenter__(self) -> asyncio.Future[None]:
        return self._done

    def __aexit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        trace: TracebackType | None,
    ) -> asyncio.Future[None]:
        return self._done


class Parked:
    """A worker that waits. Its task takes this for a future; but to wake it is a plain call.

    asyncio's own futures have whoever waits for them called by the loop, a turn later.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False  # how a task knows a future
        self._loop = loop
        self._callback: Callable[[Parked], object] | None = None
        self._context: contextvars.Context | None = None
        self._cancelled = False

    def wake(self) -> bool:
        """Let it go on until it waits for something else. Tells whether it still waited here.

        Not to be called by a task.
        """
        callback, self._callback = self._callback, None
        if callback is None or self._context is None:
            return False
        self._context.run(callback, self)
        return True

    def __await__(self) -> Generator[Parked, None, None]:
        self._asyncio_future_blocking = True
        yield self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """For the task."""
        return self._loop

    def add_done_callback(
        self, callback: Callable[[Parked], object], *, context: contextvars.Context
    ) -> None:
        """For the task: how it is woken."""
        self._callback, self._context = callback, context

    def result(self) -> None:
        """For the task, once it is woken."""
        if self._cancelled:
            raise asyncio.CancelledError

    def cancel(self, msg: object = None) -> bool:
        """For the task."""
        self._cancelled = True
        self._loop.call_soon(self.wake)
        return True


class Waiting:
    """Stands in for the module trio, in one event loop. For one descriptor.

    `polling`: CPUs do not halt, or the loop looks for the next request for a moment before it
    sleeps.

    A read of the descriptor blocks the whole process, or fails, if nothing is there: so it is
    looked at once more before anybody reads, since what the loop says may be old.
    """

    ClosedResourceError = ClosedResourceError

    def __init__(self, *, polling: bool) -> None:
        self.Lock = Free
        self.lowlevel = self
        self.from_thread = self
        self._loop = asyncio.get_running_loop()
        self._poll = select.poll()
        self._descriptor: int | None = None
        self._registered = False
        self._idle: list[Parked] = []
        self._closing = False
        self._taken = 0
        self._awake = _awake(self._loop) if polling else None

    def install(self) -> None:
        """Have pyfuse3 use this."""
        pyfuse3.trio = self  # type: ignore[attr-defined]  # not declared

    async def wait_readable(self, descriptor: int) -> None:
        """Return when a request is there. Raises ClosedResourceError."""
        if self._descriptor is None:
            self._descriptor = descriptor
            self._poll.register(descriptor, select.POLLIN)
        self._taken += 1
        if self._awake is not None:
            self._awake.request()
        if not self._closing and (self._taken % AT_ONCE == 0 or not self._poll.poll(0)):
            if not self._registered:
                self._loop.add_reader(descriptor, self._readable)
                self._registered = True
            worker = Parked(self._loop)
            self._idle.append(worker)
            await worker
            if self._awake is not None:
                self._awake.request()
        if self._closing:
            raise ClosedResourceError

    def notify_closing(self, descriptor: int) -> None:
        """Wake all that wait, for good."""
        self._closing = True
        if self._awake is not None:
            self._awake.close()
        self._loop.call_soon(self._wake_all)

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
        found = self._poll.poll(0)
        if not found:
            return
        if found[0][1] & _OVER:  # the loop says that once, and every worker has to get to know
            self._wake_all()
            return
        while self._idle:
            if self._idle.pop().wake():
                return
        self._unregister()  # all are busy: the loop would not rest

    def _wake_all(self) -> None:
        self._unregister()
        idle, self._idle = self._idle, []
        for worker in idle:
            worker.wake()

    def _unregister(self) -> None:
        if self._registered and self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            self._registered = False


def _awake(loop: asyncio.AbstractEventLoop) -> Awake | NoHalting:
    """What keeps requests that follow each other from waiting for CPUs (decisions 014, 016)."""
    device = open_device()
    return Awake(loop) if device is None else NoHalting(loop, device)


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
