"""What a mount answers by itself, for no longer than the kernel would have believed it anyway.

The kernel asks for a directory's attributes again after each change it made there, to check
permissions at the next step. Those that came a moment ago are as good: what this mount changed
since is followed (a file that comes or goes moves the directory's times), or they are forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lru import LRU

from benchfs.inode import FileType
from benchfs.rpc.messages import Attributes

DIRECTORIES_MOST = 10_000


class Believed(NamedTuple):
    """Attributes, and for how many seconds from now."""

    attributes: Attributes
    seconds: float


class Asked(NamedTuple):
    """A question that is under way: when it began, and after which change of this mount."""

    at: float
    changes: int


class _Answer(NamedTuple):
    attributes: Attributes
    until: float


class Directories:
    """Attributes of directories. `seconds`: how long they are believed; `clock`: seconds."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._changes = 0
        self._answers: LRU[int, _Answer] = LRU(DIRECTORIES_MOST)

    def find(self, ino: int) -> Believed | None:
        """Attributes that are still good."""
        answer = self._answers.get(ino)
        if answer is None:
            return None
        left = answer.until - self._clock()
        return Believed(answer.attributes, left) if left > 0 else None

    def ask(self) -> Asked:
        """To be called before the cluster is asked."""
        return Asked(self._clock(), self._changes)

    def learn(self, attributes: Attributes, asked: Asked) -> None:
        """The answer, unless this mount changed something since the question."""
        if attributes.type == FileType.DIRECTORY and asked.changes == self._changes:
            self._answers[attributes.ino] = _Answer(attributes, asked.at + self._seconds)

    def file_was_made(self, directory: int, file: Attributes) -> None:
        """This mount made `file` there, or found it: then its times are no later."""
        self._changes += 1
        if file.atime_ns == file.mtime_ns == file.ctime_ns:
            self._follow(directory, file.ctime_ns)

    def file_was_removed(self, directory: int, time_ns: int) -> None:
        """This mount removed a name there at that time; 0: nobody knows when."""
        if not time_ns:
            self.forget(directory)
            return
        self._changes += 1
        self._follow(directory, time_ns)

    def _follow(self, directory: int, time_ns: int) -> None:
        answer = self._answers.get(directory)
        if answer is None:
            return
        known = answer.attributes
        followed = known._replace(
            mtime_ns=max(known.mtime_ns, time_ns), ctime_ns=max(known.ctime_ns, time_ns)
        )
        self._answers[directory] = answer._replace(attributes=followed)

    def forget(self, ino: int) -> None:
        """This mount changed the directory, or an inode that may be one."""
        self._changes += 1
        self._answers.pop(ino, None)

    def forget_all(self) -> None:
        """This mount moved something that may be a directory."""
        self._changes += 1
        self._answers.clear()
