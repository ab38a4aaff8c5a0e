"""A rename across groups, stopped at every step: it is done or not done, and comes to rest.

The groups are simulated (`simulated_groups.py`) and run the daemon's logic. After each fault the
groups settle; then the client asks again, as it does, and the rename is done exactly once.
"""

import asyncio
import errno
import itertools
import random
from functools import partial
from typing import NamedTuple

import pytest

from benchfs.inode import ROOT_INO, FileType, home_group
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.frames import Kind
from benchfs.rpc.messages import (
    Code,
    DropInode,
    Empty,
    Lookup,
    Open,
    Rename,
    RenameHow,
)
from benchfsd.holds import Held
from benchfsd.rows import Answer, Call
from benchfsd.slots import Slots
from tests.unit.simulated_groups import LAYOUT, Cluster, Fault, State, StoppedError

CALL = Call(b"session-of-16-by", 2, 77)
GROUPS = 7
FAULTS = ("driver stops", "other stops", "the message is lost")


class Scene(NamedTuple):
    """A rename, and a cluster in which it is to happen."""

    cluster: Cluster
    message: Rename


def scene(what: str, repeats: int = 0) -> Scene:
    """/a is in group 1, /b in group 2, /a2 in group 1; other inodes are each elsewhere."""
    cluster = Cluster(GROUPS, repeats)
    a = cluster.make_directory(ROOT_INO, b"a", 1)
    b = cluster.make_directory(ROOT_INO, b"b", 2)
    a2 = cluster.make_directory(ROOT_INO, b"a2", 1)
    how, new_parent, new_group = RenameHow.REPLACE, b, 2
    quotas = what.endswith(" between quotas")
    source, _, target = what.removesuffix(" between quotas").partition(" over ")
    if source.startswith("exchange"):
        source, how = source.removeprefix("exchange "), RenameHow.EXCHANGE
    if source.endswith(" in one group"):
        source, new_parent, new_group = source.removesuffix(" in one group"), a2, 1
    for parent, name, kind, away in ((a, b"x", source, 3), (new_parent, b"y", target, 4)):
        near = 1 if parent != b else 2
        if kind == "linked file elsewhere":
            file = cluster.names(away).inodes.get(cluster.make_file(parent, name, away))
            cluster.names(away).inodes.put(file._replace(nlink=2))
        elif kind == "file":
            cluster.make_file(parent, name, near)
        elif kind == "file elsewhere":
            cluster.make_file(parent, name, away)
        elif kind:
            ino = cluster.make_directory(parent, name, away)
            if kind != "empty directory":
                cluster.make_file(ino, b"inside", away)
    for ino in (a, b) if quotas else ():
        inodes = cluster.names(home_group(ino)).inodes
        inodes.mark(inodes.get(ino), ino)
    for parent, name in ((a, b"x"), (new_parent, b"y")):
        near = cluster.names(home_group(parent))
        entry = near.find_entry(parent, name)
        if entry is not None:
            inodes = cluster.names(home_group(entry.ino)).inodes
            inodes.mark(inodes.get(entry.ino), near.quota_of(parent, name))
    cluster.store_all()
    return Scene(cluster, Rename(a, b"x", new_parent, b"y", new_group, how))


SCENES = (
    "file",
    "file elsewhere",
    "file over file",
    "file elsewhere over file elsewhere",
    "file over linked file elsewhere",
    "directory",
    "directory in one group",
    "directory over empty directory",
    "exchange file over directory",
    "exchange directory over directory",
    "exchange file elsewhere over file",
    "file between quotas",
    "file elsewhere over file between quotas",
    "empty directory between quotas",
)


async def attempt(cluster: Cluster, message: Rename) -> str:
    """What the node of the old name does with the request of a client, once."""
    node = cluster.nodes[1]
    slots = Slots(node.rows)
    if slots.replay(1, CALL) is not None:
        return "done"

    def record() -> None:
        slots.record(1, CALL, Answer(Kind.REPLY, b"\x90"))

    try:
        removed = node.names.rename(message)
        if removed is not None:
            record()
            return "done"
        token = await node.coordinator.rename(1, message, record)
        if token is not None:
            await node.coordinator.finish(1, token)
    except StoppedError:
        return "stopped"
    except RemoteError as refusal:
        if refusal.code < Code.STALE_EPOCH:
            raise
        return "not now"
    return "done"


