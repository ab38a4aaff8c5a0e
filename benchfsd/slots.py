"""Exactly once: the answer to each mutation is stored with its effect, and given again.

A session has slots, each used for one call at a time. A call carries (session, slot,
sequence); when it comes again with the same sequence, because the connection was lost before
the answer arrived, the stored answer is sent and nothing is done. `record` must be called in
the same batch as the effect, with no await in between.

Refusals are recorded like replies: a create that was refused with EEXIST must be refused
again, even if the name has become free meanwhile, or a retry could do what its caller was
told not to have happened. What is not final (`is_final`) is not recorded: then nothing was
done, and the retry is to do it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import Code
from benchfsd.rows import (
    SESSION_BYTES,
    Answer,
    Call,
    Kind,
    Rows,
    decode_slot,
    encode_slot,
    kind_prefix,
    sequence_of_slot,
    session_of_slot_key,
    session_prefix,
    slot_key,
)

REMEMBERED = 65_536  # slots whose last sequence is in memory: some 200 bytes each
_NO_SLOT_AFTER = b"\xff\xff"  # the last slot of a session


def is_final(code: int) -> bool:
    """Whether an error with this code is the answer to the call, rather than "ask again".

    The errno values are final; those of messages.Code are about epochs and readiness.
    """
    return code < Code.STALE_EPOCH


class Slots:
    """The slots of all sessions and groups of a node: one object for the rows.

    The last sequences are remembered, too, so that a new call reads no row: it was a twentieth of
    what making a file costs the node.
    """

    __slots__ = ("_last", "_rows")

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._last: dict[tuple[int, bytes, int], int] = {}  # (group, session, slot)

    def replay(self, group: int, call: Call) -> Answer | None:
        """The answer that this call already got; None if it is to be executed.

        Raises RemoteError: STALE_SEQUENCE if the slot has answered a later call, so that nobody
        can be waiting for this one; BAD_MESSAGE if the session is not 16 bytes.
        """
        last = self._last.get((group, call.session, call.slot))
        if last is not None and call.sequence > last:
            return None
        value = self._rows.get(_key(group, call))
        if value is None:
            return None
        answered = sequence_of_slot(value)
        if call.sequence > answered:
            return None
        if call.sequence == answered:
            return decode_slot(value)[1]
        raise RemoteError(
            Code.STALE_SEQUENCE,
            f"slot {call.slot} has answered call {answered}: call {call.sequence} came too late",
        )

    def has_answered(self, group: int, call: Call) -> bool:
        """Whether the slot has the answer to this call, or to a later one."""
        return self._answered(group, call) >= call.sequence

    def record(self, group: int, call: Call, answer: Answer) -> None:
        """Store the answer to a call, in place of the slot's last one.

        Not of one that its client gave up, so that the slot has answered a later call meanwhile:
        then nobody asks for it, and the later one must not be executed again.
        """
        if self._answered(group, call) > call.sequence:
            return
        self._rows.put(_key(group, call), encode_slot(call.sequence, answer))
        if len(self._last) >= REMEMBERED:
            self._last.clear()
        self._last[group, call.session, call.slot] = call.sequence

    def _answered(self, group: int, call: Call) -> int:
        """The last sequence of the call's slot; 0 if there is none."""
        last = self._last.get((group, call.session, call.slot))
        if last is None:
            value = self._rows.get(_key(group, call))
            last = 0 if value is None else sequence_of_slot(value)
        return last

    def forget(self, session: bytes, groups: Iterable[int]) -> int:
        """Remove the slots of a session that has ended; returns how many there were."""
        forgotten = 0
        self._last.clear()
        for group in groups:
            for key, _ in self._rows.scan(session_prefix(group, session)):
                forgotten += self._rows.delete(key)
        return forgotten

    def sessions(self, group: int) -> Iterator[bytes]:
        """The sessions that have slots in a group. One look-up each, whatever their slots."""
        prefix = kind_prefix(group, Kind.SLOT)
        after = b""
        while True:
            first = next(self._rows.scan(prefix, after), None)
            if first is None:
                return
            session = session_of_slot_key(first[0])
            yield session
            after = prefix + session + _NO_SLOT_AFTER


def _key(group: int, call: Call) -> bytes:
    if len(call.session) != SESSION_BYTES:
        raise RemoteError(
            Code.BAD_MESSAGE, f"the session has {len(call.session)} bytes, not {SESSION_BYTES}"
        )
    return slot_key(group, call.session, call.slot)
