"""The space above the reserve: asked for seldom, and never refused by an old answer."""

from __future__ import annotations

from benchfs.env import ManualClock
from benchfsd.chunks.files import Space
from benchfsd.chunks.space import KEEP_SECONDS, PAGE, SpaceBudget


class Disk:
    """A disk of 100 pages, and how often it was asked."""

    def __init__(self, free_pages: int) -> None:
        self.free_pages = free_pages
        self.asked = 0

    def space(self) -> Space:
        self.asked += 1
        return Space(100 * PAGE, self.free_pages * PAGE)


def test_a_disk_with_space_is_asked_once_in_a_while() -> None:
    disk, clock = Disk(free_pages=50), ManualClock()
    budget = SpaceBudget(disk.space, clock, 10 * PAGE)

    assert all(budget.is_left() for _ in range(1000))
    assert disk.asked == 1

    clock.advance(KEEP_SECONDS)
    assert budget.is_left()
    assert disk.asked == 2


def test_a_disk_at_its_reserve_has_nothing_left_until_something_is_removed() -> None:
    disk = Disk(free_pages=10)
    budget = SpaceBudget(disk.space, ManualClock(), 10 * PAGE)
    assert not budget.is_left()

    disk.free_pages = 11

    assert budget.is_left()
    assert budget.grant(PAGE)
    disk.free_pages = 10
    assert not budget.is_left()
    assert not budget.grant(1)
