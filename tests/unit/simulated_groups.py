"""Groups on nodes of one process, with the daemon's own logic, that may be stopped at any step.

A step is a message or a moment at which rows are stored. What a node wrote after it last stored
is lost when it is stopped, or kept: both can happen. Whoever asks a node that is stopped, or
whose answer is lost, gets UNAVAILABLE.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from benchfs.env import FixedEnv, fixed_env
from benchfs.inode import ROOT_INO, FileType, home_group
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    Attributes,
    AttributesReply,
    Code,
    GrantAllowanceReply,
    LayoutRecord,
    MakeInode,
    Open,
)
from benchfsd import rows
from benchfsd.allowances import ShortError
from benchfsd.coordinator import Coordinator
from benchfsd.namespace import Removed
from benchfsd.participant import Participant
from benchfsd.renaming import RenamingNamespace
from benchfsd.rows import IntentKind, Kind
from tests.unit.memory_rows import MemoryRows

LAYOUT = LayoutRecord(chunk_size=65536, first=0, stripe=())


class StoppedError(BaseException):
    """What runs on a node that is stopped ends with it."""


class Fault(NamedTuple):
    """What happens at which step, counted from 0."""

    step: int
    what: str  # see Cluster.step
    kept: bool  # whether a node that is stopped keeps what it had not stored


class State(NamedTuple):
    """All that the rows of all groups say, without times."""

    entries: dict[tuple[int, bytes], int]
    inodes: dict[int, tuple[int, int, int]]  # type, links, parent
    purged: frozenset[int]


class SimulatedNode:
    """A node that leads one group. Implements `coordinator.Peers`."""

    def __init__(self, cluster: "Cluster", group: int) -> None:
        self.cluster = cluster
        self.group = group
        self.rows = MemoryRows()
        self._stored: dict[bytes, bytes] = {}
        self._boot()

    def _boot(self) -> None:
        self.names = RenamingNamespace(self.group, self.rows, self.cluster.env)
        self.coordinator = Coordinator(self, self.cluster.env)
        self.participant = Participant(self, self._removed)

    def restart(self, *, kept: bool) -> None:
        """Stop, and start from what is stored. Uncommitted changes are given up."""
        if not kept:
            self.rows = MemoryRows()
            for key, value in self._stored.items():
                self.rows.put(key, value)
        self.store()
        self._boot()
        for move in self.names.holds.moves():
            if not move.committed:
                self.names.holds.forget_move(move.token)

    def store(self) -> None:
        self._stored = self.rows.snapshot()

    async def _removed(self, group: int, removed: Removed) -> None:
        """Purges and drops stay in the rows, where the tests look for them."""

    def namespace(self, group: int) -> RenamingNamespace:
        assert group == self.group
        return self.names

    @property
    def group_count(self) -> int:
        return len(self.cluster.nodes)

    async def ask(self, group: int, request: tuple[object, ...], reply: type) -> object:
        self.cluster.step(self, group, "request")
        await self._pause()
        other = self.cluster.nodes[group]
        answer = await other.participant.act(group, request)
        for _ in range(self.cluster.repeats):
            assert await other.participant.act(group, request) == answer
        if other is not self:
            other.store()
        await self._pause()
        self.cluster.step(self, group, "reply")
        assert isinstance(answer, reply)
        return answer

    async def _pause(self) -> None:
        for _ in range(self.cluster.pauses()):
            await asyncio.sleep(0)

    async def obtain(self, short: ShortError) -> None:
        """Whatever is wanted: limits are tested elsewhere."""
        allowances = self.names.inodes.allowances
        ask = allowances.begin_ask(short.quota, short.size, short.inodes)
        granted = ask.used_bytes + ask.more_bytes, ask.used_inodes + ask.more_inodes
        allowances.end_ask(ask, GrantAllowanceReply(ask.number, *granted))

    async def stored(self) -> None:
        self.cluster.step(self, self.group, "store")
        self.store()
        self.cluster.step(self, self.group, "stored")

    def tell_over(self, token: bytes, groups: list[int]) -> None:
        """Unless the cluster says otherwise, nobody hears it: the worst case."""
        for group in groups if self.cluster.tells else ():
            self.cluster.names(group).conclude(token, commit=False)


class Cluster:
    """One node for each group; group 0 has the root directory."""

    def __init__(self, groups: int, repeats: int = 0) -> None:
        self.env: FixedEnv = fixed_env(7)
        self.repeats = repeats  # how often each message comes again
        self.tells = False  # whether those who took part hear that a change is over
        self.pauses: Callable[[], int] = lambda: 0  # turns of the loop before a message arrives
        self.faults: list[Fault] = []
        self.watch: Callable[[], None] = lambda: None
        self.steps = 0
        self.nodes = {group: SimulatedNode(self, group) for group in range(groups)}
        self.names(0).inodes.format_root(0, 0)

    def names(self, group: int) -> RenamingNamespace:
        return self.nodes[group].names

    def step(self, node: SimulatedNode, group: int, moment: str) -> None:
        """Let the observer look, then the fault of this step happen, if there is one."""
        self.watch()
        number, self.steps = self.steps, self.steps + 1
        for fault in self.faults:
            if fault.step != number:
                continue
            if fault.what == "driver stops":
                node.restart(kept=fault.kept)
                raise StoppedError
            if fault.what == "other stops" and group != node.group:
                self.nodes[group].restart(kept=fault.kept)
            if moment in {"request", "reply"}:
                raise RemoteError(Code.UNAVAILABLE, f"the {moment} is lost")

    async def settle(self) -> None:
        """Carry on what was committed, and ask about what stays prepared, until all is quiet."""
        for _ in range(12):
            busy = False
            for node in self.nodes.values():
                holds = node.names.holds
                for move in holds.moves():
                    busy = True
                    await self._try(node.coordinator.finish(node.group, move.token))
                for prepared in holds.all_prepared():
                    busy = True
                    await self._try(
                        node.participant.ask_outcome(
                            node.group, prepared.token, prepared.coordinator
                        )
                    )
            if not busy:
                return
        raise AssertionError("the groups do not come to rest")

    async def _try(self, work) -> None:  # type: ignore[no-untyped-def]
        try:
            await work
        except (RemoteError, StoppedError):
            pass  # another round follows

    def store_all(self) -> None:
        for node in self.nodes.values():
            node.store()

    # ------------------------------------------------------------------ content

    def make_directory(self, parent: int, name: bytes, home: int, fanout: int = 1) -> int:
        made = self.names(home).inodes.make_inode(MakeInode(parent, 0o755, 0, 0, fanout))
        assert isinstance(made, AttributesReply)
        ino = made.attributes.ino
        self.names(home_group(parent)).add_entry(parent, name, ino, FileType.DIRECTORY, fanout)
        return ino

    def make_file(self, parent: int, name: bytes, home: int) -> int:
        """A file, whose inode is at home anywhere."""
        group = home_group(parent)
        message = Open(parent, name, True, True, 0o644, 0, 0, LAYOUT)
        if home == group:
            return self.names(group).open(message).ino
        made = self.names(home).open(message._replace(parent=self._corner(home)))
        self.names(home).remove_entry(self._corner(home), name, made.ino)
        self.names(group).add_entry(parent, name, made.ino, FileType.FILE)
        return made.ino

    def _corner(self, home: int) -> int:
        """A directory at home in a group, to make things in."""
        for _, value in self.names(home)._rows.scan(rows.kind_prefix(home, Kind.INODE)):
            inode = rows.decode_inode(value)
            if inode.type == FileType.DIRECTORY:
                return inode.ino
        return self.make_directory(ROOT_INO, b"corner %d" % home, home)

    def state(self) -> State:
        """What is stored; checks that directories count their entries, and quotas all of theirs."""
        entries: dict[tuple[int, bytes], int] = {}
        inodes, purged = {}, set()
        counts: dict[int, int] = {}
        parts: list[Attributes] = []
        for group, node in self.nodes.items():
            for key, value in node.rows.scan(rows.kind_prefix(group, Kind.ENTRY)):
                parent = int.from_bytes(key[3:11], "big")
                entries[parent, rows.name_of_entry_key(key)] = rows.decode_entry(value).ino
            for _, value in node.rows.scan(rows.kind_prefix(group, Kind.INODE)):
                inode = rows.decode_inode(value)
                inodes[inode.ino] = (inode.type, inode.nlink, inode.parent)
                counts[inode.ino] = inode.entries
            for intent in node.names.intents.pending():
                assert intent.kind is IntentKind.PURGE
                purged.add(intent.ino)
            for _, value in node.rows.scan(rows.kind_prefix(group, Kind.PART)):
                parts.append(rows.decode_inode(value))
        for part in parts:
            counts[part.ino] += part.entries
        for ino, count in counts.items():
            assert count == sum(parent == ino for parent, _ in entries), "a wrong count of entries"
        self._require_counted(entries)
        return State(entries, inodes, frozenset(purged))

    def _require_counted(self, entries: dict[tuple[int, bytes], int]) -> None:
        quotas: dict[int, int] = {}
        for group, node in self.nodes.items():
            here = node.names.inodes
            for quota in here.allowances.quotas():
                counted = here.allowances.usage(quota)
                here.recount(quota)
                assert here.allowances.usage(quota) == counted, "a wrong count of a quota"
            for _, value in node.rows.scan(rows.kind_prefix(group, Kind.INODE)):
                inode = rows.decode_inode(value)
                quotas[inode.ino] = inode.quota
        if self.at_rest():
            for (parent, _), ino in entries.items():
                assert parent == ROOT_INO or quotas[ino] == quotas[parent], "the wrong quota"

    def at_rest(self) -> bool:
        """Whether no group holds or drives anything."""
        kinds = (Kind.PREPARED, Kind.MOVE)
        return not any(
            list(node.rows.scan(rows.kind_prefix(group, kind)))
            for group, node in self.nodes.items()
            for kind in kinds
        )
