"""Any sequence of operations on one group does what a dict of dicts does, over restarts too.

Renames that take several steps run them with this group in all roles.
"""

import asyncio
import errno
import shutil
import tempfile
from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from benchfs.env import fixed_env
from benchfs.inode import ROOT_INO, FileType
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    DropInode,
    Empty,
    LayoutRecord,
    Lookup,
    MakeInode,
    Open,
    ReadDirectory,
    RemoveDirectory,
    Rename,
    RenameHow,
    Unlink,
)
from benchfsd import rows
from benchfsd.coordinator import Coordinator
from benchfsd.database import Database
from benchfsd.namespace import Removed
from benchfsd.participant import Participant
from benchfsd.renaming import RenamingNamespace as Namespace
from benchfsd.rows import IntentKind, Kind, Rows
from tests.unit.memory_rows import MemoryRows

GROUP = 0
LAYOUT = LayoutRecord(chunk_size=65536, first=0, stripe=())
NAMES = st.sampled_from([b"a", b"b", b"c", b"\xff"])


class Refusal(Exception):
    """The model's way to say what the namespace says with a RemoteError."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Model:
    """Directories by number, each a dict of names. The semantics of Linux, written plainly."""

    def __init__(self) -> None:
        self.directories: dict[int, dict[bytes, int]] = {ROOT_INO: {}}
        self.purged: set[int] = set()

    def directory(self, ino: int) -> dict[bytes, int]:
        if ino not in self.directories:
            raise Refusal(errno.ENOENT)
        return self.directories[ino]

    def entry(self, parent: int, name: bytes) -> int:
        if name not in self.directory(parent):
            raise Refusal(errno.ENOENT)
        return self.directories[parent][name]

    def require_absent(self, parent: int, name: bytes) -> None:
        if name in self.directory(parent):
            raise Refusal(errno.EEXIST)

    def unlink(self, parent: int, name: bytes) -> None:
        ino = self.entry(parent, name)
        if ino in self.directories:
            raise Refusal(errno.EISDIR)
        del self.directories[parent][name]
        self.purged.add(ino)

    def rmdir(self, parent: int, name: bytes) -> None:
        ino = self.entry(parent, name)
        if ino not in self.directories:
            raise Refusal(errno.ENOTDIR)
        if self.directories[ino]:
            raise Refusal(errno.ENOTEMPTY)
        del self.directories[parent][name]
        del self.directories[ino]

    def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, how: RenameHow
    ) -> None:
        source, destination = self.directory(parent), self.directory(new_parent)
        ino = self.entry(parent, name)
        target = destination.get(new_name)
        if how is RenameHow.KEEP and target is not None:
            raise Refusal(errno.EEXIST)
        if target == ino:
            return
        if how is RenameHow.EXCHANGE:
            self.exchange(source, name, parent, destination, new_name, new_parent)
            return
        if target is not None and (ino in self.directories) != (target in self.directories):
            raise Refusal(errno.ENOTDIR if ino in self.directories else errno.EISDIR)
        if parent != new_parent:
            self.refuse_loop(ino, new_parent)
        if self.directories.get(target):
            raise Refusal(errno.ENOTEMPTY)
        if target is not None and self.directories.pop(target, None) is None:
            self.purged.add(target)
        del source[name]
        destination[new_name] = ino

    def exchange(  # noqa: PLR0917 (two entries)
        self, one: dict, name: bytes, parent: int, two: dict, new_name: bytes, new_parent: int
    ) -> None:
        if new_name not in two:
            raise Refusal(errno.ENOENT)
        if parent != new_parent:
            self.refuse_loop(one[name], new_parent)
            self.refuse_loop(two[new_name], parent)
        one[name], two[new_name] = two[new_name], one[name]

    def refuse_loop(self, ino: int, parent: int) -> None:
        if ino in {parent, *self.above(parent)}:
            raise Refusal(errno.EINVAL)

    def above(self, ino: int) -> list[int]:
        """The directories that a directory is in, up to the root."""
        found = []
        while ino != ROOT_INO:
            (ino,) = (one for one, held in self.directories.items() if ino in held.values())
            found.append(ino)
        return found


class NamespaceMachine(RuleBasedStateMachine):
    """Over rows in memory. What `open_rows` gives is kept over restarts of the namespace."""

    directories = Bundle("directories")  # also of directories that are gone

    def __init__(self) -> None:
        super().__init__()
        self.rows = self.open_rows()
        self.env = fixed_env(3)
        self.model = Model()
        self.seen: set[int] = set()

    def open_rows(self) -> Rows:
        return MemoryRows()

    def end_of_turn(self) -> None:
        """What the event loop does after a request."""

    @initialize(target=directories)
    def format(self) -> int:
        self.restart()
        self.names.inodes.format_root(0, 0)
        return ROOT_INO

    @rule()
    def restart(self) -> None:
        self.names = Namespace(GROUP, self.rows, self.env)

    @rule(parent=directories, name=NAMES, exclusive=st.booleans())
    def create(self, parent: int, name: bytes, exclusive: bool) -> None:
        known = self.model.directories.get(parent, {}).get(name)
        message = Open(parent, name, True, exclusive, 0o644, 0, 0, LAYOUT)
        if exclusive or known is None:
            model = lambda: self.model.require_absent(parent, name)  # noqa: E731
        else:
            model = lambda: None  # noqa: E731
        reply = self.same(lambda: self.names.open(message), model)
        if reply is not None and known is None:
            assert reply.created
            self.first_seen(reply.ino)
            self.model.directories[parent][name] = reply.ino
        elif reply is not None:
            assert (reply.created, reply.ino) == (False, known)

    @rule(target=directories, parent=directories, name=NAMES)
    def mkdir(self, parent: int, name: bytes) -> int:
        def steps() -> int:
            self.names.check_absent(parent, name)
            made = self.names.inodes.make_inode(MakeInode(parent, 0o755, 0, 0, 1)).attributes
            self.names.add_entry(parent, name, made.ino, FileType.DIRECTORY)
            return made.ino

        ino = self.same(steps, lambda: self.model.require_absent(parent, name))
        if ino is None:
            return parent
        self.first_seen(ino)
        self.model.directories[parent][name] = ino
        self.model.directories[ino] = {}
        return ino

    @rule(parent=directories, name=NAMES, crash_after=st.integers(0, 3))
    def rmdir(self, parent: int, name: bytes, crash_after: int) -> None:
        """With a restart after so many of its steps, and the recovery that follows it."""

        def steps() -> None:
            intent = self.names.begin_rmdir(RemoveDirectory(parent, name))
            if crash_after == 1:
                self.restart()
                (intent,) = (i for i in self.names.intents.pending() if i.kind == IntentKind.RMDIR)
            try:
                self.names.inodes.drop_inode(DropInode(intent.ino))
            except RemoteError:
                self.names.abort_rmdir(intent)
                raise
            if crash_after == 2:
                self.restart()
                (intent,) = (i for i in self.names.intents.pending() if i.kind == IntentKind.RMDIR)
                self.names.inodes.drop_inode(DropInode(intent.ino))
            self.names.finish_rmdir(intent)

        self.same(steps, lambda: self.model.rmdir(parent, name))

    @rule(parent=directories, name=NAMES)
    def unlink(self, parent: int, name: bytes) -> None:
        self.same(
            lambda: self.names.unlink(Unlink(parent, name)), lambda: self.model.unlink(parent, name)
        )

    @rule(
        parent=directories,
        name=NAMES,
        new_parent=directories,
        new_name=NAMES,
        how=st.sampled_from(RenameHow),
    )
    def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, how: RenameHow
    ) -> None:
        message = Rename(parent, name, new_parent, new_name, GROUP, how)
        self.same(
            lambda: self.steps_of_rename(message),
            lambda: self.model.rename(parent, name, new_parent, new_name, how),
        )

    def steps_of_rename(self, message: Rename) -> None:
        """At once, or in the steps that it takes where a directory moves."""

        async def steps() -> None:
            coordinator = Coordinator(self, self.env)
            token = await coordinator.rename(GROUP, message, Empty)
            assert token is not None
            await coordinator.finish(GROUP, token)

        if self.names.rename(message) is None:
            asyncio.run(steps())

    def namespace(self, group: int) -> Namespace:
        assert group == GROUP
        return self.names

    async def ask(self, group: int, request: tuple[object, ...], reply: type) -> object:
        answer = await Participant(self, self._removed).act(group, request)
        assert isinstance(answer, reply)
        return answer

    async def _removed(self, group: int, removed: Removed) -> None:
        """What follows is not of this model."""

    async def stored(self) -> None:
        self.end_of_turn()

    def tell_over(self, token: bytes, groups: list[int]) -> None:
        for _ in groups:
            self.names.conclude(token, commit=False)

    @rule(parent=directories, name=NAMES)
    def lookup(self, parent: int, name: bytes) -> None:
        reply = self.same(
            lambda: self.names.lookup(Lookup(parent, name)), lambda: self.model.directory(parent)
        )
        if reply is not None:
            assert reply.ino == self.model.directories[parent].get(name, 0)
            assert (reply.type == FileType.DIRECTORY) == (reply.ino in self.model.directories)

    @rule(ino=directories, most=st.integers(1, 5))
    def read_directory(self, ino: int, most: int) -> None:
        after, found = b"", []
        while True:
            message = ReadDirectory(ino, after, most)
            page = self.same(
                lambda message=message: self.names.read_directory(message),
                lambda: self.model.directory(ino),
            )
            if page is None:
                return
            found += [(entry.name, entry.ino) for entry in page.entries]
            if not page.more:
                break
            after = page.entries[-1].name
        assert found == sorted(self.model.directories[ino].items())

    @invariant()
    def everything_stored_is_what_the_model_has(self) -> None:
        entries, inodes, purges = {}, {}, set()
        for key, value in self.rows.scan(rows.kind_prefix(GROUP, Kind.ENTRY)):
            parent = int.from_bytes(key[3:11], "big")
            entries[parent, rows.name_of_entry_key(key)] = rows.decode_entry(value).ino
        for _, value in self.rows.scan(rows.kind_prefix(GROUP, Kind.INODE)):
            inode = rows.decode_inode(value)
            inodes[inode.ino] = inode
        for intent in self.names.intents.pending():
            assert intent.kind == IntentKind.PURGE
            purges.add(intent.ino)

        wanted = {
            (parent, name): ino
            for parent, held in self.model.directories.items()
            for name, ino in held.items()
        }
        assert entries == wanted
        assert set(inodes) == {ROOT_INO, *wanted.values()}
        assert (self.names.holds.moves(), self.names.holds.all_prepared()) == ([], [])
        for (parent, _), ino in wanted.items():
            assert ino not in self.model.directories or inodes[ino].parent == parent
        for ino, held in self.model.directories.items():
            assert inodes[ino].entries == len(held)
        assert purges == self.model.purged

    def same(self, real: Callable[[], object], model: Callable[[], object]):
        """Do both; None if both refused for the same reason."""
        expected = code = 0
        result = None
        try:
            model()
        except Refusal as refusal:
            expected = refusal.code
        try:
            result = real()
        except RemoteError as problem:
            code = problem.code
        self.end_of_turn()
        assert code == expected
        return result

    def first_seen(self, ino: int) -> None:
        assert ino not in self.seen
        self.seen.add(ino)


class NamespaceOnDatabaseMachine(NamespaceMachine):
    """Over a real database: a restart opens the files again."""

    database: Database

    def open_rows(self) -> Rows:
        self.path = tempfile.mkdtemp()
        return self.open_database()

    def open_database(self) -> Database:
        self.database = Database(self.path, sync=False, schedule=lambda callback: None)
        return self.database

    def end_of_turn(self) -> None:
        self.database.commit()

    @rule()
    def restart(self) -> None:
        self.database.close()
        self.rows = self.open_database()
        super().restart()

    def teardown(self) -> None:
        self.database.close()
        shutil.rmtree(self.path)


class TestNamespace(NamespaceMachine.TestCase):
    """Over rows in memory."""


class TestNamespaceOnDatabase(NamespaceOnDatabaseMachine.TestCase):
    """Over a real database."""
