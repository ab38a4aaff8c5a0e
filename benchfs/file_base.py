"""What an open file consists of, and what all of its operations begin with."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from benchfs.cache import ChunkCache
from benchfs.cluster import Cluster, Intent
from benchfs.errors import error
from benchfs.inode_handle import InodeHandle
from benchfs.layout import SMALL_BYTES
from benchfs.locking import FileLocks
from benchfs.reading import ChunkReader, SegmentReader
from benchfs.writing import WriteBehind


class Mode(NamedTuple):
    """What `open`'s mode string allows."""

    text: str
    read: bool
    write: bool
    create: bool
    exclusive: bool
    truncate: bool
    append: bool

    @property
    def brings(self) -> int:
        """Of how many bytes the content is to come with the open."""
        return SMALL_BYTES if self.read and not self.create else 0


@cache
def parse_mode(mode: str) -> Mode:
    """`r`, `w`, `a` or `x`, each with `+`; `b` may be there and changes nothing. ValueError."""
    letters = mode.replace("b", "", 1)
    if letters not in {"r", "w", "a", "x", "r+", "w+", "a+", "x+"}:
        raise ValueError(f"mode {mode!r}: one of r w a x, with + or without; files are binary")
    kind, plus = letters[0], "+" in letters
    return Mode(
        text=kind + ("b+" if plus else "b"),
        read=kind == "r" or plus,
        write=kind != "r" or plus,
        create=kind != "r",
        exclusive=kind == "x",
        truncate=kind == "w",
        append=kind == "a",
    )


class OpenFile:
    """The state of an open file. `on_close` is called when it is closed."""

    def __init__(  # noqa: PLR0917 (one argument a collaborator)
        self,
        cluster: Cluster,
        inode: InodeHandle,
        mode: Mode,
        chunks: ChunkReader,
        segments: SegmentReader,
        cache: ChunkCache,
        writes: WriteBehind,
        timeout: float,
        attribute_seconds: float,
        on_close: Callable[[], None],
    ) -> None:
        self.name = inode.path
        self.mode = mode.text
        self.closed = False
        self.was_read = False  # so that its access time may be due
        self._cluster = cluster
        self._inode = inode
        self._mode = mode
        self._chunks = chunks
        self._segments = segments
        self._cache = cache
        self._writes = inode.writes = writes
        self._timeout = timeout
        self._attribute_seconds = attribute_seconds
        self._on_close = on_close
        self._locks: FileLocks | None = None
        self._loop = asyncio.get_running_loop()
        self._position = inode.attributes.size if mode.append else 0
        self._sequential_at = 0  # where the next read starts if it is sequential
        self._ahead = 0

    # ------------------------------------------------------------ inside

    def _intent(self, operation: str) -> Intent:
        if self.closed:
            raise ValueError(f"{operation} of a closed file: {self.name}")
        return self._cluster.intent(operation, self.name, self._timeout)

    def _reading(self, operation: str) -> Intent:
        intent = self._intent(operation)
        if not self._mode.read:
            raise error(errno.EBADF, operation, self.name, text=f"opened with mode {self.mode}")
        self._inode.require(intent)
        self.was_read = True
        return intent

    def _writing(self, operation: str) -> Intent:
        intent = self._intent(operation)
        if not self._mode.write:
            raise error(errno.EBADF, operation, self.name, text=f"opened with mode {self.mode}")
        self._inode.require(intent)
        return intent


def check_range(intent: Intent, offset: int, size: int) -> None:
    """Raise OSError EINVAL for a range that begins before the file or is negative."""
    if offset < 0 or size < 0:
        text = f"{size} bytes at {offset}"
        raise error(errno.EINVAL, intent.operation, intent.path, text=text)
