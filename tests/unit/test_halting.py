"""When a mount has CPUs not halt: a pipe in place of the kernel's device, a clock of our own."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchfs import halting
from benchfs.halting import QUIET_SECONDS, REQUESTS, SOON_SECONDS, NoHalting, open_device

AT_ONCE = 0
AS_USUAL = 2_000_000_000


class Loop:
    """What `NoHalting` uses of an event loop."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._timers.append((self.now + seconds, callback))

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while due := sorted((at, number) for number, (at, _) in enumerate(self._timers)):
            at, number = due[0]
            if at > until:
                break
            self.now = at
            self._timers.pop(number)[1]()
        self.now = until


class Device:
    """The reading end of what the kernel would be told."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)

    def told(self) -> list[int]:
        """Since the last time."""
        try:
            found = os.read(self.reading, 4096)
        except BlockingIOError:
            return []
        return [number for (number,) in struct.iter_unpack("i", found)]


@pytest.fixture
def device() -> Iterator[Device]:
    made = Device()
    yield made
    os.close(made.reading)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def awake(loop: Loop, device: Device) -> Iterator[NoHalting]:
    made = NoHalting(loop, device.writing, lambda: loop.now)  # type: ignore[arg-type]
    yield made
    made.close()


def requests(loop: Loop, awake: NoHalting, count: int, pause: float) -> None:
    for _ in range(count):
        awake.request()
        loop.pass_time(pause)


def test_a_row_of_requests_keeps_cpus_from_halting(
    loop: Loop, awake: NoHalting, device: Device
) -> None:
    requests(loop, awake, REQUESTS - 1, SOON_SECONDS / 2)
    assert device.told() == []
    requests(loop, awake, 1, SOON_SECONDS / 2)
    assert device.told() == [AT_ONCE]


def test_requests_far_apart_ask_for_nothing(loop: Loop, awake: NoHalting, device: Device) -> None:
    requests(loop, awake, 10 * REQUESTS, 2 * SOON_SECONDS)
    assert device.told() == []


def test_it_is_taken_back_when_there_was_no_request_for_a_while(
    loop: Loop, awake: NoHalting, device: Device
) -> None:
    requests(loop, awake, REQUESTS, 0.0)
    assert device.told() == [AT_ONCE]
    loop.pass_time(0.9 * QUIET_SECONDS)
    assert device.told() == []
    loop.pass_time(0.2 * QUIET_SECONDS)
    assert device.told() == [AS_USUAL]
    loop.pass_time(10 * QUIET_SECONDS)
    assert device.told() == []


def test_requests_put_off_the_end_and_are_not_told_of_again(
    loop: Loop, awake: NoHalting, device: Device
) -> None:
    requests(loop, awake, REQUESTS, 0.0)
    assert device.told() == [AT_ONCE]
    requests(loop, awake, 20, 0.7 * QUIET_SECONDS)
    assert device.told() == []
    loop.pass_time(QUIET_SECONDS)
    assert device.told() == [AS_USUAL]


def test_the_next_row_asks_again(loop: Loop, awake: NoHalting, device: Device) -> None:
    for _ in range(3):
        requests(loop, awake, REQUESTS, 0.0)
        assert device.told() == [AT_ONCE]
        loop.pass_time(2 * QUIET_SECONDS)
        assert device.told() == [AS_USUAL]


def test_closing_lets_go_of_the_device(loop: Loop, awake: NoHalting, device: Device) -> None:
    requests(loop, awake, REQUESTS, 0.0)
    assert device.told() == [AT_ONCE]
    awake.close()
    assert os.read(device.reading, 1) == b"", "somebody still has it open"
    requests(loop, awake, REQUESTS, 0.0)
    loop.pass_time(2 * QUIET_SECONDS)
    awake.close()


def test_a_kernel_that_refuses_is_not_asked_again(loop: Loop, tmp_path: Path) -> None:
    file = tmp_path / "device"
    file.touch()
    refusing = os.open(file, os.O_RDONLY)
    awake = NoHalting(loop, refusing, lambda: loop.now)  # type: ignore[arg-type]
    requests(loop, awake, 3 * REQUESTS, 0.0)
    loop.pass_time(2 * QUIET_SECONDS)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(refusing)


@pytest.mark.parametrize(
    ("driver", "cpus", "opened"),
    [("haltpoll", 2, True), ("none", 2, False), ("haltpoll", 17, False)],
)
def test_the_device_is_opened_where_it_is_of_use(
    driver: str, cpus: int, opened: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "driver").write_text(f"{driver}\n")
    (tmp_path / "device").touch()
    monkeypatch.setattr(halting, "DRIVER", tmp_path / "driver")
    monkeypatch.setattr(halting, "DEVICE", tmp_path / "device")
    monkeypatch.setattr(os, "cpu_count", lambda: cpus)
    found = open_device()
    assert (found is not None) == opened
    if found is not None:
        os.close(found)


def test_without_the_device_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halting, "DEVICE", tmp_path / "device")
    assert open_device() is None
