"""Databases of tests: a turn of the loop by hand, and a file that is opened once more."""

from collections.abc import Callable
from pathlib import Path

from benchfsd.database import Database


class Turn:
    """Stands for the event loop: keeps what is scheduled until the turn is run."""

    def __init__(self) -> None:
        self.scheduled: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.scheduled.append(callback)

    def run(self) -> None:
        scheduled, self.scheduled = self.scheduled, []
        for callback in scheduled:
            callback()


def reopen(path: Path) -> Database:
    return Database(path / "db", sync=False, schedule=lambda callback: None)
