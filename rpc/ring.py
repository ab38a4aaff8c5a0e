"""One io_uring for one event loop, driven through the ring's own descriptor.

Links, listeners and chunk files of a loop share its ring. Operations prepared in one turn of
the loop are submitted with one system call; completions of one wake-up are reaped together.
The loop stays what the program runs, asyncio's or uvloop, and nothing of it is replaced.

A buffer belongs to the kernel from the submission of an operation to its completion, whatever
happens to whoever asked: the ring keeps it alive until then, and `settle` is how to get it back.

Handlers get figures, and no completion is a local variable while they run: an error that keeps
their frames would make it garbage in a cycle, and uring-api 0.1 ends the process when the
collector takes a completion apart after the memoryview that it holds.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from uring_api import Completion, Ring

# Submissions of one turn; more are submitted in between. Completions wait in twice as many.
ENTRIES = 512
# A ring that was asked to cancel an operation answers at once. This only bounds a broken kernel.
SETTLE_SECONDS = 5.0

Done = Callable[[int, int], None]  # the result, negative: -errno; flags
Buffer = bytes | bytearray | memoryview


class RingUnavailableError(Exception):
    """There is no io_uring here; the text says why, for people."""


def probe() -> None:
    """Make a ring as `ring_of` would, and close it. Raises RingUnavailableError."""
    try:
        import uring_api  # noqa: PLC0415 (an optional package)
    except ImportError as exc:
        raise RingUnavailableError(f"the package uring-api is missing: {exc}") from None
    try:
        uring_api.Ring(8, uring_api.IORING_SETUP_COOP_TASKRUN).close()
        features = uring_api.probe()
    except OSError as exc:
        raise RingUnavailableError(_reason(exc)) from None
    missing = [name for name in _NEEDED if not features.get(name)]
    if missing:
        release = os.uname().release
        raise RingUnavailableError(f"kernel {release} is too old: it lacks {', '.join(missing)}")


_NEEDED = ("IORING_ACCEPT_MULTISHOT", "IORING_RECVSEND_POLL_FIRST")


def _reason(problem: OSError) -> str:
    if problem.errno == errno.ENOSYS:
        return f"kernel {os.uname().release} has no io_uring (ENOSYS)"
    if problem.errno in {errno.EPERM, errno.EACCES}:
        setting = Path("/proc/sys/kernel/io_uring_disabled")
        if setting.exists() and setting.read_text(encoding="ascii").strip() != "0":
            return "io_uring is denied by the sysctl kernel.io_uring_disabled (EPERM)"
        return "io_uring is denied, as containers' seccomp profiles do (EPERM)"
    if problem.errno == errno.EINVAL:
        return f"kernel {os.uname().release} is too old for this use of io_uring (EINVAL)"
    return f"no io_uring can be made: {problem.strerror}"


class LoopRing:
    """A ring attached to a loop. Made by `hold`, closed when its last holder lets go."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        import uring_api  # noqa: PLC0415 (an optional package)

        self.poll_first = uring_api.IORING_RECVSEND_POLL_FIRST
        self.more = uring_api.IORING_CQE_F_MORE
        self.nonempty = uring_api.IORING_CQE_F_SOCK_NONEMPTY
        self._loop = loop
        self._ring: Ring = uring_api.Ring(
            ENTRIES, uring_api.IORING_SETUP_COOP_TASKRUN, cq_entries=2 * ENTRIES
        )
        self._holders = 0
        self._reaping = False
        self._submit_due = False
        self._reaped: deque[Completion] = deque()  # done, and not handled yet
        self._attach()

    # ------------------------------------------------------------ operations

    def receive(self, descriptor: int, buffer: memoryview, flags: int, done: Done) -> Completion:
        """Receive into `buffer`; the result is bytes."""
        completion = self._ring.prepare_recv(descriptor, buffer, flags, done)
        self._submit_soon()
        return completion

    def send(self, descriptor: int, data: Buffer, flags: int, done: Done) -> Completion:
        """Send `data`; the result is the number of bytes taken."""
        completion = self._ring.prepare_send(descriptor, data, flags, done)
        self._submit_soon()
        return completion

    def accept(self, descriptor: int, flags: int, done: Done) -> Completion:
        """Accept again and again; the result is a descriptor. Over when the flags lack `more`."""
        completion = self._ring.prepare_accept_multishot(descriptor, flags, done)
        self._submit_soon()
        return completion

    def poll(self, descriptor: int, events: int, done: Done) -> Completion:
        """Wait once until the descriptor is ready for `select.POLL...` events."""
        completion = self._ring.prepare_poll(descriptor, events, done)
        self._submit_soon()
        return completion

    def read(self, descriptor: int, buffer: memoryview, offset: int, done: Done) -> Completion:
        """Read a file at `offset`; the result is the number of bytes."""
        completion = self._ring.prepare_read(descriptor, buffer, offset, done)
        self._submit_soon()
        return completion

    def settle(self, completion: Completion) -> tuple[int, int]:
        """Cancel an operation and return its last result and flags, without calling its `done`.

        Then the kernel uses its buffer no more. It may have been done before it was cancelled.
        Whatever else completes meanwhile is handled in the loop's next turn.
        """
        reaped = self._reaped
        if completion not in reaped:
            self._ring.prepare_cancel_nowait(completion)
            self._ring.submit()
            deadline = self._loop.time() + SETTLE_SECONDS
            while completion not in reaped:
                reaped.extend(cast("list[Completion]", self._ring.wait(SETTLE_SECONDS)))
                if self._loop.time() > deadline:
                    raise OSError(errno.ETIMEDOUT, "the kernel does not cancel an operation")
            if len(reaped) > 1 and not self._reaping:
                self._loop.call_soon(self._reap)
        reaped.remove(completion)
        return completion.res, completion.flags

    # ------------------------------------------------------------ the loop

    def _submit_soon(self) -> None:
        if not self._submit_due and not self._reaping:
            self._submit_due = True
            self._loop.call_soon(self._submit)

    def _submit(self) -> None:
        self._submit_due = False
        if not self._ring.closed:
            self._ring.submit()

    def _reap(self) -> None:
        """Handle all that has completed; what this leads to is submitted at the end."""
        if self._ring.closed:
            return
        reaped = self._reaped
        self._reaping = True
        try:
            reaped.extend(cast("list[Completion]", self._ring.wait(0)))
            while reaped:
                done, result, flags = self._next()
                done(result, flags)
        except BaseException:  # a handler's: the loop reports it, the others have their turn
            self._loop.call_soon(self._reap)
            raise
        finally:
            self._reaping = False
            if not self._ring.closed:
                self._ring.submit()

    def _next(self) -> tuple[Done, int, int]:
        completion = self._reaped.popleft()
        return cast(Done, completion.user_data), completion.res, completion.flags

    # ------------------------------------------------------------ life

    def _attach(self) -> None:
        """Have the loop call `_reap` when something has completed."""
        self._loop.add_reader(self._ring.fd, self._reap)

    def _detach(self) -> None:
        self._loop.remove_reader(self._ring.fd)

    def _hold(self) -> None:
        self._holders += 1

    def let_go(self) -> None:
        """The opposite of `hold`. All operations of the holder must be over."""
        self._holders -= 1
        if not self._holders:
            _rings.pop(self._loop, None)
            while self._reaped:  # connections that were accepted in the last moment
                done, result, flags = self._next()
                done(result, flags)
            self._detach()
            self._ring.close()


_rings: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopRing] = WeakKeyDictionary()


def hold() -> LoopRing:
    """The running loop's ring, made if there is none. Pair with `let_go`. Raises OSError."""
    loop = asyncio.get_running_loop()
    ring = _rings.get(loop)
    if ring is None:
        ring = _rings[loop] = LoopRing(loop)
    ring._hold()
    return ring


def adopt(loop: asyncio.AbstractEventLoop, ring: LoopRing) -> None:
    """Make `ring` the one of a loop that drives it in a way of its own, and lets go of it."""
    ring._hold()
    _rings[loop] = ring
