"""The world outside, as the logic sees it: a clock and a source of random numbers.

The logic takes both from an `Env` that it is given, so that a test or a simulation can
replay it from a seed. This is the only module of the core that may import time, random or
secrets; it holds no other knowledge of the machine.
"""

from __future__ import annotations

import random
import secrets
import time
from dataclasses import dataclass
from typing import Protocol

NANOSECONDS = 1_000_000_000


class Clock(Protocol):
    """Two clocks: one that only goes forward, one that people set."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment, never going back. For deadlines and leases."""
        ...

    def time_ns(self) -> int:
        """Nanoseconds since 1970 by the wall clock, which may jump. For file times only."""
        ...


class Rng(Protocol):
    """Random numbers. Those of the system are good enough for secrets."""

    def token_bytes(self, count: int) -> bytes:
        """`count` random bytes."""
        ...

    def randrange(self, stop: int) -> int:
        """A random number of 0 to `stop` - 1. ValueError if `stop` is less than 1."""
        ...


@dataclass(frozen=True, slots=True)
class Env:
    """What is passed to logic that needs the time or chance."""

    clock: Clock
    rng: Rng


def since_boot() -> float:
    """Seconds since the machine started; what it slept is in them, unlike in `monotonic`."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _SystemClock:
    __slots__ = ()

    monotonic = staticmethod(time.monotonic)
    time_ns = staticmethod(time.time_ns)


class _SystemRng:
    """Tokens come from the system. Numbers, which are no secrets, come 20 times as fast."""

    __slots__ = ("_random",)

    def __init__(self) -> None:
        self._random = random.Random(secrets.token_bytes(32))

    def token_bytes(self, count: int) -> bytes:
        return secrets.token_bytes(count)

    def randrange(self, stop: int) -> int:
        if stop < 1:
            raise ValueError(f"randrange needs a stop of at least 1, not {stop}")
        return int(self._random.random() * stop)  # below 2**53


class ManualClock:
    """A clock that stands still until `advance` is called. Both its times move together."""

    __slots__ = ("_elapsed_ns", "_start_ns")

    def __init__(self, start_ns: int = 1_000_000_000 * NANOSECONDS) -> None:
        """`start_ns`: what `time_ns` says at first (default: a day in September 2001)."""
        self._start_ns = start_ns
        self._elapsed_ns = 0

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return self._elapsed_ns / NANOSECONDS

    def time_ns(self) -> int:
        """The start plus what was advanced."""
        return self._start_ns + self._elapsed_ns

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass. ValueError if they are negative."""
        if seconds < 0:
            raise ValueError(f"a clock cannot go back by {-seconds} s")
        self._elapsed_ns += round(seconds * NANOSECONDS)


class SeededRng:
    """The same numbers for the same seed, whatever the process. Not for secrets."""

    __slots__ = ("_random",)

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def token_bytes(self, count: int) -> bytes:
        """`count` bytes of the seed's sequence."""
        return self._random.randbytes(count)

    def randrange(self, stop: int) -> int:
        """The sequence's next number below `stop`."""
        if stop < 1:
            raise ValueError(f"randrange needs a stop of at least 1, not {stop}")
        return self._random.randrange(stop)


@dataclass(frozen=True, slots=True)
class FixedEnv(Env):
    """An Env for tests and simulation, whose clock can be moved."""

    clock: ManualClock
    rng: SeededRng


def system_env() -> Env:
    """The real clock and the system's secure random numbers."""
    return Env(clock=_SystemClock(), rng=_SystemRng())


def fixed_env(seed: int = 0) -> FixedEnv:
    """A clock that stands still, and random numbers that depend on `seed` only."""
    return FixedEnv(clock=ManualClock(), rng=SeededRng(seed))
