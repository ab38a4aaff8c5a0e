"""Inodes: numbers, attributes, sizes and truncation, directories."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchfs.env import FixedEnv, fixed_env
from benchfs.inode import ROOT_INO, FileType, home_group
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    Attributes,
    Code,
    DropInode,
    GetAttributes,
    LayoutRecord,
    MakeInode,
    Open,
    RecordReads,
    ReportSize,
    ReserveEnd,
    SetAttributes,
    Truncate,
    Unlink,
)
from benchfsd import inodes, rows
from benchfsd.namespace import Namespace
from benchfsd.rights import User
from benchfsd.rows import Call, IntentKind
from tests.unit.memory_rows import MemoryRows

LAYOUT = LayoutRecord(chunk_size=65536, first=9, stripe=(3, 4))
MISSING = 0x0000_1234_0000_0001
STRANGER = User(77, 77, ())
CALL = Call(b"session-of-16-by", 2, 77)


@pytest.fixture
def env() -> FixedEnv:
    return fixed_env(1)


@pytest.fixture
def memory() -> MemoryRows:
    return MemoryRows()


@pytest.fixture
def names(memory: MemoryRows, env: FixedEnv) -> Namespace:
    namespace = Namespace(0, memory, env)
    namespace.inodes.format_root(uid=10, gid=20)
    return namespace


@pytest.fixture
def file(names: Namespace) -> Attributes:
    made = names.open(Open(ROOT_INO, b"file", True, True, 0o640, 10, 20, LAYOUT)).attributes
    assert made is not None
    return made


def code_of(caught: pytest.ExceptionInfo[RemoteError]) -> int:
    return caught.value.code


# ----------------------------------------------------------------------------- numbers


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
    assert code_of(caught) == errno.ENOSPC


# ------------------------------------------------------------------------------- root


def test_the_root_is_made_once(names: Namespace, env: FixedEnv) -> None:
    env.clock.advance(60)
    again = names.inodes.format_root(uid=99, gid=99)

    assert (again.ino, again.type, again.mode) == (ROOT_INO, FileType.DIRECTORY, 0o755)
    assert (again.uid, again.gid, again.nlink, again.fanout) == (10, 20, 1, 1)
    assert again.parent == ROOT_INO
    assert again.ctime_ns == env.clock.time_ns() - 60 * 10**9


def test_the_root_has_one_home(memory: MemoryRows, env: FixedEnv) -> None:
    with pytest.raises(ValueError, match="root"):
        Namespace(3, memory, env).inodes.format_root(0, 0)


# ------------------------------------------------------------------------- attributes


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

    assert code_of(caught) == errno.ENOENT
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


# ------------------------------------------------------------------------------- sizes


@given(reports=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 2**62)), max_size=8))
def test_reports_merge_to_their_maxima_in_any_order(reports: list[tuple[int, int]]) -> None:
    names = Namespace(0, MemoryRows(), fixed_env(1))
    names.inodes.format_root(0, 0)
    made = names.open(Open(ROOT_INO, b"f", True, True, 0o640, 0, 0, LAYOUT)).attributes
    assert made is not None

    for end, mtime_ns in [*reports, *reports[::-1]]:
        names.inodes.report_size(ReportSize(made.ino, 0, end, mtime_ns))

    after = names.inodes.get(made.ino)
    assert after.size == max([0, *(end for end, _ in reports)])
    assert after.mtime_ns == max([made.mtime_ns, *(mtime for _, mtime in reports)])


def test_every_report_counts_as_a_change_whatever_the_clocks_say(
    names: Namespace, file: Attributes
) -> None:
    report = ReportSize(file.ino, 0, 100, file.mtime_ns + 1)
    first = names.inodes.report_size(report).attributes
    late = names.inodes.report_size(report._replace(mtime_ns=5)).attributes

    assert first.size == 100
    assert first.change == file.change + 1
    assert late == first._replace(change=file.change + 2)


def test_reserved_ranges_follow_one_another_and_the_end(names: Namespace, file: Attributes) -> None:
    names.inodes.report_size(ReportSize(file.ino, 0, 10, 5))
    offsets = [names.inodes.reserve_end(ReserveEnd(file.ino, size)).offset for size in (3, 4, 5)]

    assert offsets == [10, 13, 17]
    assert names.inodes.get(file.ino).size == 22


def test_no_range_is_reserved_beyond_the_greatest_size_or_while_a_file_is_cut(
    names: Namespace, file: Attributes
) -> None:
    with pytest.raises(RemoteError) as caught:
        names.inodes.reserve_end(ReserveEnd(file.ino, 65_536 * 2**32 + 1))
    assert code_of(caught) == errno.EFBIG
    names.inodes.begin_truncate(Truncate(file.ino, 0))
    with pytest.raises(RemoteError) as caught:
        names.inodes.reserve_end(ReserveEnd(file.ino, 1))
    assert code_of(caught) == Code.NOT_READY


def test_a_late_report_does_not_resurrect_a_cut_file(names: Namespace, file: Attributes) -> None:
    names.inodes.report_size(ReportSize(file.ino, 0, 1000, 1))
    intent, _ = names.inodes.begin_truncate(Truncate(file.ino, 10))
    cut = names.inodes.commit_truncate(intent).attributes

    late = names.inodes.report_size(ReportSize(file.ino, 0, 1000, 2**62)).attributes

    assert late == cut
    assert late.size == 10
    fresh = names.inodes.report_size(ReportSize(file.ino, 1, 20, 1)).attributes
    assert fresh.size == 20


def test_a_report_from_an_epoch_that_never_began_is_stale(
    names: Namespace, file: Attributes
) -> None:
    with pytest.raises(RemoteError) as caught:
        names.inodes.report_size(ReportSize(file.ino, 1, 10, 1))

    assert code_of(caught) == errno.ESTALE
    assert names.inodes.get(file.ino) == file


def test_a_report_from_an_unfinished_truncation_is_to_come_again(
    names: Namespace, file: Attributes
) -> None:
    names.inodes.begin_truncate(Truncate(file.ino, 10))

    with pytest.raises(RemoteError) as caught:
        names.inodes.report_size(ReportSize(file.ino, 1, 10, 1))

    assert code_of(caught) == Code.NOT_READY


def test_a_file_has_as_many_chunks_as_can_be_numbered(names: Namespace, file: Attributes) -> None:
    most = LAYOUT.chunk_size * 2**32

    assert names.inodes.report_size(ReportSize(file.ino, 0, most, 1)).attributes.size == most
    for call in (
        lambda: names.inodes.report_size(ReportSize(file.ino, 0, most + 1, 1)),
        lambda: names.inodes.begin_truncate(Truncate(file.ino, most + 1)),
    ):
        with pytest.raises(RemoteError) as caught:
            call()
        assert code_of(caught) == errno.EFBIG


def test_a_directory_has_no_size(names: Namespace) -> None:
    for call in (
        lambda: names.inodes.report_size(ReportSize(ROOT_INO, 0, 1, 1)),
        lambda: names.inodes.begin_truncate(Truncate(ROOT_INO, 1)),
    ):
        with pytest.raises(RemoteError) as caught:
            call()
        assert code_of(caught) == errno.EISDIR


# -------------------------------------------------------------------------- truncation


def test_truncation_holds_from_its_second_step(
    names: Namespace, file: Attributes, env: FixedEnv
) -> None:
    before = names.inodes.report_size(ReportSize(file.ino, 0, 1000, 1)).attributes
    env.clock.advance(1)

    intent, old = names.inodes.begin_truncate(Truncate(file.ino, 10), CALL)
    assert old == before == names.inodes.get(file.ino)
    after = names.inodes.commit_truncate(intent).attributes

    assert (intent.truncation, intent.size, intent.layout) == (1, 10, LAYOUT)
    now_ns = env.clock.time_ns()
    assert after == before._replace(
        size=10, truncation=1, mtime_ns=now_ns, ctime_ns=now_ns, change=before.change + 1
    )
    assert names.intents.pending() == []


def test_a_truncation_may_grow_a_file(names: Namespace, file: Attributes) -> None:
    intent, _ = names.inodes.begin_truncate(Truncate(file.ino, 5000))

    assert names.inodes.commit_truncate(intent).attributes.size == 5000


def test_after_a_restart_a_truncation_is_found_and_finished(
    names: Namespace, file: Attributes, memory: MemoryRows
) -> None:
    names.inodes.begin_truncate(Truncate(file.ino, 10), CALL)
    restarted = Namespace(0, memory, fixed_env(5))

    (intent,) = restarted.intents.pending()
    assert (intent.kind, intent.ino, intent.call) == (IntentKind.TRUNCATE, file.ino, CALL)
    first = restarted.inodes.commit_truncate(intent)
    second = restarted.inodes.commit_truncate(intent)

    assert first == second
    assert (first.attributes.size, first.attributes.truncation) == (10, 1)


def test_one_truncation_at_a_time(names: Namespace, file: Attributes) -> None:
    intent, _ = names.inodes.begin_truncate(Truncate(file.ino, 10))
    with pytest.raises(RemoteError) as caught:
        names.inodes.begin_truncate(Truncate(file.ino, 20))
    names.inodes.commit_truncate(intent)
    following, _ = names.inodes.begin_truncate(Truncate(file.ino, 20))

    assert code_of(caught) == Code.NOT_READY
    assert following.truncation == 2


def test_a_file_removed_while_it_is_truncated(names: Namespace, file: Attributes) -> None:
    intent, _ = names.inodes.begin_truncate(Truncate(file.ino, 10))
    purge = names.unlink(Unlink(ROOT_INO, b"file")).purge

    with pytest.raises(RemoteError) as caught:
        names.inodes.commit_truncate(intent)

    assert code_of(caught) == errno.ENOENT
    assert names.intents.pending() == [purge]


# ------------------------------------------------------------------------- directories


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
    assert code_of(caught) == errno.ENOENT


def test_a_directory_with_an_entry_is_not_dropped(memory: MemoryRows, env: FixedEnv) -> None:
    home = Namespace(5, memory, env)
    ino = home.inodes.make_inode(MakeInode(ROOT_INO, 0o755, 1, 2, 1)).attributes.ino
    home.open(Open(ino, b"f", True, True, 0o644, 0, 0, LAYOUT))
    before = memory.snapshot()

    with pytest.raises(RemoteError) as caught:
        home.inodes.drop_inode(DropInode(ino))

    assert code_of(caught) == errno.ENOTEMPTY
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

    assert code_of(caught) == errno.ENOTEMPTY


def test_neither_a_file_nor_the_root_is_dropped(names: Namespace, file: Attributes) -> None:
    with pytest.raises(RemoteError) as of_file:
        names.inodes.drop_inode(DropInode(file.ino))
    with pytest.raises(RemoteError) as of_root:
        names.inodes.drop_inode(DropInode(ROOT_INO))

    assert code_of(of_file) == errno.ENOTDIR
    assert code_of(of_root) == errno.EBUSY
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
