"""Who may make names in a directory for a moment: grants, their ends, and who wants one ended."""

from __future__ import annotations

import pytest

from benchfs.env import ManualClock
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import Code
from benchfsd import delegations as module
from benchfsd.delegations import (
    GRANTED_SECONDS,
    NOBODY,
    TOLD_MS,
    WANTED_SECONDS,
    Delegations,
)

ALICE, BOB = b"a" * 16, b"b" * 16
DIRECTORY, ANOTHER = 7, 8
MOMENT = 0.001


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def delegations(clock: ManualClock) -> Delegations:
    return Delegations(clock)


def is_refused(delegations: Delegations, session: bytes, directory: int = DIRECTORY) -> bool:
    try:
        delegations.require(directory, session, b"name")
    except RemoteError as exc:
        return exc.code == Code.NOT_READY and exc.path == b"name"
    return False


def test_a_client_is_told_less_time_than_it_has() -> None:
    assert TOLD_MS / 1000 < GRANTED_SECONDS


def test_nobody_is_refused_where_nothing_was_granted(delegations: Delegations) -> None:
    for session in (ALICE, BOB, NOBODY):
        assert not is_refused(delegations, session)


@pytest.mark.parametrize("other", [BOB, NOBODY], ids=["a-client", "another-group"])
def test_only_who_was_granted_a_directory_makes_names_there(
    delegations: Delegations, other: bytes
) -> None:
    assert delegations.grant(DIRECTORY, ALICE) == TOLD_MS

    assert not is_refused(delegations, ALICE)
    assert is_refused(delegations, other)
    assert not is_refused(delegations, other, ANOTHER)


def test_a_grant_is_over_after_its_time_and_not_before(
    delegations: Delegations, clock: ManualClock
) -> None:
    delegations.grant(DIRECTORY, ALICE)

    clock.advance(GRANTED_SECONDS - MOMENT)
    assert is_refused(delegations, BOB)
    clock.advance(MOMENT)
    assert not is_refused(delegations, BOB)


def test_each_file_begins_the_time_anew(delegations: Delegations, clock: ManualClock) -> None:
    for _ in range(10):
        assert delegations.grant(DIRECTORY, ALICE) == TOLD_MS
        clock.advance(GRANTED_SECONDS - MOMENT)

    assert is_refused(delegations, BOB)


def test_a_directory_that_somebody_else_has_is_not_granted(
    delegations: Delegations, clock: ManualClock
) -> None:
    delegations.grant(DIRECTORY, ALICE)

    assert delegations.grant(DIRECTORY, BOB) == 0
    clock.advance(GRANTED_SECONDS)
    assert delegations.grant(DIRECTORY, BOB) == TOLD_MS
    assert is_refused(delegations, ALICE)


def test_a_grant_is_not_renewed_once_somebody_waits_for_its_end(
    delegations: Delegations, clock: ManualClock
) -> None:
    delegations.grant(DIRECTORY, ALICE)
    assert is_refused(delegations, BOB)

    assert delegations.grant(DIRECTORY, ALICE) == 0
    clock.advance(GRANTED_SECONDS)
    assert not is_refused(delegations, BOB)


@pytest.mark.parametrize("waited", [0.0, GRANTED_SECONDS], ids=["refused", "after-the-end"])
def test_a_directory_that_others_made_names_in_is_not_granted_for_a_while(
    delegations: Delegations, clock: ManualClock, waited: float
) -> None:
    delegations.grant(DIRECTORY, ALICE)
    clock.advance(waited)
    is_refused(delegations, BOB)

    clock.advance(WANTED_SECONDS - MOMENT)
    assert delegations.grant(DIRECTORY, ALICE) == 0
    assert delegations.grant(DIRECTORY, BOB) == 0
    assert delegations.grant(ANOTHER, ALICE) == TOLD_MS
    clock.advance(MOMENT)
    assert delegations.grant(DIRECTORY, BOB) == TOLD_MS


def test_of_many_directories_only_what_is_over_is_forgotten(
    delegations: Delegations, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_MOST", 4)
    for directory in range(4):
        delegations.grant(directory, ALICE)
        assert is_refused(delegations, BOB, directory) is True
    clock.advance(GRANTED_SECONDS)
    for directory in range(10, 16):  # more than are kept, none over
        assert delegations.grant(directory, ALICE) == TOLD_MS

    for directory in range(10, 16):
        assert is_refused(delegations, BOB, directory)
    for directory in (*range(4), *range(10, 16)):
        assert delegations.grant(directory, ALICE) == 0
    assert len(delegations._grants) == 6
    clock.advance(WANTED_SECONDS)
    delegations.grant(20, ALICE)
    assert is_refused(delegations, BOB, 20)
    assert (len(delegations._grants), len(delegations._wanted)) == (1, 1)
