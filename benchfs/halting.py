"""Having idle CPUs spin instead of halting, as long as requests follow each other.

Each request wakes somebody: a node and its client, or, through a mount, a program, the mount and a
node, several times. A CPU that has halted takes some 50 µs for that in a virtual machine, longer
than most requests, and the way to the host and back costs CPU time. The kernel lets root say how
late a CPU may be (PM QoS, /dev/cpu_dma_latency): at 0 it does not halt, and whoever has work for it
gets it at once. That holds for all CPUs of the machine, so it is asked for on small ones only, and
taken back when requests stop coming. docs/decisions/016 has the figures.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
from collections.abc import Callable
from pathlib import Path

from benchfs.env import since_boot

logger = logging.getLogger(__name__)
DEVICE = Path("/dev/cpu_dma_latency")
DRIVER = Path("/sys/devices/system/cpu/cpuidle/current_driver")
CPUS_MOST = 16  # of more, most would spin for nothing
SOON_SECONDS = 1e-3  # between requests that belong together
REQUESTS = 16  # in a row, before anything is asked for
QUIET_SECONDS = 0.1  # without a request, before it is taken back
_AT_ONCE = struct.pack("i", 0)
_AS_USUAL = struct.pack("i", 2_000_000_000)  # µs: the kernel's default


def open_device() -> int | None:
    """A descriptor to ask the kernel by; None where that cannot be, or is of no use."""
    try:
        if (os.cpu_count() or 0) > CPUS_MOST or DRIVER.read_text().strip() == "none":
            return None
        device = os.open(DEVICE, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as exc:  # no root, or a container
        logger.info("CPUs halt as they do by default: %s", exc)
        return None
    logger.info("idle CPUs spin while requests follow each other")
    return device


class NoHalting:
    """Asks for one event loop, by a descriptor that `close` closes. `clock` is monotonic."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        device: int,
        clock: Callable[[], float] = since_boot,
    ) -> None:
        self._loop = loop
        self._device: int | None = device
        self._clock = clock
        self._last = -SOON_SECONDS  # request
        self._row = 0  # requests of it
        self._asked = False

    def request(self) -> None:
        """A request was taken, or answered."""
        now = self._clock()
        self._row = self._row + 1 if now - self._last < SOON_SECONDS else 1
        self._last = now
        if self._row >= REQUESTS and not self._asked and self._device is not None:
            self._asked = True
            self._tell(_AT_ONCE)
            self._loop.call_later(QUIET_SECONDS, self._look)

    def close(self) -> None:
        """The kernel takes back what was asked for."""
        if self._device is not None:
            os.close(self._device)
            self._device = None

    def _look(self) -> None:
        left = self._last + QUIET_SECONDS - self._clock()
        if left > 0:
            self._loop.call_later(left, self._look)
        elif self._device is not None:
            self._asked = False
            self._tell(_AS_USUAL)

    def _tell(self, latency: bytes) -> None:
        assert self._device is not None
        try:
            os.write(self._device, latency)
        except OSError as exc:
            logger.warning("the kernel does not take what CPUs are to do when idle: %s", exc)
            self.close()
