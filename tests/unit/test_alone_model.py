"""Any order of requests of a client that makes names alone, of others, and of time: a model.

A name that is there is never said to be missing by `benchfs/alone.py`.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from benchfs.alone import Alone
from benchfs.env import ManualClock
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import DirectoryRecord
from benchfsd.delegations import (
    GRANTED_SECONDS,
    NOBODY,
    TOLD_MS,
    WANTED_SECONDS,
    Delegations,
)

DIRECTORY = 7
TOLD_SECONDS = TOLD_MS / 1000
MINE, THEIRS = b"m" * 16, b"t" * 16


class _Asked:
    """A request of this client, on its way to the node or back. `record`: of a file made."""

    def __init__(self, name: bytes, at: float, *, is_file: bool) -> None:
        self.name, self.at, self.is_file = name, at, is_file
        self.executed = False
        self.record: DirectoryRecord | None = None


NAMES = st.sampled_from([b"%d" % number for number in range(4)])
PLACES = st.integers(0, 50)


class TwoClients(RuleBasedStateMachine):
    """One directory, one client that uses `Alone`, and others who make names in one step or two.

    Requests are executed and answered in any order. Whoever made a name, as soon as it is there it
    is not said to be missing: others may have seen it, and told this client.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.alone = Alone(self.clock.monotonic)
        self.node = Delegations(self.clock)
        self.present: set[bytes] = set()
        self.change = 3
        self.coming: set[bytes] = set()  # prepared by another group
        self.sent: list[_Asked] = []  # given up or not, the node may execute them
        self.waiting: list[_Asked] = []  # and this client waits for them

    def changed(self) -> None:
        self.change += 1

    def may_make(self, name: bytes, session: bytes) -> bool:
        try:
            self.node.require(DIRECTORY, session, name)
        except RemoteError:
            return False
        return name not in self.present and name not in self.coming

    @rule(name=NAMES, is_file=st.booleans())
    def ask(self, name: bytes, is_file: bool) -> None:
        self.alone.begin(DIRECTORY, name)
        asked = _Asked(name, self.clock.monotonic(), is_file=is_file)
        self.sent.append(asked)
        self.waiting.append(asked)

    @precondition(lambda self: self.sent)
    @rule(place=PLACES)
    def execute(self, place: int) -> None:
        asked = self.sent.pop(place % len(self.sent))
        asked.executed = True
        if not self.may_make(asked.name, MINE):
            return
        self.present.add(asked.name)
        self.changed()
        if asked.is_file:
            granted = 0 if self.coming else self.node.grant(DIRECTORY, MINE)
            asked.record = DirectoryRecord(self.change, len(self.present), granted)

    @precondition(lambda self: any(asked.executed for asked in self.waiting))
    @rule(place=PLACES)
    def answer(self, place: int) -> None:
        executed = [asked for asked in self.waiting if asked.executed]
        asked = executed[place % len(executed)]
        self.waiting.remove(asked)
        if asked.record is not None:
            self.alone.made(DIRECTORY, asked.at, asked.record)
        self.alone.end(DIRECTORY)

    @rule(name=NAMES, is_file=st.booleans())
    def make_at_once(self, name: bytes, is_file: bool) -> None:
        self.ask(name, is_file)
        self.execute(len(self.sent) - 1)
        self.answer(len([asked for asked in self.waiting if asked.executed]) - 1)

    @rule(name=NAMES)
    def make_and_wait_for_the_answer(self, name: bytes) -> None:
        self.ask(name, is_file=True)
        self.execute(len(self.sent) - 1)
        self.wait(GRANTED_SECONDS)
        self.answer(len([asked for asked in self.waiting if asked.executed]) - 1)

    @rule(name=NAMES, is_file=st.booleans())
    def ask_and_give_up(self, name: bytes, is_file: bool) -> None:
        self.ask(name, is_file)
        self.give_up(len(self.waiting) - 1)

    @precondition(lambda self: self.waiting)
    @rule(place=PLACES)
    def give_up(self, place: int) -> None:
        """This client's time is up: the answer is lost, the request may be executed yet."""
        self.waiting.pop(place % len(self.waiting))
        self.alone.doubt(DIRECTORY)
        self.alone.end(DIRECTORY)

    @rule(name=NAMES)
    def another_makes(self, name: bytes) -> None:
        if self.may_make(name, THEIRS):
            self.present.add(name)
            self.changed()

    @rule(name=NAMES)
    def another_group_prepares(self, name: bytes) -> None:
        if self.may_make(name, NOBODY):
            self.coming.add(name)

    @precondition(lambda self: self.coming)
    @rule(commit=st.booleans())
    def another_group_concludes(self, commit: bool) -> None:
        name = self.coming.pop()
        if commit:
            self.present.add(name)
            self.changed()

    @precondition(lambda self: self.present)
    @rule(place=PLACES)
    def somebody_removes(self, place: int) -> None:
        name = sorted(self.present)[place % len(self.present)]
        self.present.discard(name)
        self.changed()

    @rule(name=NAMES, place=PLACES)
    def another_renames(self, name: bytes, place: int) -> None:
        """Names come and go with one change of the counter, and the count stays."""
        if self.present and self.may_make(name, THEIRS):
            old = sorted(self.present)[place % len(self.present)]
            self.present.discard(old)
            self.present.add(name)
            self.changed()

    @rule()
    def forget(self) -> None:
        self.alone.forget(DIRECTORY)

    @rule(seconds=st.sampled_from([TOLD_SECONDS / 2, GRANTED_SECONDS, WANTED_SECONDS]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def no_name_that_is_there_is_said_to_be_missing(self) -> None:
        wrong = {name for name in self.present if self.alone.is_absent(DIRECTORY, name)}
        assert not wrong, wrong


TestTwoClients = TwoClients.TestCase
TestTwoClients.settings = settings(max_examples=400, stateful_step_count=30, deadline=None)
