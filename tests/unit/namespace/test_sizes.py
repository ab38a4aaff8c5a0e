"""Sizes that writers report, ends that appenders reserve, and truncation in its steps."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchfs.env import FixedEnv, fixed_env
from benchfs.inode import ROOT_INO
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    Attributes,
    Code,
    Open,
    ReportSize,
    ReserveEnd,
    Truncate,
    Unlink,
)
from benchfsd.namespace import Namespace
from benchfsd.rights import User
from benchfsd.rows import IntentKind
from tests.unit.memory_rows import MemoryRows
from tests.unit.namespace.group import CALL, LAYOUT

MISSING = 0x0000_1234_0000_0001
STRANGER = User(77, 77, ())


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
    assert caught.value.code == errno.EFBIG
    names.inodes.begin_truncate(Truncate(file.ino, 0))
    with pytest.raises(RemoteError) as caught:
        names.inodes.reserve_end(ReserveEnd(file.ino, 1))
    assert caught.value.code == Code.NOT_READY


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

    assert caught.value.code == errno.ESTALE
    assert names.inodes.get(file.ino) == file


def test_a_report_from_an_unfinished_truncation_is_to_come_again(
    names: Namespace, file: Attributes
) -> None:
    names.inodes.begin_truncate(Truncate(file.ino, 10))

    with pytest.raises(RemoteError) as caught:
        names.inodes.report_size(ReportSize(file.ino, 1, 10, 1))

    assert caught.value.code == Code.NOT_READY


def test_a_file_has_as_many_chunks_as_can_be_numbered(names: Namespace, file: Attributes) -> None:
    most = LAYOUT.chunk_size * 2**32

    assert names.inodes.report_size(ReportSize(file.ino, 0, most, 1)).attributes.size == most
    for call in (
        lambda: names.inodes.report_size(ReportSize(file.ino, 0, most + 1, 1)),
        lambda: names.inodes.begin_truncate(Truncate(file.ino, most + 1)),
    ):
        with pytest.raises(RemoteError) as caught:
            call()
        assert caught.value.code == errno.EFBIG


def test_a_directory_has_no_size(names: Namespace) -> None:
    for call in (
        lambda: names.inodes.report_size(ReportSize(ROOT_INO, 0, 1, 1)),
        lambda: names.inodes.begin_truncate(Truncate(ROOT_INO, 1)),
    ):
        with pytest.raises(RemoteError) as caught:
            call()
        assert caught.value.code == errno.EISDIR


# ---------------------------------------------------------------------------- truncation


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

    assert caught.value.code == Code.NOT_READY
    assert following.truncation == 2


def test_a_file_removed_while_it_is_truncated(names: Namespace, file: Attributes) -> None:
    intent, _ = names.inodes.begin_truncate(Truncate(file.ino, 10))
    purge = names.unlink(Unlink(ROOT_INO, b"file")).purge

    with pytest.raises(RemoteError) as caught:
        names.inodes.commit_truncate(intent)

    assert caught.value.code == errno.ENOENT
    assert names.intents.pending() == [purge]
