"""When a mount looks for the next request instead of sleeping, by a clock of our own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchfs.fuse.awake import (
    LONG_SECONDS,
    REST_SECONDS,
    REST_SECONDS_MOST,
    SOON_SECONDS,
    WINDOW_SECONDS,
    Awake,
)

TURN_SECONDS = 10e-6


class Loop:
    """What `Awake` uses of an event loop; and the CPU, which somebody else may want."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.others_seconds = 0.0  # for which others run when they are let
        self._ready: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._ready.append(callback)

    def give_way(self) -> None:
        self.now += self.others_seconds

    def turns(self) -> int:
        """Turns of the loop until it would sleep."""
        count = 0
        while self._ready:
            ready, self._ready = self._ready, []
            for callback in ready:
                callback()
            self.now += TURN_SECONDS
            count += 1
            assert count < 1000, "the loop never sleeps"
        return count

    def pass_time(self, seconds: float) -> None:
        assert not self._ready
        self.now += seconds


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def awake(loop: Loop) -> Awake:
    return Awake(loop, lambda: loop.now, loop.give_way)  # type: ignore[arg-type]


def two_requests(loop: Loop, awake: Awake) -> int:
    """Turns after the second of two requests that belong together."""
    loop.pass_time(2 * SOON_SECONDS)
    awake.request()
    assert loop.turns() == 0
    loop.pass_time(SOON_SECONDS / 2)
    awake.request()
    return loop.turns()


def test_a_request_alone_lets_the_loop_sleep_at_once(loop: Loop, awake: Awake) -> None:
    for _ in range(100):
        awake.request()
        assert loop.turns() == 0
        loop.pass_time(2 * SOON_SECONDS)


def test_after_a_second_request_the_loop_looks_for_the_window_and_then_sleeps(
    loop: Loop, awake: Awake
) -> None:
    turns = two_requests(loop, awake)
    assert turns == pytest.approx(WINDOW_SECONDS / TURN_SECONDS, abs=3)


def test_each_request_begins_the_window_anew(loop: Loop, awake: Awake) -> None:
    awake.request()
    awake.request()
    began = loop.now
    for _ in range(20):
        loop.now += WINDOW_SECONDS / 2  # the loop is busy with it
        awake.request()
    loop.turns()
    assert loop.now - began == pytest.approx(11 * WINDOW_SECONDS, rel=0.1)


def test_when_others_take_the_cpu_for_long_the_loop_sleeps(loop: Loop, awake: Awake) -> None:
    loop.others_seconds = 2 * LONG_SECONDS
    assert two_requests(loop, awake) == 1
    loop.others_seconds = 0.0
    assert two_requests(loop, awake) == 0  # it rests
    loop.pass_time(REST_SECONDS)
    assert two_requests(loop, awake) > 2


def test_others_that_run_for_a_moment_do_not_end_the_looking(loop: Loop, awake: Awake) -> None:
    loop.others_seconds = 20e-6
    assert two_requests(loop, awake) > 2


def test_rests_grow_while_the_cpu_is_wanted_by_others(loop: Loop, awake: Awake) -> None:
    loop.others_seconds = 2 * LONG_SECONDS
    looks = 0
    while loop.now < 1000.0 + 20 * REST_SECONDS_MOST:
        looks += two_requests(loop, awake)
    assert looks < 30  # one each REST_SECONDS would be 640


def test_a_rest_is_short_again_after_the_cpu_was_free(loop: Loop, awake: Awake) -> None:
    loop.others_seconds = 2 * LONG_SECONDS
    for _ in range(4):
        assert two_requests(loop, awake) == 1
        loop.pass_time(REST_SECONDS_MOST)
    loop.pass_time(2 * REST_SECONDS_MOST)
    assert two_requests(loop, awake) == 1
    loop.others_seconds = 0.0
    loop.pass_time(REST_SECONDS)
    assert two_requests(loop, awake) > 2