async def until_done(cluster: Cluster, message: Rename) -> None:
    """What a client does: it asks again."""
    for _ in range(4):
        await attempt(cluster, message)
        await cluster.settle()
        if Slots(cluster.nodes[1].rows).replay(1, CALL) is not None:
            return
    raise AssertionError("the rename does not come to its end")


def after(before: State, message: Rename) -> State:
    """What the rename does, written plainly."""
    old, new = (message.parent, message.name), (message.new_parent, message.new_name)
    entries, inodes, purged = dict(before.entries), dict(before.inodes), set(before.purged)
    ino, target = entries.pop(old), entries.get(new)
    entries[new] = ino
    moved = [(ino, message.new_parent)]
    if target is not None and message.how == RenameHow.EXCHANGE:
        entries[old] = target
        moved.append((target, message.parent))
    elif target is not None:
        file_type, links, parent = inodes.pop(target)
        if links > 1:
            inodes[target] = (file_type, links - 1, parent)
        elif file_type == FileType.FILE:
            purged.add(target)
    for one, parent in moved:
        file_type, links, _ = inodes[one]
        if file_type == FileType.DIRECTORY:
            inodes[one] = (file_type, links, parent)
    return State(entries, inodes, frozenset(purged))


def steps_of(what: str) -> int:
    cluster, message = scene(what)
    asyncio.run(until_done(cluster, message))
    return cluster.steps


@pytest.mark.parametrize("repeats", [0, 1])
@pytest.mark.parametrize("what", SCENES)
def test_a_rename_that_nothing_disturbs_is_done(what: str, repeats: int) -> None:
    cluster, message = scene(what, repeats)
    before = cluster.state()

    assert asyncio.run(attempt(cluster, message)) == "done"
    asyncio.run(cluster.settle())

    assert cluster.state() == after(before, message)
    assert cluster.at_rest()


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "lost"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("what", SCENES)
def test_a_fault_at_any_step_leaves_it_done_or_not_done(what: str, fault: str, kept: bool) -> None:
    for step in range(steps_of(what)):
        cluster, message = scene(what)
        before = cluster.state()
        cluster.faults = [Fault(step, fault, kept)]

        outcome = asyncio.run(attempt(cluster, message))
        asyncio.run(cluster.settle())

        done = after(before, message)
        assert cluster.state() in (before, done), step
        assert cluster.at_rest()
        answered = Slots(cluster.nodes[1].rows).replay(1, CALL) is not None
        assert answered == (cluster.state() == done), "the answer goes with the effect"
        assert outcome != "done" or answered
        asyncio.run(until_done(cluster, message))
        assert cluster.state() == done
        assert cluster.at_rest()


@pytest.mark.parametrize("faults", list(itertools.product(FAULTS, repeat=2)), ids=" then ".join)
def test_two_faults_leave_it_done_or_not_done(faults: tuple[str, str]) -> None:
    what = "directory over empty directory"
    for first, second in itertools.combinations(range(steps_of(what) + 6), 2):
        cluster, message = scene(what)
        before = cluster.state()
        cluster.faults = [Fault(first, faults[0], False), Fault(second, faults[1], False)]

        asyncio.run(until_done(cluster, message))

        assert cluster.state() == after(before, message), (first, second)
        assert cluster.at_rest()


def look(cluster: Cluster, group: int, parent: int, name: bytes) -> int | str:
    """The inode that a look-up finds, or why it finds none."""
    try:
        return cluster.names(group).lookup(Lookup(parent, name)).ino or "nothing"
    except Held:
        return "waits"
    except RemoteError:
        return "nothing"


def require_one_name(cluster: Cluster, message: Rename, ino: int) -> None:
    old = look(cluster, 1, message.parent, message.name)
    new = look(cluster, message.new_group, message.new_parent, message.new_name)
    assert old == ino or new in {ino, "waits"}
    assert (old, new) != (ino, ino)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("what", SCENES)
