"""Intents: what was begun and takes more than one transaction, kept until it is finished.

Removing a directory, cutting a file and purging a removed one also concern other groups. The
group that coordinates writes an intent with its first transaction and removes it with its
last, so that whoever starts the node again finds what is to be finished (`pending`). Every
step is safe to repeat. There is one intent of a kind about an inode at a time.
"""

from __future__ import annotations

from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import Code
from benchfsd.rows import (
    Intent,
    IntentKind,
    Kind,
    Rows,
    decode_intent,
    encode_intent,
    intent_key,
    kind_prefix,
)

_STATES = {
    IntentKind.PURGE: "being purged",
    IntentKind.TRUNCATE: "being truncated",
    IntentKind.RMDIR: "being removed",
    IntentKind.LINK: "being linked",
    IntentKind.SETTLE: "being counted",
}


class Intents:
    """The intents of one group."""

    __slots__ = ("_group", "_rows")

    def __init__(self, group: int, rows: Rows) -> None:
        self._group = group
        self._rows = rows

    def add(self, intent: Intent) -> None:
        """Write down what is begun."""
        self._rows.put(intent_key(self._group, intent.kind, intent.ino), encode_intent(intent))

    def get(self, kind: IntentKind, ino: int) -> Intent | None:
        """The unfinished intent of this kind about `ino`."""
        value = self._rows.get(intent_key(self._group, kind, ino))
        return None if value is None else decode_intent(value)

    def finish(self, intent: Intent) -> bool:
        """It is done, or given up. False if that was said before."""
        return self._rows.delete(intent_key(self._group, intent.kind, intent.ino))

    def require_none(self, kind: IntentKind, ino: int, name: bytes = b"") -> None:
        """Raise RemoteError NOT_READY, "try again", while such an intent is unfinished."""
        if self._rows.get(intent_key(self._group, kind, ino)) is not None:
            raise RemoteError(Code.NOT_READY, f"inode {ino:#x} is {_STATES[kind]}: try again", name)

    def pending(self) -> list[Intent]:
        """All that is unfinished, for the recovery after a start."""
        prefix = kind_prefix(self._group, Kind.INTENT)
        return [decode_intent(value) for _, value in self._rows.scan(prefix)]
