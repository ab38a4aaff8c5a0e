"""The rules of the oracle for advisory locks: of byte ranges, and of files as such. None waits."""

from __future__ import annotations

import fcntl

import hypothesis.strategies as st
from hypothesis.stateful import rule

from tests.cluster import local_directory as local
from tests.cluster.pair import positions, which_file
from tests.cluster.rules_of_files import Files

lengths = st.sampled_from([0, 1, 5, 65_536])
kinds = st.sampled_from([fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_UN])


class Locks(Files):
    """What open files exclude each other from."""

    @rule(which=which_file, kind=kinds, offset=positions, length=lengths)
    def lock(self, which: int, kind: int, offset: int, length: int) -> None:
        handle = self.handle(which)
        exclusive, unlock = kind == fcntl.LOCK_EX, kind == fcntl.LOCK_UN
        outcome = self.same(
            lambda _: (
                handle.file.unlock(offset, length)
                if unlock
                else handle.file.lock(offset, length, exclusive=exclusive, timeout=0)
            ),
            local.lock_range,
            handle.descriptor,
            kind,
            offset,
            length,
        )
        if outcome.code is None and not unlock:
            handle.stale = False  # locking looks at the file anew

    @rule(which=which_file, kind=kinds)
    def flock(self, which: int, kind: int) -> None:
        handle = self.handle(which)
        operation = kind | fcntl.LOCK_NB
        outcome = self.same(
            lambda _: handle.file.flock(operation), fcntl.flock, handle.descriptor, operation
        )
        if outcome.code is None:
            handle.flocked = kind
            handle.stale = handle.stale and kind == fcntl.LOCK_UN
        elif handle.flocked != fcntl.LOCK_UN:
            # Linux takes away the lock that was to become another one; BenchFS leaves it.
            again = handle.flocked | fcntl.LOCK_NB
            self.world.local.call(fcntl.flock, handle.descriptor, again)
