"""Numbers, the root, attributes, and directories in the making: what becomes of an inode."""

import errno

import pytest

from benchfs.env import FixedEnv, fixed_env
from benchfs.inode import ROOT_INO, FileType, home_group
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    Attributes,
    DropInode,
    GetAttributes,
    MakeInode,
    Open,
    RecordReads,
    ReportSize,
    ReserveEnd,
    SetAttributes,
    Truncate,
)
from benchfsd import inodes, rows
from benchfsd.namespace import Namespace
from benchfsd.rights import User
from tests.unit.memory_rows import MemoryRows
from tests.unit.namespace.group import LAYOUT

MISSING = 0x0000_1234_0000_0001
STRANGER = User(77, 77, ())


def test_numbers_have_their_group_and_are_never_used_twice_over_restarts(
    memory: MemoryRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inodes, "COUNTER_BLOCK", 8)
    env = fixed_env(0)
    seen = []
    for start in range(5):
        table = Namespace(9, memory, env).inodes  # what was in memory is gone
        seen += [table.allocate() for _ in range(5 * start + 1)]

    assert len(set(seen)) == len(seen)
    assert {home_group(ino) for ino in seen} == {9}
    assert len({ino & 0xFFFFFFFF for ino in seen}) == len(seen)  # whatever the random part is


def test_a_number_is_new_to_the_one_who_made_it(memory: MemoryRows) -> None:
    before = Namespace(9, memory, fixed_env(0)).inodes
    old = before.allocate()
    after = Namespace(9, memory, fixed_env(0)).inodes  # what was in memory is gone

    assert before.is_new(old)
    assert not after.is_new(old)
    assert after.is_new(after.allocate())
    assert not after.is_new(old)


def test_a_number_in_use_is_reserved_on_disk_before_it_is_given(memory: MemoryRows) -> None:
    ino = Namespace(0, memory, fixed_env(0)).inodes.allocate()

    reserved = memory.get(rows.counter_key(0))
    assert reserved is not None
    assert rows.decode_counter(reserved) > ino & 0xFFFFFFFF
    assert ino != ROOT_INO


def test_numbers_of_one_block_follow_each_other_and_the_next_block_lies_elsewhere(
    memory: MemoryRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inodes, "COUNTER_BLOCK", 8)
    table = Namespace(9, memory, fixed_env(0)).inodes

    numbers = [table.allocate() for _ in range(16)]

    assert numbers[:8] == list(range(numbers[0], numbers[0] + 8))
    assert numbers[8:] == list(range(numbers[8], numbers[8] + 8))
    assert numbers[0] >> 32 != numbers[8] >> 32  # the random part is drawn for each block


def test_most_numbers_cost_no_row(names: Namespace, memory: MemoryRows) -> None:
    names.inodes.allocate()
    before = memory.snapshot()
    for _ in range(100):
        names.inodes.allocate()

    assert memory.snapshot() == before


def test_a_group_out_of_numbers_says_so(memory: MemoryRows) -> None:
    table = Namespace(0, memory, fixed_env(0)).inodes
    memory.put(rows.counter_key(0), rows.encode_counter(2**32 - 3))

    last = [table.allocate() & 0xFFFFFFFF for _ in range(3)]
    with pytest.raises(RemoteError) as caught:
        table.allocate()

    assert last == [2**32 - 3, 2**32 - 2, 2**32 - 1]
    assert caught.value.code == errno.ENOSPC


# ---------------------------------------------------------------------------------- root


def test_the_root_is_made_once(names: Namespace, env: FixedEnv) -> None:
    made = names.inodes.get(ROOT_INO)
    env.clock.advance(60)
    again = names.inodes.format_root(uid=99, gid=99)

    assert (again.ino, again.type, again.mode) == (ROOT_INO, FileType.DIRECTORY, 0o755)
    assert (again.uid, again.gid, again.nlink, again.fanout) == (10, 20, 1, 1)
    assert again.parent == ROOT_INO
    assert again == made


