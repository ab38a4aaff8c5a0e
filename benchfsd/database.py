"""The rows of a node: an LMDB environment whose mutations are gathered into batches.

All mutations of one turn of the event loop share one write transaction: the first opens it
and schedules its commit, and whoever wants to acknowledge something waits with `on_commit`.
Every row carries its own check. One thread uses a Database; only `flush_to_disk` may run in
another. What keys and values mean is said in `benchfsd/rows.py`.

Measured on the 2-core development machine, rows of 24 + 120 bytes on tmpfs, checks included:
put and delete 2.5 µs each in batches of 32, 3.2 in batches of 8, 6.5 alone; get 0.7 µs; scan
0.55 µs a row; 250 bytes of file a row. With `sync` a commit takes as long as the disk's flush.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import lmdb
import xxhash

from benchfsd.headroom import Headroom

MAX_KEY_BYTES = 511  # of LMDB, as it is commonly built
CHECK_BYTES = 4
DEFAULT_MAP_BYTES = 64 * 1024**3  # address space, not disk: the file grows as rows come

# A scan reads pages of rows, so that it may be abandoned, or outlive the batch, at any row.
# The first page is small, since many scans only ask whether there is a row at all.
_FIRST_PAGE = 8
_LATER_PAGES = 256

_check = xxhash.xxh32_digest

Callback = Callable[[], None]


class CorruptRowError(Exception):
    """A row does not match its check: it was changed by something other than this module."""

    def __init__(self, key: bytes) -> None:
        super().__init__(f"row {key.hex()} does not match its check")
        self.key = key


class FatalStorageError(Exception):
    """The batch could not be written, and nothing of it may be acknowledged.

    Never retried: after a failed write nobody knows what the disk holds. The process must end,
    and start again from what was committed.
    """


def _log_nothing(_error: FatalStorageError) -> None:
    """The default of `on_fatal`: the raised error is all there is."""


class Database:
    """Rows by key, in the order of their keys, with batched mutations.

    `path` is a directory, made if missing. `sync`: each commit returns when the disk has it;
    without it a commit survives the end of the process, and the end of the machine only after
    `flush_to_disk`. `map_bytes` bounds the size of all rows together. `schedule` is the event
    loop's `call_soon`. `headroom`: bytes of the disk that are allocated ahead, for commits on a
    disk that got full. `on_fatal` is called, once, before the first FatalStorageError is raised:
    it should log and end the process.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        sync: bool,
        map_bytes: int = DEFAULT_MAP_BYTES,
        headroom: int = 0,
        schedule: Callable[[Callback], object],
        on_fatal: Callable[[FatalStorageError], object] = _log_nothing,
    ) -> None:
        # lmdb would give the directory the mode of its files, of no use to others than root.
        Path(path).mkdir(mode=0o700, exist_ok=True)
        # No readahead: pages are read at random, and those of a node in use are in memory.
        # No writemap: a stray write of this process could reach the file.
        self._env = lmdb.open(
            os.fspath(path),
            map_size=map_bytes,
            sync=sync,
            metasync=sync,
            writemap=False,
            readahead=False,
            mode=0o600,
            max_dbs=0,
        )
        self._page_bytes = int(self._env.stat()["psize"])
        self.map_bytes = map_bytes
        """What `used_bytes` may grow to. A put beyond it is fatal: refuse new rows before."""
        self._used_bytes: int | None = None  # at the last commit, once somebody has asked
        self._schedule = schedule
        self._on_fatal = on_fatal
        self._failure: FatalStorageError | None = None
        self._batch: lmdb.Transaction[bytes] | None = None
        self.batch_bytes = 0
        """Of the values that were put since the last commit."""
        self._reader: lmdb.Transaction[bytes] | None = None  # on the last commit, outside batches
        self._headroom = Headroom(Path(path) / "data.mdb", headroom) if headroom else None
        self._keep_headroom()
        self._waiting: deque[Callback] = deque()
        self._committed: deque[Callback] = deque()

    # ------------------------------------------------------------------------- rows

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, as the open batch leaves it; None if there is none.

        Raises CorruptRowError.
        """
        try:
            stored = (self._batch or self._read()).get(key)
        except lmdb.BadValsizeError:
            return None  # no row can have this key
        except lmdb.Error as problem:
            self._fail("get", problem)
        if stored is None:
            return None
        value = stored[:-CHECK_BYTES]
        if _check(key + value) != stored[-CHECK_BYTES:]:
            raise CorruptRowError(key)
        return value

    def put(self, key: bytes, value: bytes) -> None:
        """Set a row. It is in the file when the callbacks of `on_commit` run.

        Raises ValueError for a key that is empty or longer than MAX_KEY_BYTES.
        """
        if not 0 < len(key) <= MAX_KEY_BYTES:
            raise ValueError(f"a key of {len(key)} bytes: 1 to {MAX_KEY_BYTES} are possible")
        try:
            (self._batch or self._open_batch()).put(key, value + _check(key + value))
            self.batch_bytes += len(value)
        except lmdb.Error as problem:
            self._fail("put", problem)

    def delete(self, key: bytes) -> bool:
        """Remove a row; tells whether there was one."""
        try:
            return (self._batch or self._open_batch()).delete(key)
        except lmdb.BadValsizeError:
            return False  # no row can have this key
        except lmdb.Error as problem:
            self._fail("delete", problem)

    def scan(
        self, prefix: bytes, after: bytes = b"", reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Rows whose keys start with `prefix`, in the order of their keys; sees the open batch.

        `after`, a whole key, leaves out all keys up to and including it. With `reverse` the
        order is descending, and `after` leaves out all keys from it upwards. The caller may stop
        at any row, and may put, delete and commit meanwhile: what is changed so may or may not
        be seen, every other row is seen exactly once. Raises CorruptRowError.
        """
        most = _FIRST_PAGE
        while True:
            page = self._page(prefix, after, reverse, most)
            for key, stored in page:
                value = stored[:-CHECK_BYTES]
                if _check(key + value) != stored[-CHECK_BYTES:]:
                    raise CorruptRowError(key)
                yield key, value
            if len(page) < most:
                return
            after = page[-1][0]
            most = _LATER_PAGES

    def count(self, prefix: bytes) -> int:
        """How many rows have keys that start with `prefix`: walks them all, 0.2 µs each."""
        total = 0
        try:
            with (self._batch or self._read()).cursor() as cursor:
                if _place_at(cursor, prefix):
                    for key in cursor.iternext(keys=True, values=False):
                        if not key.startswith(prefix):
                            break
                        total += 1
        except lmdb.Error as problem:
            self._fail("count", problem)
        return total

    # ---------------------------------------------------------------------- batches

    @property
    def batch_open(self) -> bool:
        """Whether there are mutations that were not committed yet."""
        return self._batch is not None

    def on_commit(self, callback: Callback) -> None:
        """Call `callback` after the commit of the open batch, or at once if none is open.

        Callbacks are called in the order they were given. One that raises does not keep the
        others from being called, in a later turn of the loop.
        """
        if self._batch is None:
            callback()
        else:
            self._waiting.append(callback)

    def commit(self) -> None:
        """Commit the open batch, if there is one, and call those who wait for it.

        Raises FatalStorageError, after `on_fatal`; nobody is called then.
        """
        batch = self._batch
        if batch is None:
            return
        try:
            batch.commit()
        except (lmdb.Error, OSError) as problem:
            self._fail("commit", problem)
        self._batch = None
        self.batch_bytes = 0
        self._used_bytes = None
        self._keep_headroom()
        self._committed.extend(self._waiting)
        self._waiting.clear()
        self._call_committed()

    def flush_to_disk(self) -> None:
        """Make all that was committed survive the end of the machine. Blocks: call it in a thread.

        Raises FatalStorageError, which the caller must treat as `on_fatal` does.
        """
        try:
            self._env.sync(True)
        except (lmdb.Error, OSError) as problem:
            raise FatalStorageError(f"flush of the database failed: {problem}") from problem

    # ---------------------------------------------------------------------- figures

    @property
    def used_bytes(self) -> int:
        """Bytes of the file in use, free pages inside it included, as of the last commit."""
        if self._used_bytes is None:
            pages = int(self._env.info()["last_pgno"]) + 1
            self._used_bytes = pages * self._page_bytes
        return self._used_bytes

    @property
    def has_headroom(self) -> bool:
        """Whether what is allocated ahead is all there: refuse new rows if not."""
        return self._headroom is None or self._headroom.is_kept

    @property
    def commits(self) -> int:
        """The number of the last commit: two that differ tell that something was committed."""
        return int(self._env.info()["last_txnid"])

    def entries(self) -> int:
        """How many rows there are, as of the last commit. Takes no walk."""
        return int(self._env.stat()["entries"])

    def close(self) -> None:
        """Commit what is open, and close. Doing it twice is harmless.

        No `flush_to_disk` may be running. What is asked for afterwards raises FatalStorageError,
        without `on_fatal`.
        """
        if self._failure is None:
            self.commit()
            self._failure = FatalStorageError("the database is closed")
        self._drop_transactions()
        self._env.close()
        if self._headroom is not None:
            self._headroom.close()
            self._headroom = None

    # ---------------------------------------------------------------------- inside

    def _read(self) -> lmdb.Transaction[bytes]:
        """A read transaction on the last commit. Kept between reads: half the cost of a get."""
        if self._failure is not None:
            raise self._failure
        if self._reader is None:
            self._reader = self._env.begin()
        return self._reader

    def _drop_reader(self) -> None:
        """End the read transaction: it keeps pages of an old commit from being used again."""
        if self._reader is not None:
            self._reader.abort()
            self._reader = None

    def _open_batch(self) -> lmdb.Transaction[bytes]:
        if self._failure is not None:
            raise self._failure
        self._drop_reader()
        batch = self._batch = self._env.begin(write=True)
        self._schedule(self._commit_if_open)
        return batch

    def _keep_headroom(self) -> None:
        if self._headroom is not None:
            try:
                self._headroom.keep(self.used_bytes)
            except OSError as problem:
                self._fail("reserving space", problem)

    def _commit_if_open(self) -> None:
        """What is scheduled: the batch may have been committed by hand, or have failed."""
        if self._failure is None:
            self.commit()

    def _page(
        self, prefix: bytes, after: bytes, reverse: bool, most: int
    ) -> list[tuple[bytes, bytes]]:
        """The first `most` rows of what is left of a scan, with their checks."""
        page: list[tuple[bytes, bytes]] = []
        try:
            with (self._batch or self._read()).cursor() as cursor:
                if reverse:
                    found = _place_below(cursor, min(after or _end(prefix), _end(prefix)))
                    rows = cursor.iterprev
                else:
                    found = _place_at(cursor, max(prefix, after))
                    if found and after and cursor.key() == after:
                        found = cursor.next()
                    rows = cursor.iternext
                if not found:
                    return page
                for key, stored in rows():
                    if not key.startswith(prefix):
                        break
                    page.append((key, stored))
                    if len(page) == most:
                        break
        except lmdb.Error as problem:
            self._fail("scan", problem)
        return page

    def _call_committed(self) -> None:
        queue = self._committed
        try:
            while queue:
                queue.popleft()()
        finally:
            if queue:
                self._schedule(self._call_committed)

    def _fail(self, operation: str, problem: Exception) -> NoReturn:
        """Give up for good. What was not committed stays unacknowledged."""
        failure = FatalStorageError(f"{operation} in the database failed: {problem}")
        self._failure = failure
        self._waiting.clear()
        self._drop_transactions()
        self._on_fatal(failure)
        raise failure from problem

    def _drop_transactions(self) -> None:
        self._drop_reader()
        if self._batch is not None:
            self._batch.abort()
            self._batch = None


def _end(prefix: bytes) -> bytes:
    """The least key above all keys with `prefix`; longer than any key if there is none."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return b"\xff" * (MAX_KEY_BYTES + 1)
    return stripped[:-1] + bytes([stripped[-1] + 1])


def _place_at(cursor: lmdb.Cursor[bytes], bound: bytes) -> bool:
    """Put the cursor on the least key that is not below `bound`; tells whether there is one."""
    found = cursor.set_range(bound[:MAX_KEY_BYTES])
    if found and len(bound) > MAX_KEY_BYTES and cursor.key() == bound[:MAX_KEY_BYTES]:
        return cursor.next()
    return found


def _place_below(cursor: lmdb.Cursor[bytes], bound: bytes) -> bool:
    """Put the cursor on the greatest key below `bound`; tells whether there is one."""
    if len(bound) <= MAX_KEY_BYTES and cursor.set_range(bound):
        return cursor.prev()
    return cursor.last()
