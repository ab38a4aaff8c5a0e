"""Who has what open: holds and releases in any order, leases, and the grace after a restart."""

import errno

import pytest

from benchfs.env import FixedEnv, fixed_env
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import HoldRecord
from benchfsd.opens import Opens

LEASE = 30.0
ALICE, BOB = b"a" * 16, b"b" * 16


@pytest.fixture
def env() -> FixedEnv:
    return fixed_env(1)


@pytest.fixture
def opens(env: FixedEnv) -> Opens:
    return Opens(env.clock, LEASE, grace=False)


def hold(ino: int, number: int = 1, *, writes: bool = False) -> HoldRecord:
    return HoldRecord(ino, number, writes)


def test_an_inode_is_held_until_its_last_session_releases_it(opens: Opens) -> None:
    opens.hold(ALICE, hold(7))
    opens.hold(BOB, hold(7))

    assert opens.release(ALICE, [hold(7)]) == []
    assert opens.is_held(7)
    assert opens.release(BOB, [hold(7)]) == [7]
    assert not opens.is_held(7)
    assert len(opens) == 0


def test_a_release_that_another_open_overtook_releases_nothing(opens: Opens) -> None:
    opens.hold(ALICE, hold(7, 1))
    opens.hold(ALICE, hold(7, 2))

    assert opens.release(ALICE, [hold(7, 1)]) == []
    assert opens.is_held(7)


def test_a_release_of_what_nobody_holds_is_harmless(opens: Opens) -> None:
    assert opens.release(ALICE, [hold(7)]) == []


def test_only_writers_count_as_writers(opens: Opens) -> None:
    opens.hold(ALICE, hold(7))
    opens.hold(BOB, hold(7, writes=True))

    assert list(opens.writers(7)) == [BOB]
    assert list(opens.writers(8)) == []


def test_a_session_that_renews_keeps_what_it_holds(opens: Opens, env: FixedEnv) -> None:
    opens.hold(ALICE, hold(7))
    opens.hold(BOB, hold(8))
    for _ in range(8):
        env.clock.advance(LEASE / 6)
        assert opens.renew(ALICE, settled=1, count=1)
        over, freed = opens.expire()
        if over:
            assert (over, freed) == ([BOB], [8])

    assert opens.is_held(7)
    assert not opens.is_held(8)


def test_time_in_which_the_node_stood_still_does_not_end_leases(
    opens: Opens, env: FixedEnv
) -> None:
    opens.hold(ALICE, hold(7))
    env.clock.advance(10 * LEASE)

    assert opens.expire() == ([], [])
    assert opens.is_held(7)


def test_after_a_restart_everything_counts_as_held_for_one_lease(env: FixedEnv) -> None:
    opens = Opens(env.clock, LEASE, grace=True)

    assert opens.is_held(7)
    assert not opens.renew(ALICE, settled=5, count=1)
    assert opens.claim(ALICE, 5, [hold(7, 3)]) == []
    env.clock.advance(LEASE)
    assert opens.is_held(7)
    assert not opens.is_held(8)
    assert opens.renew(ALICE, settled=5, count=1)


def test_a_claim_takes_the_place_of_what_was_held_but_not_of_later_opens(opens: Opens) -> None:
    for number in (1, 2, 9):
        opens.hold(ALICE, hold(number, number))
    assert not opens.renew(ALICE, settled=5, count=1)

    assert opens.claim(ALICE, 5, [hold(2, 2), hold(3, 3)]) == [1]

    assert [ino for ino in range(10) if opens.is_held(ino)] == [2, 3, 9]
    assert opens.renew(ALICE, settled=5, count=2)


def test_a_node_holds_a_limited_number_of_files(
    opens: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchfsd.opens.HOLDS_MOST", 2)
    opens.hold(ALICE, hold(7))
    opens.require_room()
    opens.hold(BOB, hold(7))

    with pytest.raises(RemoteError) as caught:
        opens.require_room()

    assert caught.value.code == errno.ENFILE


def test_a_writer_that_does_not_release_has_spilled(opens: Opens, env: FixedEnv) -> None:
    for ino in (1, 2, 3):
        opens.hold(ALICE, hold(ino, ino, writes=True))
    opens.hold(ALICE, hold(4, 4))

    opens.release(ALICE, [hold(1, 1)])
    opens.claim(ALICE, 4, [hold(3, 3, writes=True)])
    assert [opens.has_spilled(ino) for ino in (1, 2, 3, 4)] == [False, True, False, False]

    for _ in range(4):
        env.clock.advance(LEASE / 3)
        opens.expire()
    assert [opens.has_spilled(ino) for ino in (1, 2, 3, 4)] == [False, True, True, False]

    opens.forget_spilled(2)
    assert not opens.has_spilled(2)


def test_of_too_many_that_spilled_every_one_has(
    opens: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchfsd.opens.SPILLED_MOST", 2)
    for ino in (1, 2, 3):
        opens.note_spilled(ino)

    opens.forget_spilled(1)

    assert opens.has_spilled(1)
    assert opens.has_spilled(99)
