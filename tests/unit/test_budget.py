"""The budget of bytes in flight and the slots of a session: who waits, and who goes next."""

from __future__ import annotations

import asyncio

import pytest

from benchfs.budget import ByteBudget
from benchfs.session import SLOTS, Session


async def turn_of_the_loop() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_budget_lets_through_what_fits_and_then_in_order() -> None:
    budget = ByteBudget(10)
    await budget.take(6)
    order: list[int] = []

    async def want(size: int) -> None:
        await budget.take(size)
        order.append(size)

    tasks = [asyncio.create_task(want(size)) for size in (5, 1)]
    await turn_of_the_loop()
    assert order == []  # 1 would fit, but 5 asked first
    budget.give_back(6)
    await asyncio.gather(*tasks)
    assert order == [5, 1]
    assert budget.used == 6


async def test_more_than_the_whole_budget_goes_alone() -> None:
    budget = ByteBudget(10)
    await budget.take(50)
    assert not budget.try_take(1)
    budget.give_back(50)
    assert budget.try_take(10)


async def test_cancelling_a_waiting_take_takes_nothing() -> None:
    budget = ByteBudget(10)
    await budget.take(10)
    task = asyncio.create_task(budget.take(5))
    await turn_of_the_loop()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    budget.give_back(10)
    assert budget.used == 0
    assert budget.try_take(10)


async def test_slots_count_up_and_are_waited_for() -> None:
    session = Session(b"s" * 16)
    taken = [await session.take() for _ in range(SLOTS)]
    assert len({slot.number for slot in taken}) == SLOTS
    waiting = asyncio.create_task(session.take())
    await turn_of_the_loop()
    assert not waiting.done()
    session.give_back(taken[7])
    again = await waiting
    assert again.number == taken[7].number
    assert again.sequence == taken[7].sequence + 1
