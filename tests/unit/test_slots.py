"""Exactly once: what a slot answers, and to whom."""

import errno

import pytest

from benchfs.rpc.errors import RemoteError
from benchfs.rpc.frames import Kind
from benchfs.rpc.messages import Code
from benchfsd.rows import Answer, Call
from benchfsd.slots import Slots, is_final
from tests.unit.memory_rows import MemoryRows

GROUP = 7
SESSION = b"session-of-16-by"
OTHER = b"another session!"
REPLY = Answer(Kind.REPLY, b"\x92\x15\xc3")
REFUSAL = Answer(Kind.ERROR, b"\x91\x11")


@pytest.fixture
def slots() -> Slots:
    return Slots(MemoryRows())


@pytest.mark.parametrize("answer", [REPLY, REFUSAL, Answer(Kind.REPLY, b"")])
def test_a_call_that_comes_again_gets_its_answer_again(slots: Slots, answer: Answer) -> None:
    call = Call(SESSION, slot=3, sequence=1)

    assert slots.replay(GROUP, call) is None
    slots.record(GROUP, call, answer)

    assert slots.replay(GROUP, call) == answer
    assert slots.replay(GROUP, call) == answer


def test_the_next_call_is_executed_and_takes_the_place_of_the_last(slots: Slots) -> None:
    slots.record(GROUP, Call(SESSION, 3, 1), REPLY)
    following = Call(SESSION, 3, 2)

    assert slots.replay(GROUP, following) is None
    slots.record(GROUP, following, REFUSAL)

    assert slots.replay(GROUP, following) == REFUSAL


def test_a_call_older_than_the_last_is_refused(slots: Slots) -> None:
    slots.record(GROUP, Call(SESSION, 3, 5), REPLY)

    with pytest.raises(RemoteError) as caught:
        slots.replay(GROUP, Call(SESSION, 3, 4))

    assert caught.value.code == Code.STALE_SEQUENCE


@pytest.mark.parametrize(
    ("group", "call"),
    [
        (GROUP, Call(SESSION, 4, 1)),
        (GROUP, Call(OTHER, 3, 1)),
        (GROUP + 1, Call(SESSION, 3, 1)),
    ],
    ids=["slot", "session", "group"],
)
def test_another_slot_session_or_group_is_another_call(
    slots: Slots, group: int, call: Call
) -> None:
    slots.record(GROUP, Call(SESSION, 3, 9), REPLY)

    assert slots.replay(group, call) is None


def test_sequences_go_far(slots: Slots) -> None:
    slots.record(GROUP, Call(SESSION, 65535, 2**64 - 1), REPLY)

    assert slots.replay(GROUP, Call(SESSION, 65535, 2**64 - 1)) == REPLY


@pytest.mark.parametrize("session", [b"", bytes(15), bytes(17)])
def test_a_session_of_the_wrong_length_is_refused(slots: Slots, session: bytes) -> None:
    with pytest.raises(RemoteError) as caught:
        slots.replay(GROUP, Call(session, 0, 1))

    assert caught.value.code == Code.BAD_MESSAGE


def test_a_forgotten_session_leaves_the_others(slots: Slots) -> None:
    for group in (1, 2, 3):
        for slot in (0, 1, 65535):
            slots.record(group, Call(SESSION, slot, 1), REPLY)
            slots.record(group, Call(OTHER, slot, 1), REPLY)

    assert slots.forget(SESSION, [1, 2]) == 6

    assert list(slots.sessions(1)) == [OTHER]
    assert list(slots.sessions(2)) == [OTHER]
    assert sorted(slots.sessions(3)) == sorted([OTHER, SESSION])
    assert slots.replay(1, Call(OTHER, 65535, 1)) == REPLY
    assert slots.replay(1, Call(SESSION, 0, 1)) is None


def test_answers_that_ask_to_try_again_are_not_final() -> None:
    assert is_final(errno.EEXIST)
    assert is_final(errno.EIO)
    for code in Code:
        assert not is_final(code)


def test_what_is_not_remembered_is_read(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchfsd.slots.REMEMBERED", 1)
    for slot in range(3):
        slots.record(1, Call(SESSION, slot, 5), REPLY)

    for slot in range(3):
        assert slots.replay(1, Call(SESSION, slot, 5)) == REPLY
        assert slots.replay(1, Call(SESSION, slot, 6)) is None
        with pytest.raises(RemoteError):
            slots.replay(1, Call(SESSION, slot, 4))


def test_a_call_that_ends_after_a_later_one_takes_nobody_s_place(slots: Slots) -> None:
    slots.record(GROUP, Call(SESSION, 3, 2), REPLY)
    slots.record(GROUP, Call(SESSION, 3, 1), REFUSAL)

    assert slots.replay(GROUP, Call(SESSION, 3, 2)) == REPLY
