"""Wide directories, removed and filled at once: whole or gone, with a fault at every step.

In the same simulation as renames across groups (`test_rename_crashes.py`).
"""

import asyncio
import errno
import random
from functools import partial
from typing import NamedTuple

import pytest

from benchfs.inode import ROOT_INO, shard_group
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.frames import Kind
from benchfs.rpc.messages import Code, Open, RegisterPart, RemoveDirectory
from benchfsd.holds import Held
from benchfsd.namespace import UnregisteredError
from benchfsd.peers import register_part
from benchfsd.rows import Answer, Call, part_key
from benchfsd.slots import Slots
from tests.unit.simulated_groups import LAYOUT, Cluster, Fault, StoppedError

CALL = Call(b"session-of-16-by", 2, 77)
GROUPS = 7
FAULTS = ("driver stops", "other stops", "the message is lost")


async def remove_until_done(cluster: Cluster, message: RemoveDirectory) -> int:
    """What a client does to remove a wide directory; what it was refused with, or 0."""
    node = cluster.nodes[1]
    for _ in range(5):
        slots = Slots(node.rows)
        if slots.replay(1, CALL) is not None:
            return 0
        answer = partial(slots.record, 1, CALL, Answer(Kind.REPLY, b"\x90"))
        try:
            token = await node.coordinator.remove_directory(1, message, answer)
            await node.coordinator.finish(1, token)
        except StoppedError:
            pass
        except RemoteError as refusal:
            if refusal.code < Code.STALE_EPOCH:
                return refusal.code
        await cluster.settle()
    raise AssertionError("the removal does not come to its end")


class WideScene(NamedTuple):
    """/a/wide, at home in group 3, with parts in all groups that have a shard of it."""

    cluster: Cluster
    message: RemoveDirectory
    ino: int
    others: tuple[int, ...]


def wide_scene() -> WideScene:
    cluster = Cluster(GROUPS)
    a = cluster.make_directory(ROOT_INO, b"a", 1)
    ino = cluster.make_directory(a, b"wide", 3, fanout=6)
    others = {shard_group(ino, shard, GROUPS) for shard in range(6)} - {3}
    for group in others:
        asyncio.run(register_part(cluster.nodes[group], group, ino))
    cluster.store_all()
    return WideScene(cluster, RemoveDirectory(a, b"wide"), ino, tuple(sorted(others)))


def parts_of(scene: WideScene) -> set[int]:
    return {
        group
        for group, node in scene.cluster.nodes.items()
        if node.rows.get(part_key(group, scene.ino)) is not None
    }


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "lost"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("filled", [False, True])
def test_a_wide_directory_is_removed_whole_or_stays_whole(
    fault: str, kept: bool, filled: bool
) -> None:
    undisturbed = wide_scene()
    undisturbed.cluster.steps = 0
    asyncio.run(remove_until_done(undisturbed.cluster, undisturbed.message))
    for step in range(undisturbed.cluster.steps):
        scene = wide_scene()
        cluster, message, ino, others = scene
        assert parts_of(scene) == set(others)
        create = Open(ino, b"x", True, True, 0o644, 0, 0, LAYOUT)
        if filled:
            cluster.names(others[-1]).open(create)
            cluster.store_all()
        cluster.steps, cluster.faults = 0, [Fault(step, fault, kept)]

        refusal = asyncio.run(remove_until_done(cluster, message))
        asyncio.run(cluster.settle())
        cluster.faults = []

        assert refusal == (errno.ENOTEMPTY if filled else 0)
        assert parts_of(scene) == (set(others) if filled else set())
        assert ((message.parent, b"wide") in cluster.state().entries) == filled
        assert (cluster.names(3).inodes.find(ino) is not None) == filled
        assert bool(cluster.names(3).parts.used(ino)) == filled
        assert cluster.at_rest()
        if not filled:
            with pytest.raises(UnregisteredError):
                cluster.names(others[0]).open(create)
            with pytest.raises(RemoteError) as gone:
                asyncio.run(register_part(cluster.nodes[others[0]], others[0], ino))
            assert gone.value.code == errno.ENOENT


def test_a_part_that_was_registered_before_the_removal_is_not_made_after_it() -> None:
    scene = wide_scene()
    names = scene.cluster.names(scene.others[0])
    version = names.holds.version
    answer = scene.cluster.names(3).parts.register(RegisterPart(scene.ino, scene.others[0]), GROUPS)

    assert asyncio.run(remove_until_done(scene.cluster, scene.message)) == 0

    with pytest.raises(RemoteError) as refusal:
        names.parts.make(answer.attributes, version=version)
    assert refusal.value.code == Code.NOT_READY
    assert parts_of(scene) == set()


@pytest.mark.parametrize("seed", range(200))
async def test_the_first_entry_of_a_part_and_the_removal_exclude_each_other(seed: int) -> None:
    cluster = Cluster(GROUPS)
    a = cluster.make_directory(ROOT_INO, b"a", 1)
    ino = cluster.make_directory(a, b"wide", 3, fanout=6)
    group = next(
        g for g in range(GROUPS) if g in {shard_group(ino, s, GROUPS) for s in range(6)} - {3}
    )
    cluster.tells, cluster.pauses = True, partial(random.Random(seed).randrange, 5)

    async def create() -> int:
        for _ in range(50):
            try:
                cluster.names(group).open(Open(ino, b"x", True, True, 0o644, 0, 0, LAYOUT))
                return 0
            except UnregisteredError:
                try:
                    await register_part(cluster.nodes[group], group, ino)
                except RemoteError as refusal:
                    if refusal.code == errno.ENOENT:
                        return refusal.code
            except Held:
                await asyncio.sleep(0)
        raise AssertionError("the create does not come to its end")

    made, removed = await asyncio.gather(
        create(), remove_until_done(cluster, RemoveDirectory(a, b"wide"))
    )
    await cluster.settle()

    assert (made, removed) in {(0, errno.ENOTEMPTY), (errno.ENOENT, 0)}
    there = ((ino, b"x") in cluster.state().entries, (a, b"wide") in cluster.state().entries)
    assert there == ((True, True) if made == 0 else (False, False))
    assert cluster.at_rest()
