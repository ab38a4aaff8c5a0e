"""Directories in which this client alone makes names, so that it knows which there are not.

A node lets a client be the only one for some milliseconds after it made a file
(`benchfsd/delegations.py`). To know which names are missing takes to know all that are there: of a
directory whose first file this client made, and those it made since, without anybody else in
between. Names that it made and that are gone, or that may have been made, count as there: such a
name is asked for as ever, and so is every other once the time is over. A node goes on with what its
client gave up, so a directory in which nobody knows what became of a name is not taken up any more.

What the same client makes by path is not seen here, so this is for those who use inode numbers
only, as a mount does.
"""

from __future__ import annotations

from collections.abc import Callable

from benchfs.rpc.messages import DirectoryRecord

NAMES_MOST = 200_000  # some 100 bytes each
UNDER_WAY_MOST = 1000
DOUBTFUL_MOST = 1000  # directories; then no more are taken up


class _UnderWay:
    """Names that are being made in one directory, and those made since there were none."""

    __slots__ = ("count", "names")

    def __init__(self) -> None:
        self.count = 0
        self.names: set[bytes] = set()


class _Known:
    """A directory, and all names that may be in it.

    `base`: its change counter after the first file; `newest`: the highest of an answer.
    """

    __slots__ = ("base", "made", "names", "newest", "started_ns", "until")

    def __init__(self, names: set[bytes], record: DirectoryRecord) -> None:
        self.names = names
        self.base = self.newest = record.change
        self.started_ns = record.started_ns  # of the node
        self.made = 0  # files of this client since
        self.until = 0.0  # nobody else makes names


class Alone:
    """The directories of one client. `clock`: as `since_boot`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._directories: dict[int, _Known] = {}
        self._under_way: dict[int, _UnderWay] = {}
        self._doubtful: set[int] = set()
        self._count = 0  # of names

    def is_absent(self, directory: int, name: bytes) -> bool:
        """Whether there surely is nothing of this name."""
        known = self._directories.get(directory)
        return known is not None and name not in known.names and self.clock() < known.until

    def begin(self, directory: int, name: bytes) -> None:
        """This client is about to make a name, or to try. `end` must follow, whatever happens."""
        under_way = self._under_way.get(directory)
        if under_way is None:
            under_way = self._under_way[directory] = _UnderWay()
        under_way.count += 1
        if len(under_way.names) < UNDER_WAY_MOST:
            under_way.names.add(name)
        known = self._directories.get(directory)
        if known is not None and name not in known.names:
            known.names.add(name)
            self._count += 1
            if self._count > NAMES_MOST:
                self._directories.clear()
                self._count = 0

    def doubt(self, directory: int) -> None:
        """What was begun there may still be done, or was, or not. Between `begin` and `end`."""
        if len(self._doubtful) < DOUBTFUL_MOST:
            self._doubtful.add(directory)

    def end(self, directory: int) -> None:
        """What was begun is done, or was refused, or nobody knows: see `doubt`."""
        under_way = self._under_way[directory]
        under_way.count -= 1
        if not under_way.count:
            del self._under_way[directory]

    def made(self, directory: int, asked: float, record: DirectoryRecord) -> None:
        """A file was made, as was `asked` for at that time. Between `begin` and `end`."""
        until = asked + record.alone_ms / 1000
        known = self._directories.get(directory)
        if known is None:
            names = self._under_way[directory].names
            if (
                record.entries == 1
                and len(names) < UNDER_WAY_MOST
                and directory not in self._doubtful
                and len(self._doubtful) < DOUBTFUL_MOST
            ):
                known = self._directories[directory] = _Known(set(names), record)
                known.until = until
                self._count += len(names)
            return
        if record.started_ns != known.started_ns:
            self.forget(directory)  # the counter may have gone back and on again
            return
        if record.change <= known.base:
            return
        known.made += 1
        known.newest = max(known.newest, record.change)
        went_on = self.clock() < known.until
        if went_on or known.newest - known.base == known.made:
            known.until = max(known.until, until)
        else:
            self.forget(directory)  # somebody else changed it

    def forget(self, directory: int) -> None:
        """It will not be used any more."""
        known = self._directories.pop(directory, None)
        if known is not None:
            self._count -= len(known.names)
