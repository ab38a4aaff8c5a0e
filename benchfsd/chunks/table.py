"""The chunks in use, in memory, and the rows of all chunks and files in the database.

Keeps the books and nothing else: it neither touches files nor decides when a row is written.
Dirty chunks stay in memory until they are clean; of the clean ones, those used last. A file's
row lists the groups that this node has chunks of it in, so that all chunks of a file are found
without asking every group; it is written in the same transaction as a chunk's first row.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

from benchfs.env import Env
from benchfs.rpc.errors import RemoteError
from benchfsd import rows
from benchfsd.chunks import refusals
from benchfsd.chunks.record import (
    ChunkRecord,
    FileRecord,
    RecordError,
    StoreRecord,
    decode_chunk,
    decode_file,
    decode_store,
    encode_chunk,
    encode_file,
    encode_store,
)
from benchfsd.chunks.state import ChunkState
from benchfsd.database import CorruptRowError, Database

CAPACITY = 4096  # chunks, and files, kept in memory: 1 KiB each with chunks of 4 MiB
VERSIONS_AT_ONCE = 1 << 20
PURGED_SECONDS = 600.0
MAX_PURGED = 65_536

_STORE_KEY = rows.kind_prefix(rows.NODE, rows.Kind.FILE)  # before those of all files

Key = tuple[int, int]
NEW_FILE = FileRecord(truncation=0, groups=())
NO_RECORD = ChunkRecord(version=0, truncation=0, length=0, dirty=False, checks=b"")


class ChunkTable:
    """Chunks by (ino, index). `is_lent` tells whether a chunk that is loaded is lent out."""

    def __init__(
        self, database: Database, env: Env, is_lent: Callable[[Key], bool], capacity: int = CAPACITY
    ) -> None:
        self.database = database
        self.chunks = 0
        self.bytes = 0
        self.dirty: dict[Key, ChunkState] = {}  # in the order they became dirty
        self.capacity = capacity
        self._clean: OrderedDict[Key, ChunkState] = OrderedDict()
        self._dirty_of: dict[int, dict[int, ChunkState]] = {}
        self._files: OrderedDict[int, FileRecord] = OrderedDict()
        self._purged: OrderedDict[int, float] = OrderedDict()
        self._clock = env.clock
        self._is_lent = is_lent
        self._version = 0
        self._version_limit = 0

    # ---------------------------------------------------------------- the store's own row

    def start(self) -> StoreRecord | None:
        """Take up the numbering of versions where no earlier process has been.

        Returns what the last stop left, None for a new store. Commits.
        """
        stored = self.database.get(_STORE_KEY)
        last = None if stored is None else decode_store(stored)
        # The clock, too: a store that was made anew must not repeat the versions of the old one.
        self._version = max(last.version_limit if last else 0, self._clock.time_ns())
        self._reserve_versions()
        self.database.commit()
        return last

    def stop(self) -> None:
        """Put down the figures, which are good until the next `start`."""
        self._put_store(counted=True)

    def next_version(self) -> int:
        """A number greater than all before it, in this process and in earlier ones."""
        self._version += 1
        if self._version + VERSIONS_AT_ONCE // 2 > self._version_limit:
            self._reserve_versions()
        return self._version

    def _reserve_versions(self) -> None:
        """In time before they are used up: the commit at the end of the turn is early enough."""
        self._version_limit = self._version + VERSIONS_AT_ONCE
        self._put_store(counted=False)

    def _put_store(self, *, counted: bool) -> None:
        record = StoreRecord(self._version_limit, self.chunks, self.bytes, counted)
        self.database.put(_STORE_KEY, encode_store(record))

    # ---------------------------------------------------------------- chunks

    def find(self, group: int, ino: int, index: int) -> ChunkState | None:
        """The chunk, from memory or from its row; None if there is none.

        Raises RemoteError if its row is damaged.
        """
        key = (ino, index)
        state = self._clean.get(key)
        if state is not None:
            self._clean.move_to_end(key)
            return state if state.group == group else None
        state = self.dirty.get(key)
        if state is not None:
            return state if state.group == group else None
        record = self.row(group, ino, index)
        if record is None:
            return None
        assert not record.dirty, "every dirty chunk is in memory"
        state = ChunkState(group, ino, index, record, lent=self._is_lent(key))
        self._keep_clean(key, state)
        return state

    def row(self, group: int, ino: int, index: int) -> ChunkRecord | None:
        """What the database has of a chunk. Raises RemoteError if that is damaged."""
        try:
            value = self.database.get(rows.chunk_key(group, ino, index))
            return None if value is None else decode_chunk(value)
        except (CorruptRowError, RecordError) as problem:
            raise _bad_row(ino, index, problem) from None

    def rows_of(self, ino: int, first: int = 0) -> Iterator[tuple[int, int, ChunkRecord]]:
        """(group, index, record) of all chunks of a file from index `first`.

        The records of dirty chunks are old: look into memory. NO_RECORD stands for damaged ones,
        so that such chunks can be removed. Chunks may be removed meanwhile.
        """
        for group in self.file(ino).groups:
            yield from self.rows_of_group(group, ino, first)

    def rows_of_group(
        self, group: int, ino: int, first: int = 0
    ) -> Iterator[tuple[int, int, ChunkRecord]]:
        """Those of `rows_of` that are in one group, by index."""
        after = rows.chunk_key(group, ino, first - 1) if first else b""
        for key, record in self.scan(rows.chunk_prefix(group, ino), after):
            yield group, rows.chunk_of_key(key)[2], record or NO_RECORD

    def scan(self, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, ChunkRecord | None]]:
        """Keys and records of the chunks below `prefix`; None for a record that is damaged."""
        while True:
            try:
                for key, value in self.database.scan(prefix, after):
                    after = key
                    try:
                        record = decode_chunk(value)
                    except RecordError:
                        record = None
                    yield key, record
                return
            except CorruptRowError as problem:
                after = problem.key
                yield after, None

    def active(self, key: Key) -> ChunkState | None:
        """The chunk if it is in memory."""
        return self._clean.get(key) or self.dirty.get(key)

    def add(self, state: ChunkState) -> None:
        """A new chunk, with its file's row; its own row comes with `mark`."""
        file = self.file(state.ino)
        if state.group not in file.groups:
            groups = tuple(sorted({*file.groups, state.group}))
            self.put_file(state.ino, file._replace(groups=groups))
        self.chunks += 1
        self.bytes += state.length
        self._keep_clean((state.ino, state.index), state)

    def mark(self, state: ChunkState) -> None:
        """Put the row that says: dirty. The caller commits before the chunk's file changes."""
        if not state.dirty:
            key = (state.ino, state.index)
            state.dirty = True
            self._clean.pop(key, None)
            self.keep_dirty(state)
        self.put(state)

    def keep_dirty(self, state: ChunkState) -> None:
        """Hold a chunk, whose row says dirty, until it is clean."""
        self.dirty[state.ino, state.index] = state
        self._dirty_of.setdefault(state.ino, {})[state.index] = state

    def settle(self, state: ChunkState) -> None:
        """Put the row that says: clean. All checks must be known, and the file must match."""
        state.cleaned()
        self.put(state)
        self._drop_dirty(state)
        self._keep_clean((state.ino, state.index), state)

    def remove(self, group: int, ino: int, index: int, record: ChunkRecord) -> None:
        """Forget a chunk and delete its row. `record` is its row as it was read."""
        key = (ino, index)
        state = self._clean.pop(key, None) or self.dirty.get(key)
        if state is not None and state.dirty:
            self._drop_dirty(state)
        self.database.delete(rows.chunk_key(group, ino, index))
        self.chunks -= 1
        self.bytes -= record.length if state is None else state.length

    def dirty_of(self, ino: int) -> list[ChunkState]:
        """The dirty chunks of a file."""
        found = self._dirty_of.get(ino)
        return list(found.values()) if found else []

    def is_current(self, state: ChunkState) -> bool:
        """Whether this is still what the table knows of the chunk."""
        return self.active((state.ino, state.index)) is state

    def put(self, state: ChunkState) -> None:
        """Put the chunk's row as its state is."""
        key = rows.chunk_key(state.group, state.ino, state.index)
        self.database.put(key, encode_chunk(state.record()))

    def _keep_clean(self, key: Key, state: ChunkState) -> None:
        self._clean[key] = state
        if len(self._clean) > self.capacity:
            self._clean.popitem(last=False)

    def _drop_dirty(self, state: ChunkState) -> None:
        del self.dirty[state.ino, state.index]
        of_file = self._dirty_of[state.ino]
        del of_file[state.index]
        if not of_file:
            del self._dirty_of[state.ino]

    # ---------------------------------------------------------------- files

    def file(self, ino: int) -> FileRecord:
        """What this node knows of a file. Raises RemoteError if its row is damaged."""
        found = self._files.get(ino)
        if found is None:
            try:
                value = self.database.get(rows.file_key(ino))
                found = NEW_FILE if value is None else decode_file(value)
            except (CorruptRowError, RecordError) as problem:
                raise _bad_row(ino, 0, problem) from None
            self._remember_file(ino, found)
        return found

    def put_file(self, ino: int, record: FileRecord) -> None:
        """Set what this node knows of a file."""
        self.database.put(rows.file_key(ino), encode_file(record))
        self._remember_file(ino, record)

    def drop_file(self, ino: int) -> None:
        """Delete a file's row."""
        self._files.pop(ino, None)
        self.database.delete(rows.file_key(ino))

    def _remember_file(self, ino: int, record: FileRecord) -> None:
        self._files[ino] = record
        self._files.move_to_end(ino)
        if len(self._files) > self.capacity:
            self._files.popitem(last=False)

    # ---------------------------------------------------------------- removed files

    def is_purged(self, ino: int) -> bool:
        """Whether the file was removed, as far back as that is remembered."""
        return ino in self._purged

    def note_purged(self, ino: int) -> None:
        """Remember that a file was removed: late writes must not bring chunks back."""
        self._purged[ino] = self._clock.monotonic()
        self._purged.move_to_end(ino)
        if len(self._purged) > MAX_PURGED:
            self._purged.popitem(last=False)

    def forget_purged(self, now: float) -> None:
        """Forget what was removed long ago."""
        while self._purged:
            ino, since = next(iter(self._purged.items()))
            if now - since < PURGED_SECONDS:
                return
            del self._purged[ino]


def _bad_row(ino: int, index: int, problem: Exception) -> RemoteError:
    return refusals.damaged(ino, index, 0, 0, f"the record is damaged: {problem}")
