"""Allowances of several groups, asked for and recalled in any order, with lost messages.

What is used is never more than the limit, but for what was counted without being asked for; when
all have given back what they do not use, the quota knows exactly what is used; and then what is
left can be had by whoever asks.
"""

import errno

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from benchfs.env import fixed_env
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import GrantAllowance, GrantAllowanceReply, SetQuota, UsageRecord
from benchfsd.allowances import Allowances, ShortError
from benchfsd.quotas import NO_LIMIT, FullError, Quotas
from tests.unit.memory_rows import MemoryRows

QUOTA = 5
GROUPS = 4
BYTES, INODES = 1000, 20
SIZES = st.integers(0, 400)
WHO = st.integers(0, GROUPS - 1)


class Scene:
    """The quota's group, and the groups that use it; each with rows of its own."""

    def __init__(self, size: int = BYTES, inodes: int = INODES) -> None:
        self.env = fixed_env(3)
        self.quotas = Quotas(0, MemoryRows())
        self.quotas.set(SetQuota(QUOTA, b"/p", size, inodes, marked=True))
        self.rows = [MemoryRows() for _ in range(GROUPS)]
        self.groups = [Allowances(number, self.rows[number], self.env) for number in range(GROUPS)]

    def restart(self, who: int) -> None:
        self.env.clock.advance(0.001)  # numbers go on with the clock
        self.groups[who] = Allowances(who, self.rows[who], self.env)

    def recall(self, but: int | None = None) -> None:
        given = [
            group.give_back(QUOTA) for number, group in enumerate(self.groups) if number != but
        ]
        self.quotas.settle(QUOTA, [usage for usage in given if usage is not None])

    def use(self, who: int, size: int, inodes: int) -> None:
        """What a node does for a create or a growth. FullError."""
        group = self.groups[who]
        if not group.suffices(QUOTA, size, inodes):
            ask, reply = group.begin_ask(QUOTA, size, inodes), None
            try:
                try:
                    reply = self.quotas.grant(ask)
                except FullError:
                    self.recall(but=who)
                    reply = self.quotas.grant(ask, again=True)
            finally:
                group.end_ask(ask, reply)
        group.require(QUOTA, size, inodes)
        group.charge(QUOTA, size, inodes)

    def used(self) -> tuple[int, int]:
        usages = [group.usage(QUOTA) for group in self.groups]
        return sum(usage.bytes for usage in usages), sum(usage.inodes for usage in usages)


class AnyOrder(RuleBasedStateMachine):
    """Groups use and free; asks and answers are lost, late, or come twice; nodes restart."""

    def __init__(self) -> None:
        super().__init__()
        self.scene = Scene()
        self.asks: list[GrantAllowance] = []  # that may still arrive, or arrive again
        self.records: list[UsageRecord] = []
        self.forced = (0, 0)

    @rule(who=WHO, size=SIZES, inodes=st.integers(0, 6))
    def use(self, who: int, size: int, inodes: int) -> None:
        before = self.scene.used()
        try:
            self.scene.use(who, size, inodes)
        except FullError:
            self.scene.recall()
            used_bytes, used_inodes = before
            assert used_bytes + size > BYTES or used_inodes + inodes > INODES, "refused wrongly"

    @rule(who=WHO, size=SIZES, inodes=st.integers(0, 6))
    def free(self, who: int, size: int, inodes: int) -> None:
        group = self.scene.groups[who]
        usage = group.usage(QUOTA)
        group.charge(QUOTA, -min(size, usage.bytes), -min(inodes, usage.inodes))

    @rule(who=WHO, size=SIZES)
    def ask_in_vain(self, who: int, size: int) -> None:
        """The answer is lost, or the question, which may arrive later."""
        group = self.scene.groups[who]
        ask = group.begin_ask(QUOTA, size, 1)
        self.asks.append(ask)
        group.end_ask(ask, None)

    @rule(data=st.data())
    def arrive_late(self, data: st.DataObject) -> None:
        if self.asks:
            try:
                self.scene.quotas.grant(data.draw(st.sampled_from(self.asks)))
            except FullError:
                pass
        if self.records:
            self.scene.quotas.settle(QUOTA, [data.draw(st.sampled_from(self.records))])

    @rule(who=WHO)
    def give_back_in_vain(self, who: int) -> None:
        """What it says arrives later."""
        record = self.scene.groups[who].give_back(QUOTA)
        assert record is not None
        self.records.append(record)

    @rule(who=WHO, size=st.integers(0, 200))
    def count_without_asking(self, who: int, size: int) -> None:
        if self.forced == (0, 0):
            self.scene.groups[who].charge(QUOTA, size, 1)
            self.forced = (size, 1)

    @rule(who=WHO)
    def restart(self, who: int) -> None:
        self.scene.restart(who)

    @invariant()
    def never_above_the_limit(self) -> None:
        used_bytes, used_inodes = self.scene.used()
        assert used_bytes <= BYTES + self.forced[0]
        assert used_inodes <= INODES + self.forced[1]

    def teardown(self) -> None:
        self.scene.recall()
        assert self.scene.quotas.used(QUOTA) == self.scene.used(), "it does not know what is used"
        used_bytes, used_inodes = self.scene.used()
        if used_bytes < BYTES and used_inodes < INODES:
            self.scene.use(GROUPS - 1, BYTES - used_bytes, INODES - used_inodes)