def test_at_every_moment_it_is_seen_under_exactly_one_name(what: str, fault: str) -> None:
    """Who finds the old name free, and then asks for the new one, waits or finds it there."""
    for step in range(steps_of(what)):
        cluster, message = scene(what)
        ino = cluster.state().entries[message.parent, message.name]

        cluster.watch = partial(require_one_name, cluster, message, ino)
        cluster.faults = [Fault(step, fault, False)]
        asyncio.run(until_done(cluster, message))


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("directory over file", errno.ENOTDIR),
        ("file over directory", errno.EISDIR),
        ("directory over directory", errno.ENOTEMPTY),
        ("exchange file", errno.ENOENT),
    ],
)
def test_what_is_refused_is_taken_back_everywhere(what: str, code: int) -> None:
    cluster, message = scene(what)
    before = cluster.state()

    with pytest.raises(RemoteError) as refusal:
        asyncio.run(attempt(cluster, message))
    asyncio.run(cluster.settle())

    assert refusal.value.code == code
    assert cluster.state() == before
    assert cluster.at_rest()


def test_a_name_that_is_held_is_nobody_elses() -> None:
    cluster, message = scene("directory over empty directory")
    seen = set()

    def watch() -> None:
        for group, parent, name in (
            (1, message.parent, message.name),
            (2, message.new_parent, message.new_name),
        ):
            seen.add((group, (parent, name) in cluster.names(group).holds.names))

    cluster.watch = watch
    asyncio.run(until_done(cluster, message))

    assert seen == {(1, True), (1, False), (2, True), (2, False)}


def test_nothing_is_made_in_a_directory_that_is_being_replaced() -> None:
    cluster, message = scene("directory over empty directory")
    replaced = cluster.state().entries[message.new_parent, b"y"]
    names = cluster.names(home_group(replaced))
    refused = set()

    def watch() -> None:
        if replaced not in names.holds.sealed:
            return
        for what, operation in (
            ("create", lambda: names.open(Open(replaced, b"new", True, True, 0, 0, 0, LAYOUT))),
            ("mkdir", lambda: names.check_absent(replaced, b"new")),
            ("rmdir", lambda: names.inodes.drop_inode(DropInode(replaced))),
        ):
            with pytest.raises(Held):
                operation()
            refused.add(what)

    cluster.watch = watch
    asyncio.run(until_done(cluster, message))

    assert refused == {"create", "mkdir", "rmdir"}


def test_a_directory_stays_while_something_comes_to_it() -> None:
    cluster, message = scene("file")
    names = cluster.names(message.new_group)
    waited = 0

    def watch() -> None:
        nonlocal waited
        if names.holds.arriving(message.new_parent):
            waited += 1
            with pytest.raises(Held):
                names.inodes.drop_inode(DropInode(message.new_parent))

    cluster.watch = watch
    asyncio.run(until_done(cluster, message))

    assert waited > 2


async def move(cluster: Cluster, group: int, rename: Rename) -> int:
    """Rename, again and again while others are in the way; what it was refused with, or 0."""
    coordinator = cluster.nodes[group].coordinator
    while True:
        await asyncio.sleep(0)
        try:
            token = await coordinator.rename(group, rename, Empty)
            assert token is not None
            await coordinator.finish(group, token)
        except RemoteError as refusal:
            if refusal.code >= Code.STALE_EPOCH:
                continue
            return refusal.code
        return 0


@pytest.mark.parametrize("seed", range(100))
async def test_two_moves_into_each_other_make_no_loop(seed: int) -> None:
    """mv /a/x /b/y/in and mv /b/y /a/x/in: each looks for loops before the other has acted."""
    cluster, message = scene("directory over directory")
    cluster.tells, cluster.pauses = True, partial(random.Random(seed).randrange, 4)
    state = cluster.state()
    x, y = state.entries[message.parent, b"x"], state.entries[message.new_parent, b"y"]
    one = Rename(message.parent, b"x", y, b"in", home_group(y), RenameHow.REPLACE)
    two = Rename(message.new_parent, b"y", x, b"in", home_group(x), RenameHow.REPLACE)

    outcomes = await asyncio.gather(move(cluster, 1, one), move(cluster, 2, two))

    assert sorted(outcomes) == [0, errno.EINVAL]
    assert cluster.at_rest()
    for ino in (x, y):
        seen = set()
        while ino != ROOT_INO:
            assert ino not in seen
            seen.add(ino)
            ino = cluster.state().inodes[ino][2]
