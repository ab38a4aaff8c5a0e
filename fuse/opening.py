"""What the flags of open(2) mean at a mount, and the handle that comes of it."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from benchfs.fuse.tuning import DIRECT_WRITES_ARE_COHERENT
from benchfs.inode import READ, WRITE
from benchfs.open_inodes import OpenInode

_WANTED = {os.O_RDONLY: READ, os.O_WRONLY: WRITE, os.O_RDWR: READ | WRITE}


class How(NamedTuple):
    """How a file is opened."""

    wanted: int  # READ, WRITE or both
    appends: bool  # what is written goes to the end, not where the kernel says
    truncates: bool
    only_writes: bool

    def goes_past_pages(self, mode: int) -> bool:
        """Whether the kernel is to keep no pages of what is read and written.

        Appends: where it thinks the end is, others may have appended. Writes alone, where that is
        coherent: they are fewer requests. But only with pages it has S_ISUID and S_ISGID cleared.
        """
        if self.appends:
            return True
        clears = mode & (stat.S_ISUID | stat.S_ISGID)
        return self.only_writes and DIRECT_WRITES_ARE_COHERENT and not clears


def how(flags: int, *, writeback: bool) -> How:
    """`writeback`: the kernel gathers writes, reads what surrounds them, and knows the end."""
    wanted = _WANTED[flags & os.O_ACCMODE]
    truncates = bool(flags & os.O_TRUNC)
    if writeback:
        wanted = READ | WRITE if wanted & WRITE else wanted
        return How(wanted, appends=False, truncates=truncates, only_writes=False)
    return How(wanted, bool(flags & os.O_APPEND), truncates, only_writes=wanted == WRITE)


class Handle:
    """A file as one program opened it."""

    __slots__ = ("appends", "opened", "writes")

    def __init__(self, opened: OpenInode, way: How) -> None:
        self.opened = opened
        self.writes = bool(way.wanted & WRITE)
        self.appends = way.appends
