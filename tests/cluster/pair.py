"""BenchFS and a local directory side by side: what the rules of a state machine are made of.

Several clients take turns. When another one goes on, what was written is flushed: so much is
promised. A client that believes what it knew for a second is asked as if that had passed.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import itertools
import os
import stat
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import hypothesis.strategies as st
from hypothesis import note
from hypothesis.stateful import RuleBasedStateMachine, initialize

import benchfs
from tests.cluster import local_directory as local
from tests.cluster.local_directory import LocalDirectory
from tests.cluster.trees import SET_BY_TEST_NS, Item, tree_here, tree_there

HANDLES_LEAST, HANDLES_MOST = 2, 6
TREE_MOST = 40
SHOWN_BYTES = 50

LONG, TOO_LONG = b"n" * 255, b"n" * 256
NAMES = [b"a", b"b", b"c", b"d"]
ODD_NAMES = ["é".encode(), b"\xff", LONG, TOO_LONG, b".", b".."]
ENDINGS = [b"/", b"//", b"/.", b"/.."]


SHARED = 80_000  # a group that both are in, and neither's own
ALICE = benchfs.User(1000, 1000, (70_000, SHARED))
BOB = benchfs.User(70_000, 70_000, (SHARED,))
SUPERUSERS = 3  # of the clients, the first
# Where the kernel restricts what is done in sticky directories of others, nobody else writes there.
STICKY = 0o1755 if local.restricts_sticky_directories() else 0o1777

few = st.integers(0, 2)
which_file = st.integers(0, 59)  # of those that are open
turns = st.integers(0, 8)  # beyond the clients: the one whose turn it is
CACHING = 2  # the client that believes what it knew for a second
index = st.integers(0, TREE_MOST)
names = st.sampled_from(NAMES * 6 + ODD_NAMES)
endings = st.sampled_from([b""] * 24 + ENDINGS)
positions = st.sampled_from([0, 1, 7, 4095, 4096, 65_535, 65_536, 65_537, 131_072, 200_000])
lengths = st.sampled_from([0, 1, 10, 5000, 65_536, 70_000])
FOR_THE_GROUP = [0o770, 0o660, 0o2070, 0o2707, 0o2770]  # it matters who is in it
permissions = st.sampled_from(
    [0o777, 0o644, 0o600, 0o000, 0o755, STICKY, 0o6755, 0o4711, *FOR_THE_GROUP]
)
owners = st.sampled_from([-1, 0, ALICE.uid, BOB.uid])
groups = st.sampled_from([-1, 0, ALICE.gid, BOB.gid, SHARED])
times = st.sampled_from(
    [0, 1, 999_999_999, 123_456_789_012, SET_BY_TEST_NS - 1, -1, -1_500_000_000]
)
attributes = st.sampled_from([b"user.a", b"user.b", b"user.", b"other.a", b"user." + LONG])
modes = st.sampled_from(["rb", "r+b", "wb", "w+b", "xb", "x+b", "ab", "a+b"])


class PathSpec(NamedTuple):
    """A path to be: what exists at the step, by number, and names added to it."""

    number: int
    added: tuple[bytes, ...]
    ending: bytes


known_paths = st.builds(PathSpec, index, st.just(()), endings)
new_paths = st.builds(PathSpec, index, st.tuples(names), endings)
odd_paths = st.builds(PathSpec, index, st.tuples(names, names), endings)
paths = st.one_of(known_paths, known_paths, new_paths, odd_paths)
targets = st.one_of(new_paths, new_paths, known_paths, odd_paths)


class Outcome(NamedTuple):
    """What an operation gave: a value, or an errno."""

    value: object
    code: int | None

    def __repr__(self) -> str:
        if self.code is not None:
            return errno.errorcode.get(self.code, str(self.code))
        if isinstance(self.value, bytes) and len(self.value) > SHOWN_BYTES:
            return f"{self.value[:SHOWN_BYTES]!r}... ({len(self.value)})"
        return repr(self.value)


@dataclass
class Handle:
    """One file, open on both sides."""

    client: int
    file: benchfs.AsyncFile
    descriptor: int
    ino: int  # of the local file
    mode: str
    path: bytes  # when it was opened
    stale: bool = False  # another client changed the file, and this one believes what it knew
    flocked: int = fcntl.LOCK_UN


@dataclass
class World:
    """What all examples use: a cluster, its clients and the local directory."""

    runner: asyncio.Runner
    clients: list[benchfs.AsyncClient]
    local: LocalDirectory
    numbers: Iterator[int] = field(default_factory=itertools.count)
    steps: int = 0


class Pair(RuleBasedStateMachine):
    """BenchFS and the local directory, side by side."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.handles: list[Handle] = []
        self.opened = 0  # because a rule needed an open file
        self.clients = SUPERUSERS  # the first, that take part
        self.dots = True  # whether there are `.` and `..` in paths
        self.turn = 0
        self.last_path = b""  # for those who read what failed
        self.differs = False
        self.directories_changed = set[int]()  # clients whose memory of directories is old
        self.top = b"/e%d" % next(self.world.numbers)
        for path in (b"/", self.top):
            if path != b"/":
                self.same(lambda fs, path=path: fs.mkdir(path), os.mkdir, path)
            self.same(lambda fs, path=path: fs.chmod(path, 0o777), os.chmod, path, 0o777)
            self.same(lambda fs, path=path: fs.chown(path, 0, 0), os.chown, path, 0, 0)
        self.known: list[bytes] = []
        self.directories: list[bytes] = []  # of the known
        self.files: list[bytes] = []
        self.look()

    @initialize(users=st.booleans())
    def choose(self, users: bool) -> None:
        """Superusers alone, or users too; for them `.` and `..` need no search permission."""
        if not users:
            return
        self.clients, self.dots = len(self.world.clients), False
        top = self.top  # what is made in it gets the group that they share
        self.same(lambda fs: fs.chown(top, 0, SHARED), os.chown, top, 0, SHARED)
        self.same(lambda fs: fs.chmod(top, 0o2777), os.chmod, top, 0o2777)

    # ------------------------------------------------------------ both sides

    def same(
        self,
        there: Callable[[benchfs.AsyncClient], Awaitable[object]],
        here: Callable[..., object],
        *arguments: object,
        **named: object,
    ) -> Outcome:
        """Do it on both sides; the outcomes must be equal."""
        self.world.steps += 1
        outcome = self.outcome_there(there)
        expected = self.outcome_here(here, *arguments, **named)
        self.differs = outcome != expected
        note(f"  {self.last_path!r}: {outcome}")
        assert outcome == expected, f"BenchFS: {outcome}, local: {expected}"
        return outcome

    def outcome_there(self, there: Callable[[benchfs.AsyncClient], Awaitable[object]]) -> Outcome:
        async def act() -> object:
            return await there(self.world.clients[self.turn])

        try:
            return Outcome(self.world.runner.run(act()), None)
        except benchfs.BenchFSError as exc:
            return Outcome(None, exc.errno)

    def outcome_here(
        self, here: Callable[..., object], *arguments: object, **named: object
    ) -> Outcome:
        try:
            return Outcome(self.world.local.call_as(self.user(), here, *arguments, **named), None)
        except OSError as exc:
            return Outcome(None, exc.errno)

    def take_turn(self, client: int) -> benchfs.AsyncClient:
        """Before another client goes on, what was written is flushed: so much is promised."""
        client = client if client < self.clients else self.turn
        if client != self.turn:
            for handle in self.handles:
                if handle.client == self.turn:
                    self.world.runner.run(handle.file.flush())
            self.turn = client
        if client in self.directories_changed:
            self.directories_changed.discard(client)
            # as if the second had passed for which directories are believed
            self.world.clients[client]._use().names._entries.clear()
        return self.world.clients[client]

    def user(self) -> benchfs.User:
        """Who the client is whose turn it is."""
        return self.world.clients[self.turn].user

    def path(self, spec: PathSpec) -> bytes:
        path = self.known[spec.number % len(self.known)]
        if spec.added and spec.number % 4:
            path = self.directories[spec.number % len(self.directories)]
        if self.handles and spec.number % 3 == 0 and not spec.added:
            path = self.handles[spec.number % len(self.handles)].path
        if len(self.known) >= TREE_MOST and not os.path.dirname(path):
            path = self.top
        added = spec.added or ((b"a",) if path == self.top else ())
        # of two errors either may be told: a slash behind a name that is too long
        ending = b"" if added and added[-1] == TOO_LONG else spec.ending
        if not self.dots:
            added = tuple(name for name in added if name.strip(b".")) or (b"a",)
            ending = ending.rstrip(b".")
        self.last_path = b"/".join((path, *added)) + ending
        return self.last_path

    def changed(self) -> None:
        """A name was made, moved or removed."""
        self.directories_changed = {
            client for client in range(len(self.world.clients)) if client != self.turn
        }
        self.look()

    def look(self) -> None:
        """Learn what exists."""
        there_is = self.world.local.call(list_tree, self.top)
        kinds = {path: stat.S_IFMT(found.st_mode) for path, found in there_is}
        self.known = [self.top, *kinds]
        self.directories = [self.top, *(path for path in kinds if kinds[path] == stat.S_IFDIR)]
        self.files = [path for path in kinds if kinds[path] == stat.S_IFREG]

    def end(self, handle: Handle) -> None:
        self.handles.remove(handle)
        self.world.local.call(os.close, handle.descriptor)
        self.world.runner.run(handle.file.close())

    def touched(self, ino: int) -> None:
        """The content of a file changed."""
        for handle in self.handles:
            if handle.ino == ino and handle.client == CACHING != self.turn:
                handle.stale = True

    def local_ino(self, path: bytes) -> int:
        return self.world.local.call(os.stat, path).st_ino

    # ------------------------------------------------------------ the end

    def teardown(self) -> None:
        try:
            if not self.differs:
                for handle in list(self.handles):
                    self.take_turn(handle.client)
                    self.end(handle)
                self.compare_trees()
        finally:
            self.clean()

    def compare_trees(self) -> None:
        for client in range(SUPERUSERS):
            self.take_turn(client)
        here = self.world.local.call(tree_here, b"/")
        for there in self.world.runner.run(self.trees_there()):
            differ = {path for path in {*there, *here} if there.get(path) != here.get(path)}
            assert not differ, f"{[(path, there.get(path), here.get(path)) for path in differ]}"

    async def trees_there(self) -> list[dict[bytes, Item]]:
        return await asyncio.gather(
            *[tree_there(client, b"/") for client in self.world.clients[:SUPERUSERS]]
        )

    def clean(self) -> None:
        for handle in list(self.handles):
            self.end(handle)
        self.take_turn(0)
        self.world.runner.run(self.world.clients[0].rmtree("/"))
        self.world.local.call(local.remove_all, b"/")
        self.directories_changed = {CACHING}


def list_tree(top: bytes) -> list[tuple[bytes, os.stat_result]]:
    return list(local.walk(top))