def test_the_root_has_one_home(memory: MemoryRows, env: FixedEnv) -> None:
    with pytest.raises(ValueError, match="root"):
        Namespace(3, memory, env).inodes.format_root(0, 0)


# ---------------------------------------------------------------------------- attributes


def test_attributes_are_found_by_number(names: Namespace, file: Attributes) -> None:
    assert names.inodes.get_attributes(GetAttributes(file.ino)).attributes == file


@pytest.mark.parametrize(
    "call",
    [
        lambda table: table.get_attributes(GetAttributes(MISSING)),
        lambda table: table.set_attributes(SetAttributes(MISSING, 0, None, None, None, None)),
        lambda table: table.report_size(ReportSize(MISSING, 0, 1, 1)),
        lambda table: table.begin_truncate(Truncate(MISSING, 0)),
    ],
    ids=["get", "set", "report", "truncate"],
)
def test_a_missing_inode_is_enoent(names: Namespace, memory: MemoryRows, call) -> None:
    before = memory.snapshot()

    with pytest.raises(RemoteError) as caught:
        call(names.inodes)

    assert caught.value.code == errno.ENOENT
    assert memory.snapshot() == before


def test_set_attributes_changes_what_is_given_and_ctime(
    names: Namespace, file: Attributes, env: FixedEnv
) -> None:
    env.clock.advance(1)

    changed = names.inodes.set_attributes(SetAttributes(file.ino, 0o102755, 7, None, 5, -6))

    assert changed.attributes == file._replace(
        mode=0o2755,
        uid=7,
        atime_ns=5,
        mtime_ns=-6,
        ctime_ns=env.clock.time_ns(),
        change=file.change + 1,
    )
    assert names.inodes.get(file.ino) == changed.attributes


def test_zero_is_a_value(names: Namespace, file: Attributes) -> None:
    changed = names.inodes.set_attributes(SetAttributes(file.ino, 0, 0, 0, 0, 0)).attributes

    assert (changed.mode, changed.uid, changed.gid) == (0, 0, 0)
    assert (changed.atime_ns, changed.mtime_ns) == (0, 0)


def test_setting_nothing_changes_nothing(names: Namespace, file: Attributes, env: FixedEnv) -> None:
    env.clock.advance(1)
    nothing = SetAttributes(file.ino, None, None, None, None, None)

    assert names.inodes.set_attributes(nothing).attributes == file


def test_reading_sets_atime_where_it_is_due_and_nothing_else(
    names: Namespace, file: Attributes, env: FixedEnv
) -> None:
    env.clock.advance(1)
    first_ns = env.clock.time_ns()
    report = RecordReads((MISSING, file.ino), first_ns)

    names.inodes.record_reads(report)
    assert names.inodes.get(file.ino) == file._replace(atime_ns=first_ns)

    env.clock.advance(3600)
    names.inodes.record_reads(RecordReads((file.ino,), env.clock.time_ns()))
    assert names.inodes.get(file.ino).atime_ns == first_ns

    env.clock.advance(24 * 3600)
    names.inodes.record_reads(RecordReads((file.ino,), 2**62))  # no later than now
    assert names.inodes.get(file.ino).atime_ns == env.clock.time_ns()


def test_who_may_not_read_a_file_does_not_set_its_atime(
    names: Namespace, file: Attributes, env: FixedEnv
) -> None:
    env.clock.advance(1)

    names.inodes.record_reads(RecordReads((file.ino,), env.clock.time_ns()), STRANGER)

    assert names.inodes.get(file.ino) == file


def test_an_append_takes_setuid_and_setgid_unless_it_is_the_superusers(
    names: Namespace, file: Attributes
) -> None:
    names.inodes.put(file._replace(mode=0o6755))

    assert names.inodes.reserve_end(ReserveEnd(file.ino, 9)).attributes.mode == 0o6755
    assert names.inodes.reserve_end(ReserveEnd(file.ino, 9), STRANGER).attributes.mode == 0o755


