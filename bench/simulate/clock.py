"""Virtual time: an event loop that never waits, and a clock that shows its time.

When nothing is left to do, the loop's time jumps to the next timer. Computing takes no time.
What a simulation costs in seconds is therefore what its links cost, the same in every run.
Files and sockets are not waited for: what runs here uses neither threads nor the network.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, TypeVar

from benchfs.env import NANOSECONDS

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

Result = TypeVar("Result")
START_NS = 1_000_000_000 * NANOSECONDS  # a day in September 2001


class StalledError(RuntimeError):
    """Everybody waits, and no timer is set: nothing would ever happen again."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a time of its own, which starts at 0."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Virtual seconds since the start."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._now += seconds


class _Jumping(selectors.BaseSelector):
    """Where the loop would wait, its time jumps."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._inner = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._inner.select(0)
        if not ready and timeout is None:
            raise StalledError("nothing is left to wait for")
        if not ready and timeout is not None and timeout > 0:
            self._loop.jump(timeout)
        return ready

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: object = None
    ) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def modify(
        self, fileobj: FileDescriptorLike, events: int, data: object = None
    ) -> selectors.SelectorKey:
        return self._inner.modify(fileobj, events, data)

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()


class LoopClock:
    """The clock of an `Env` that shows a loop's time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.monotonic = loop.time

    def time_ns(self) -> int:
        """A fixed day plus the loop's time."""
        return START_NS + round(self.monotonic() * NANOSECONDS)


def run(work: Coroutine[object, object, Result]) -> Result:
    """`asyncio.run` in virtual time. Raises StalledError if the work can never end."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
