"""Stored answers go when their session is over, and not before."""

from __future__ import annotations

from benchfs.env import fixed_env
from benchfs.rpc.frames import Kind
from benchfsd.rows import Answer, Call
from benchfsd.sessions import KEEP_SECONDS, SessionKeeper
from benchfsd.slots import Slots
from tests.unit.memory_rows import MemoryRows

HERE, GONE = b"h" * 16, b"g" * 16


def test_answers_are_kept_while_connected_and_some_time_after() -> None:
    env, slots = fixed_env(), Slots(MemoryRows())
    keeper = SessionKeeper(slots, lambda: [4, 5], env.clock)
    for group in (4, 5):
        for session in (HERE, GONE):
            slots.record(group, Call(session, 0, 1), Answer(Kind.REPLY, b"\x90"))
    assert keeper.look({HERE, GONE}) == 0
    env.clock.advance(KEEP_SECONDS - 1)
    assert keeper.look({HERE}) == 0
    env.clock.advance(2)
    assert keeper.look({HERE}) == 2
    assert list(slots.sessions(4)) == [HERE]
    assert list(slots.sessions(5)) == [HERE]


def test_a_session_met_after_a_start_has_time_to_come_back() -> None:
    env, slots = fixed_env(), Slots(MemoryRows())
    slots.record(4, Call(GONE, 0, 1), Answer(Kind.REPLY, b"\x90"))
    keeper = SessionKeeper(slots, lambda: [4], env.clock)
    assert keeper.look(set()) == 0
    env.clock.advance(KEEP_SECONDS + 1)
    assert keeper.look(set()) == 1
