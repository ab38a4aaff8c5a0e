"""What the kernel knows of this mount's inodes, and how it is told that this is no longer so.

For each inode there is a count of look-ups, and the change counter of the attributes the kernel
was told last. Pages of a file that stays open are another matter: they are as this mount's own
changes left the file (`InodeHandle.own_change`), until somebody else changes it. This client sees
that when attributes are asked for or the file is opened, and has the kernel drop what it keeps.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pyfuse3
from pyfuse3 import InodeT

from benchfs.inode import ROOT_INO
from benchfs.open_inodes import OpenInode
from benchfs.rpc.messages import Attributes

logger = logging.getLogger(__name__)


class _Inode:
    __slots__ = ("change", "lookups")

    def __init__(self) -> None:
        self.lookups = 0
        self.change = 0


class Known:
    """The inodes that the kernel knows. `seconds`: in which it has to have dropped pages."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._inodes: dict[int, _Inode] = {}

    def looked_up(self, attributes: Attributes) -> None:
        """These attributes go out with a name: until `forget` the kernel knows the inode."""
        if attributes.ino == ROOT_INO:
            return
        inode = self._inodes.get(attributes.ino)
        if inode is None:
            inode = self._inodes[attributes.ino] = _Inode()
        inode.lookups += 1
        inode.change = attributes.change

    def told(self, attributes: Attributes) -> None:
        """These attributes go out."""
        inode = self._inodes.get(attributes.ino)
        if inode is not None:
            inode.change = attributes.change

    def forget(self, inodes: Sequence[tuple[int, int]]) -> list[int]:
        """The kernel gives back so many look-ups of each inode; returns those it forgets."""
        gone = []
        for ino, count in inodes:
            inode = self._inodes.get(ino)
            if inode is None:
                continue
            inode.lookups -= count
            if inode.lookups <= 0:
                del self._inodes[ino]
                gone.append(ino)
        return gone

    def opened(self, opened: OpenInode) -> None:
        """A file was opened: if others changed it, its size is not what the kernel thinks.

        Pages are dropped by the answer to the open. Attributes alone are dropped without waiting.
        """
        attributes = opened.inode.attributes
        inode = self._inodes.get(attributes.ino)
        if inode is None or inode.change == attributes.change:
            return
        inode.change = attributes.change
        if not opened.cached:
            _invalidate(attributes.ino, attr_only=True)

    async def drop_old_pages(self, opened: OpenInode, attributes: Attributes) -> None:
        """Of an open file that others changed, if these newer attributes say so.

        The kernel waits for pages that are being read, so that takes a thread, during which such
        reads are answered.
        """
        if attributes.change <= opened.inode.own_change:
            return
        opened.inode.own_change = attributes.change
        async with asyncio.timeout(self._seconds):
            await asyncio.to_thread(_invalidate, attributes.ino, attr_only=False)


def _invalidate(ino: int, *, attr_only: bool) -> None:
    try:
        pyfuse3.invalidate_inode(InodeT(ino), attr_only)
    except FileNotFoundError:
        pass  # it has forgotten the inode by itself
    except OSError as exc:  # as when the mount ends: nothing is kept then
        logger.info("the kernel keeps what it knows of inode %#x: %s", ino, exc)
