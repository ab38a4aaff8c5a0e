"""Open directories of a mount: entries in the order of their names, each with a stable cookie.

A cookie is the number of an entry in the order of this listing. Names that were handed out are
remembered, so a listing that goes back to a cookie goes on after the same name, whatever came and
went meanwhile: nothing is skipped, nothing comes twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from benchfs.by_inode import ByInode
from benchfs.rpc.messages import Attributes

Found = tuple[bytes, Attributes]


class OpenDirectory:
    """One opened directory. Reads of it are to come one after the other."""

    def __init__(self, inodes: ByInode, ino: int) -> None:
        self._inodes = inodes
        self.ino = ino
        self._names: list[bytes] = []  # of the entries that were handed out, in order
        self._at = 0  # the cookie after which `_entries` goes on
        self._entries: AsyncIterator[Found] | None = None
        self._pending: Found | None = None  # fetched, and did not fit into the last reply

    async def above(self, number: int) -> Attributes:
        """Attributes of the directory itself (0), or as good as those of its parent (1)."""
        own = await self._inodes.attributes(self.ino)
        return own if number == 0 or not own.parent else own._replace(ino=own.parent)

    async def next(self, cookie: int) -> Found | None:
        """The entry after a cookie; None at the end. What is handed out is to be `taken`."""
        if cookie == 0 and self._at:
            self._names.clear()  # read from the start: what is there now
        if self._entries is None or cookie != self._at:
            self._seek(cookie)
        if self._pending is None:
            assert self._entries is not None
            self._pending = await anext(self._entries, None)
        return self._pending

    def taken(self) -> int:
        """The entry that came last is in a reply; returns its cookie."""
        assert self._pending is not None
        del self._names[self._at :]
        self._names.append(self._pending[0])
        self._pending = None
        self._at += 1
        return self._at

    def _seek(self, cookie: int) -> None:
        self._at = min(cookie, len(self._names))
        after = self._names[self._at - 1] if self._at else b""
        self._pending = None
        self._entries = self._list(after)

    async def _list(self, after: bytes) -> AsyncIterator[Found]:
        async for entry, attributes in self._inodes.entries(self.ino, after):
            yield entry.name, attributes
