"""A client's methods about quotas: how much may be in a directory and below it.

A quota limits bytes (the sum of file sizes) and inodes, the directory's own among them. What is
made in a directory counts to the quota of that; a directory below may have a quota of its own,
and what is in it counts to that alone.
"""

from __future__ import annotations

import errno
from collections import defaultdict
from dataclasses import dataclass
from functools import partial

from benchfs.cluster import Intent
from benchfs.errors import NotFoundError, error
from benchfs.inode import FileType, home_group
from benchfs.listing import Listing
from benchfs.operations import Connected, Methods
from benchfs.paths import ParsedPath, PathLike, display, parse
from benchfs.rpc.messages import (
    Attributes,
    ClearQuota,
    GetQuota,
    MarkInodes,
    MarkInodesReply,
    QuotaReply,
    SetQuota,
)

NO_LIMIT = 2**63 - 1
BATCH_INODES = 500


@dataclass(frozen=True, slots=True)
class Quota:
    """A quota and its use. Limits are None where there is none.

    `exact`: all nodes have said what is used; else what a node that is away may use counts too.
    """

    path: str
    """Of its directory, as the quota was set."""
    ino: int
    max_bytes: int | None
    max_inodes: int | None
    used_bytes: int
    used_inodes: int
    exact: bool


class QuotaMethods(Methods):
    """What `AsyncClient` can do with quotas."""

    async def set_quota(
        self, path: PathLike, *, max_bytes: int | None = None, max_inodes: int | None = None
    ) -> Quota:
        """Limit what is in a directory and below it; None: no limit. For the superuser.

        Both limits are set anew. What is there already is counted, by a walk, and stays if it is
        more. Doing it again finishes one that was interrupted. NotADirectoryError,
        PermissionError, ValueError.
        """
        for limit in (max_bytes, max_inodes):
            if limit is not None and not 0 <= limit < NO_LIMIT:
                raise ValueError(f"a limit of {limit}: 0 to 2^63 - 2 are possible")
        connected, parsed = self._use(), parse(path, "set quota")
        directory = await _directory(connected, parsed, "set quota")
        request = SetQuota(
            directory.ino,
            b"/" + b"/".join(parsed.parts),
            NO_LIMIT if max_bytes is None else max_bytes,
            NO_LIMIT if max_inodes is None else max_inodes,
            marked=False,
        )
        intent = partial(connected.intent, "set quota", parsed)
        home = home_group(directory.ino)
        answer = await connected.cluster.call(intent(), home, request)
        assert isinstance(answer.message, QuotaReply)
        if not answer.message.marked:
            await _Walk(connected, parsed, "set quota", directory.ino).mark(directory)
            request = request._replace(marked=True)
            answer = await connected.cluster.call(intent(), home, request)
        assert isinstance(answer.message, QuotaReply)
        return _quota(answer.message)

    async def get_quota(self, path: PathLike = "/") -> Quota | None:
        """The quota that what is at a path counts to, with its use; None if there is none."""
        return await self._quota(path, "get quota", recount=False)

    async def check_quota(self, path: PathLike = "/") -> Quota | None:
        """As get_quota; the nodes count their inodes anew and correct what is wrong.

        For the superuser. They walk all their inodes: a second for some hundred thousand.
        """
        return await self._quota(path, "check quota", recount=True)

    async def clear_quota(self, path: PathLike) -> None:
        """Remove the quota of a directory: what is below counts to that of its parent, if any.

        For the superuser. Doing it again finishes one that was interrupted, and does no harm.
        """
        connected, parsed = self._use(), parse(path, "clear quota")
        directory = await _directory(connected, parsed, "clear quota")
        intent = partial(connected.intent, "clear quota", parsed)
        parent = await connected.names.of_inode(intent(), directory.parent)
        above = 0 if parent.ino == directory.ino else parent.quota
        home = home_group(directory.ino)
        await connected.cluster.call(intent(), home, ClearQuota(directory.ino))
        await _Walk(connected, parsed, "clear quota", above).mark(directory)

    async def _quota(self, path: PathLike, operation: str, *, recount: bool) -> Quota | None:
        async def act(connected: Connected, intent: Intent, ino: int) -> Quota | None:
            quota = (await connected.names.of_inode(intent, ino)).quota
            if not quota:
                return None
            request = GetQuota(quota, recount)
            try:
                answer = await connected.cluster.call(intent, home_group(quota), request)
            except NotFoundError:
                return None
            assert isinstance(answer.message, QuotaReply)
            return _quota(answer.message)

        return await self._on_inode(operation, path, act)


class _Walk:
    """Has all that is in a directory count to a quota."""

    def __init__(self, connected: Connected, path: ParsedPath, operation: str, quota: int) -> None:
        self._connected = connected
        self._intent = partial(connected.intent, operation, path)
        self._quota = quota
        self._waiting: defaultdict[int, list[int]] = defaultdict(list)  # by home group

    async def mark(self, top: Attributes) -> None:
        """A directory first, then what is in it: so what is made meanwhile counts as well."""
        directories = [(top.ino, top.fanout)]
        while directories:
            ino, fanout = directories.pop()
            if await self._mark(home_group(ino), [ino]):
                continue  # it has a quota of its own
            try:
                directories += await self._mark_entries(ino, fanout)
            except NotFoundError:
                continue  # it was removed meanwhile
        for group, inos in self._waiting.items():
            await self._mark(group, inos)

    async def _mark_entries(self, ino: int, fanout: int) -> list[tuple[int, int]]:
        directories: list[tuple[int, int]] = []
        listing = Listing(self._connected.cluster, ino, fanout, self._intent)
        async for entry, _ in listing.entries():
            if entry.type == FileType.DIRECTORY:
                directories.append((entry.ino, entry.fanout))
                continue
            group = home_group(entry.ino)
            batch = self._waiting[group]
            batch.append(entry.ino)
            if len(batch) == BATCH_INODES:
                del self._waiting[group]
                await self._mark(group, batch)
        return directories

    async def _mark(self, group: int, inos: list[int]) -> bool:
        request = MarkInodes(tuple(inos), self._quota)
        answer = await self._connected.cluster.call(self._intent(), group, request)
        assert isinstance(answer.message, MarkInodesReply)
        return bool(answer.message.own)


async def _directory(connected: Connected, path: ParsedPath, operation: str) -> Attributes:
    found = await connected.attributes(operation, path)
    if found.type != FileType.DIRECTORY:
        raise error(errno.ENOTDIR, operation, path.display)
    return found


def _quota(reply: QuotaReply) -> Quota:
    return Quota(
        path=display(reply.path),
        ino=reply.ino,
        max_bytes=None if reply.bytes == NO_LIMIT else reply.bytes,
        max_inodes=None if reply.inodes == NO_LIMIT else reply.inodes,
        used_bytes=reply.used_bytes,
        used_inodes=reply.used_inodes,
        exact=reply.exact,
    )