TestAnyOrder = AnyOrder.TestCase


def test_many_uses_of_one_group_ask_seldom() -> None:
    scene = Scene(10**12, 10**6)
    asked = 0
    for _ in range(1000):
        if not scene.groups[1].suffices(QUOTA, 4096, 1):
            asked += 1
        scene.use(1, 4096, 1)

    assert asked == 1


def test_the_last_byte_can_be_had_wherever_the_others_were() -> None:
    scene = Scene()
    for who in range(GROUPS):
        scene.use(who, 200, 1)
    scene.use(0, 200, 0)

    with pytest.raises(FullError) as refused:
        scene.use(1, 1, 0)
    assert refused.value.code == errno.EDQUOT
    assert "/p" in refused.value.text
    assert "1,000 bytes, 20 inodes" in refused.value.text
    scene.groups[3].charge(QUOTA, -1, 0)
    scene.use(1, 1, 0)


def test_a_limit_below_what_is_used_refuses_more_and_nothing_else() -> None:
    scene = Scene()
    scene.use(0, 500, 5)
    scene.recall()
    scene.quotas.set(SetQuota(QUOTA, b"/p", 100, NO_LIMIT, marked=True))

    with pytest.raises(FullError):
        scene.use(0, 1, 0)
    scene.use(0, 0, 1)
    scene.groups[0].charge(QUOTA, -401, 0)
    scene.use(1, 1, 0)


def test_of_a_quota_that_was_cleared_any_amount_is_granted() -> None:
    scene = Scene()
    scene.quotas.clear(QUOTA)

    scene.use(2, 10**9, 10**6)

    assert scene.quotas.find(QUOTA) is None
    assert not scene.quotas.grants(QUOTA)


def test_an_answer_that_was_overtaken_counts_nothing() -> None:
    group = Scene().groups[0]
    first = group.begin_ask(QUOTA, 10, 0)
    group.end_ask(first, None)
    second = group.begin_ask(QUOTA, 10, 0)
    group.end_ask(second, None)

    group.end_ask(first, GrantAllowanceReply(first.number, 10, 0))

    with pytest.raises(ShortError):
        group.require(QUOTA, 10, 0)


def test_what_a_group_said_before_changes_nothing_when_it_comes_late() -> None:
    scene = Scene()
    late = scene.groups[0].begin_ask(QUOTA, 10, 0)
    scene.groups[0].end_ask(late, None)
    record = scene.groups[0].give_back(QUOTA)
    assert record is not None
    scene.use(0, 900, 0)

    reply = scene.quotas.grant(late)
    scene.quotas.settle(QUOTA, [record])

    assert reply.number > late.number
    with pytest.raises(FullError):
        scene.use(1, 200, 0)


def test_a_question_that_comes_twice_is_granted_once() -> None:
    scene = Scene()
    ask = scene.groups[0].begin_ask(QUOTA, 400, 4)

    first, second = scene.quotas.grant(ask), scene.quotas.grant(ask)

    assert first == second
    assert scene.quotas.used(QUOTA) == (first.bytes, first.inodes)


def test_inodes_without_a_quota_are_not_counted() -> None:
    group = Scene().groups[0]

    group.require(0, 10**12, 10**6)
    group.charge(0, 10**12, 10**6)

    assert not group
    assert not group.quotas()


def test_a_group_that_uses_nothing_keeps_no_row() -> None:
    scene = Scene()
    scene.use(0, 10, 1)
    scene.groups[0].charge(QUOTA, -10, -1)

    scene.recall()

    assert not scene.groups[0]
    assert not scene.rows[0].snapshot()


def test_what_is_refused_is_to_be_asked_for_again() -> None:
    with pytest.raises(RemoteError) as refused:
        Scene().groups[0].require(QUOTA, 1, 0)
    assert isinstance(refused.value, ShortError)
