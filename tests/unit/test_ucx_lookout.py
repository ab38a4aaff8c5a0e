"""When a worker looks for an answer, and when it stops doing so."""

from collections.abc import Callable

import pytest

from benchfs.rpc.transports.ucx.context import PROGRESS_VARIABLE, progress_setting
from benchfs.rpc.transports.ucx.lookout import (
    CREDIT_MOST,
    PAUSE_LEAST,
    PAUSE_MOST,
    ROUNDS,
    TAKEN_SECONDS,
    VAIN_COSTS,
    WINDOW_SECONDS,
    Lookout,
)


class Clock:
    """Time that passes only while somebody looks."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.rounds = 0

    def __call__(self) -> float:
        return self.now

    def nothing(self, seconds: float = WINDOW_SECONDS / ROUNDS / 4) -> Callable[[], int]:
        def progress() -> int:
            self.rounds += 1
            self.now += seconds
            return 0

        return progress


def look_in_vain(lookout: Lookout, clock: Clock) -> None:
    lookout.sent()
    while lookout.until:
        assert lookout.look(clock.nothing()) == 0


def messages_that_are_not_looked_for(lookout: Lookout) -> int:
    count = 0
    while not lookout.may_look():
        assert not lookout.sent()
        count += 1
    return count


def test_an_answer_is_looked_for_until_the_window_ends_a_few_rounds_in_each_turn() -> None:
    clock = Clock()
    lookout = Lookout(clock)
    began = clock.now

    assert lookout.sent()
    lookout.look(clock.nothing())

    assert clock.rounds == ROUNDS
    assert lookout.until
    while lookout.until:
        lookout.look(clock.nothing())
    assert WINDOW_SECONDS <= clock.now - began < 1.1 * WINDOW_SECONDS


def test_what_comes_ends_the_look_at_once() -> None:
    clock = Clock()
    lookout = Lookout(clock)
    made = iter([0, 0, 1])
    lookout.sent()

    assert lookout.look(lambda: next(made)) == 1
    lookout.found()

    assert not lookout.until
    assert lookout.may_look()


def test_nothing_is_looked_for_unless_something_was_sent() -> None:
    assert not Lookout(Clock()).until


def test_after_looks_in_vain_fewer_and_fewer_are_tried() -> None:
    clock = Clock()
    lookout = Lookout(clock)

    pauses = []
    for _ in range(10):
        look_in_vain(lookout, clock)
        assert not lookout.may_look()
        pauses.append(messages_that_are_not_looked_for(lookout))

    assert pauses[:3] == [PAUSE_LEAST, 2 * PAUSE_LEAST, 4 * PAUSE_LEAST]
    assert pauses[-1] == PAUSE_MOST


def test_a_round_in_which_another_process_ran_ends_the_look() -> None:
    clock = Clock()
    lookout = Lookout(clock)
    lookout.sent()

    lookout.look(clock.nothing(1.5 * TAKEN_SECONDS))

    assert clock.rounds == 1
    assert not lookout.until
    assert not lookout.may_look()


def test_a_look_in_vain_among_many_that_found_something_changes_nothing() -> None:
    clock = Clock()
    lookout = Lookout(clock)
    for _ in range(VAIN_COSTS):
        lookout.sent()
        lookout.found()

    look_in_vain(lookout, clock)

    assert lookout.may_look()


def test_where_looking_pays_again_the_pauses_are_short_again() -> None:
    clock = Clock()
    lookout = Lookout(clock)
    for _ in range(5):
        look_in_vain(lookout, clock)
        messages_that_are_not_looked_for(lookout)
    for _ in range(CREDIT_MOST + 1):
        lookout.sent()
        lookout.found()

    while lookout.may_look():
        look_in_vain(lookout, clock)

    assert messages_that_are_not_looked_for(lookout) == PAUSE_LEAST


def test_another_word_for_progress_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROGRESS_VARIABLE, "pol")

    with pytest.raises(OSError, match="is one of adaptive, events, poll, not 'pol'"):
        progress_setting()
