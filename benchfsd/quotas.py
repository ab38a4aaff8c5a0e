"""The quotas of one group's directories: their limits, and who was granted how much of them.

What a group was granted counts as used until it says what it uses. So the sum of all use is never
above a limit, but for what is counted without being asked for (`Allowances.charge`: what was there
when the quota was set). Keeps nothing in memory: quotas are asked seldom.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from typing import NamedTuple

import msgpack

from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import GrantAllowance, GrantAllowanceReply, SetQuota, UsageRecord
from benchfsd.rows import Rows, grant_prefix, quota_key

NO_LIMIT = 2**63 - 1

# Granted beyond what was asked for: a part of what is left, so that there is something for every
# group, and so little near the limit that hardly anything has to be recalled.
AHEAD_PART = 32
AHEAD_BYTES = 1024**3
AHEAD_INODES = 4096

_GRANT = struct.Struct("<QQQ")


class Quota(NamedTuple):
    """Limits in bytes and inodes; NO_LIMIT: none. `marked`: see messages.SetQuota."""

    path: bytes
    bytes: int
    inodes: int
    marked: bool


class Grant(NamedTuple):
    """What a group may use, as of the last thing that it said."""

    number: int
    bytes: int
    inodes: int


NO_GRANT = Grant(0, 0, 0)
_UNLIMITED = Quota(b"", NO_LIMIT, NO_LIMIT, marked=True)


class FullError(RemoteError):
    """EDQUOT: there is not so much left."""

    def __init__(self, quota: Quota, over: str) -> None:
        limits = f"{_limit(quota.bytes)} bytes, {_limit(quota.inodes)} inodes"
        where = quota.path.decode(errors="backslashreplace")
        super().__init__(errno.EDQUOT, f"the quota of {where} ({limits}) leaves no more {over}")


class Quotas:
    """The quotas that live in one group."""

    __slots__ = ("_group", "_rows")

    def __init__(self, group: int, rows: Rows) -> None:
        self._group = group
        self._rows = rows

    def find(self, ino: int) -> Quota | None:
        """The quota of a directory, if it has one."""
        value = self._rows.get(quota_key(self._group, ino))
        return None if value is None else Quota(*msgpack.unpackb(value))

    def set(self, message: SetQuota) -> Quota:
        """Set or change the limits. Once marked, it stays so."""
        before = self.find(message.ino)
        marked = message.marked or (before is not None and before.marked)
        quota = Quota(message.path, message.bytes, message.inodes, marked)
        self._rows.put(quota_key(self._group, message.ino), msgpack.packb(quota))
        return quota

    def clear(self, ino: int) -> None:
        """Forget a quota. Who has allowances may use them."""
        forget(self._rows, self._group, ino)

    def grants(self, ino: int) -> dict[int, Grant]:
        """What each group was granted."""
        return {
            int.from_bytes(key[-2:], "big"): Grant._make(_GRANT.unpack(value))
            for key, value in self._rows.scan(grant_prefix(self._group, ino))
        }

    def used(self, ino: int) -> tuple[int, int]:
        """Bytes and inodes that count as used: all that was granted."""
        grants = self.grants(ino).values()
        return sum(grant.bytes for grant in grants), sum(grant.inodes for grant in grants)

    def grant(self, message: GrantAllowance, *, again: bool = False) -> GrantAllowanceReply:
        """Let a group use what it does, and more. FullError, when only what it uses is granted.

        Of a quota that is no more, any amount is granted, and not noted. `again`: the message
        was refused before, and others have given back what they could since.
        """
        ino, group, number, size, inodes, more_bytes, more_inodes = message
        quota = self.find(ino)
        last = self.grants(ino).get(group, NO_GRANT)
        if number < last.number:
            return GrantAllowanceReply(last.number, 0, 0)
        if number == last.number and not again:
            return GrantAllowanceReply(*last)  # it was sent twice
        if quota is not None:
            self._put(ino, group, Grant(number, size, inodes))
        total_bytes, total_inodes = self.used(ino)
        limits = quota or _UNLIMITED
        ahead_bytes = _ahead(limits.bytes - total_bytes, more_bytes, AHEAD_BYTES)
        ahead_inodes = _ahead(limits.inodes - total_inodes, more_inodes, AHEAD_INODES)
        if ahead_bytes is None or ahead_inodes is None:
            raise FullError(limits, "bytes" if ahead_bytes is None else "inodes")
        granted = Grant(
            number, size + more_bytes + ahead_bytes, inodes + more_inodes + ahead_inodes
        )
        if quota is not None:
            self._put(ino, group, granted)
        return GrantAllowanceReply(*granted)

    def settle(self, ino: int, usages: Iterable[UsageRecord]) -> None:
        """Note what groups gave back; what is older than what is known is passed over."""
        if self.find(ino) is None:
            return
        grants = self.grants(ino)
        for group, number, size, inodes in usages:
            if number <= grants.get(group, NO_GRANT).number:
                continue
            self._put(ino, group, Grant(number, size, inodes))

    def _put(self, ino: int, group: int, grant: Grant) -> None:
        key = grant_prefix(self._group, ino) + group.to_bytes(2, "big")
        self._rows.put(key, _GRANT.pack(*grant))


def forget(rows: Rows, group: int, ino: int) -> None:
    """Remove the rows of a directory's quota, if it has one."""
    if rows.delete(quota_key(group, ino)):
        for key, _ in rows.scan(grant_prefix(group, ino)):
            rows.delete(key)


def _ahead(left: int, more: int, most: int) -> int | None:
    """What is granted beyond `more`; None if not even that is left."""
    if more and more > left:
        return None
    return min(max(0, left - more) // AHEAD_PART, most)


def _limit(limit: int) -> str:
    return "any number of" if limit == NO_LIMIT else f"{limit:,}"