# --------------------------------------------------------------------------- directories


def test_a_directory_inode_is_made_in_its_home(memory: MemoryRows, env: FixedEnv) -> None:
    home = Namespace(5, memory, env)

    made = home.inodes.make_inode(MakeInode(ROOT_INO, 0o41777, 1, 2, 1)).attributes

    assert home_group(made.ino) == 5
    assert (made.type, made.mode, made.uid, made.gid) == (FileType.DIRECTORY, 0o1777, 1, 2)
    assert (made.nlink, made.parent, made.fanout, made.entries) == (1, ROOT_INO, 1, 0)
    assert made.mtime_ns == made.ctime_ns == made.atime_ns == env.clock.time_ns()
    assert home.inodes.get(made.ino) == made


def test_a_dropped_directory_is_gone_and_dropping_it_again_is_done(
    memory: MemoryRows, env: FixedEnv
) -> None:
    home = Namespace(5, memory, env)
    ino = home.inodes.make_inode(MakeInode(ROOT_INO, 0o755, 1, 2, 1)).attributes.ino

    home.inodes.drop_inode(DropInode(ino))
    home.inodes.drop_inode(DropInode(ino))

    with pytest.raises(RemoteError) as caught:
        home.open(Open(ino, b"late", True, True, 0o644, 0, 0, LAYOUT))
    assert caught.value.code == errno.ENOENT


def test_a_directory_with_an_entry_is_not_dropped(memory: MemoryRows, env: FixedEnv) -> None:
    home = Namespace(5, memory, env)
    ino = home.inodes.make_inode(MakeInode(ROOT_INO, 0o755, 1, 2, 1)).attributes.ino
    home.open(Open(ino, b"f", True, True, 0o644, 0, 0, LAYOUT))
    before = memory.snapshot()

    with pytest.raises(RemoteError) as caught:
        home.inodes.drop_inode(DropInode(ino))

    assert caught.value.code == errno.ENOTEMPTY
    assert memory.snapshot() == before


@pytest.mark.parametrize("wrong", ["count", "entry"])
def test_a_wrong_count_loses_no_entry(memory: MemoryRows, env: FixedEnv, wrong: str) -> None:
    home = Namespace(5, memory, env)
    made = home.inodes.make_inode(MakeInode(ROOT_INO, 0o755, 1, 2, 1)).attributes
    if wrong == "count":
        home.inodes.put(made._replace(entries=1))
    else:
        memory.put(rows.entry_key(5, made.ino, b"f"), rows.encode_entry(77, FileType.FILE))

    with pytest.raises(RemoteError) as caught:
        home.inodes.drop_inode(DropInode(made.ino))

    assert caught.value.code == errno.ENOTEMPTY


def test_neither_a_file_nor_the_root_is_dropped(names: Namespace, file: Attributes) -> None:
    with pytest.raises(RemoteError) as of_file:
        names.inodes.drop_inode(DropInode(file.ino))
    with pytest.raises(RemoteError) as of_root:
        names.inodes.drop_inode(DropInode(ROOT_INO))

    assert of_file.value.code == errno.ENOTDIR
    assert of_root.value.code == errno.EBUSY
    assert names.inodes.find(file.ino) == file


@pytest.mark.parametrize(
    ("parent_mode", "directory", "expected"),
    [
        (0o755, False, (0o640, 5)),
        (0o755, True, (0o640, 5)),
        (0o2755, False, (0o640, 50)),
        (0o2755, True, (0o2640, 50)),
    ],
)
def test_what_is_made_in_a_setgid_directory_inherits_its_group(
    parent_mode: int, directory: bool, expected: tuple[int, int]
) -> None:
    assert inodes.inherit(parent_mode, 50, 0o640, 5, directory=directory) == expected
