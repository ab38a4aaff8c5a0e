"""Quotas, in a node: allowances obtained and recalled, and the operations on quotas.

A create or a growth that finds no allowance raises ShortError; `obtain` asks the quota's group for
more, and the operation is done again. When that group has nothing left, it has all nodes give back
what they do not use before it refuses. What a node that does not answer may use counts as used.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections import defaultdict
from collections.abc import Iterable
from typing import cast
from weakref import WeakValueDictionary

from benchfs.inode import FileType, home_group
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    ClearQuota,
    Empty,
    GetQuota,
    GrantAllowance,
    GrantAllowanceReply,
    MarkInodes,
    MarkInodesReply,
    Op,
    QuotaReply,
    RecallAllowances,
    RecallAllowancesReply,
    SetQuota,
    UsageRecord,
)
from benchfs.rpc.server import Call as Request
from benchfs.rpc.server import Handler, Reply
from benchfsd.allowances import ShortError
from benchfsd.guard import between_nodes
from benchfsd.node import Node
from benchfsd.quotas import FullError, Quotas
from benchfsd.rights import SUPERUSER

log = logging.getLogger("benchfsd")

RECALL_SECONDS = 1.0  # that a node has to answer
ASK_MOST = 4  # times that an answer may be void because something else was said meanwhile


class AllowanceKeeper:
    """The allowances of the groups that one node leads, and what it grants to others."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._obtaining: WeakValueDictionary[tuple[int, int], asyncio.Lock] = WeakValueDictionary()
        self._recalling: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        self._recalls: defaultdict[int, int] = defaultdict(int)  # quota -> how many began

    def quotas(self, group: int) -> Quotas:
        """The quotas of a group that this node leads."""
        return Quotas(group, self._node.database)

    # ------------------------------------------------------------ of the groups led here

    async def obtain(self, short: ShortError) -> None:
        """Have the quota's group grant what was missing. EDQUOT; NOT_READY, UNAVAILABLE."""
        allowances = self._node.namespace(short.group).inodes.allowances
        key = (short.group, short.quota)
        async with self._obtaining.setdefault(key, asyncio.Lock()):
            for _ in range(ASK_MOST):
                if allowances.suffices(short.quota, short.size, short.inodes):
                    return
                ask = allowances.begin_ask(short.quota, short.size, short.inodes)
                reply = None
                try:
                    reply = await self._ask(ask)
                finally:
                    allowances.end_ask(ask, reply)
            if not allowances.suffices(short.quota, short.size, short.inodes):
                raise short

    async def _ask(self, ask: GrantAllowance) -> GrantAllowanceReply:
        node, home = self._node, home_group(ask.quota)
        if node.leads(home):
            return await self.grant(home, ask)
        await node.stored()  # from now on no more than that is used, also after a crash
        answer = await node.call_group(home, ask)
        return cast(GrantAllowanceReply, answer.message)

    async def give_back(self, message: RecallAllowances) -> list[UsageRecord]:
        """What the groups led here use of a quota; they may use no more from now on."""
        node, usages = self._node, []
        for group in node.map.groups_led_by(node.node_id):
            inodes = node.namespace(group).inodes
            if message.recount:
                inodes.recount(message.quota)
                await asyncio.sleep(0)
            if inodes.allowances.has(message.quota) or group in message.groups:
                usage = inodes.allowances.give_back(message.quota)
                if usage is not None:
                    usages.append(usage)
        return usages

    # ------------------------------------------------------------ of the quotas kept here

    async def grant(self, group: int, ask: GrantAllowance) -> GrantAllowanceReply:
        """Grant an allowance. EDQUOT if there is none when all have given back theirs."""
        try:
            return self.quotas(group).grant(ask)
        except FullError:
            before = self._recalls[ask.quota]
        async with self._recalling.setdefault(ask.quota, asyncio.Lock()):
            if self._recalls[ask.quota] == before:  # else one began later, and is done
                await self.recall(group, ask.quota)
        return self.quotas(group).grant(ask, again=True)

    async def recall(self, group: int, quota: int, *, recount: bool = False) -> bool:
        """Have all nodes give back what is not used; tells whether all have answered."""
        node = self._node
        self._recalls[quota] += 1
        asked: defaultdict[str, list[int]] = defaultdict(list)
        for number in range(node.map.group_count):
            asked[node.map.primary(number)]
        for number in self.quotas(group).grants(quota):
            asked[node.map.primary(number)].append(number)
        answers = await asyncio.gather(
            *[
                self._recall_from(one, RecallAllowances(quota, tuple(groups), recount))
                for one, groups in asked.items()
            ]
        )
        for usages in answers:
            self.quotas(group).settle(quota, usages or ())
        return all(usages is not None for usages in answers)

    async def _recall_from(
        self, node_id: str, message: RecallAllowances
    ) -> Iterable[UsageRecord] | None:
        node = self._node
        if node_id == node.node_id:
            return await self.give_back(message)
        try:
            async with asyncio.timeout(None if message.recount else RECALL_SECONDS):
                answer = await node.call_node(node_id, message)
        except (RemoteError, TimeoutError) as exc:
            log.info("%s does not say what it uses of quota %#x: %s", node_id, message.quota, exc)
            return None
        return cast(RecallAllowancesReply, answer.message).usages


class QuotaHandlers:
    """The operations."""

    def __init__(self, node: Node, keeper: AllowanceKeeper) -> None:
        self._node = node
        self._keeper = keeper

    def table(self) -> dict[Op, Handler]:
        """Operation to handler."""
        return {
            Op.SET_QUOTA: self.set_quota,
            Op.GET_QUOTA: self.get_quota,
            Op.CLEAR_QUOTA: self.clear_quota,
            Op.GRANT_ALLOWANCE: between_nodes(self.grant),
            Op.RECALL_ALLOWANCES: between_nodes(self.recall),
        }

    async def set_quota(self, request: Request) -> Reply:
        """SET_QUOTA: the directory counts to it at once, and what is made in it."""
        group, message = request.envelope.group, cast(SetQuota, request.message)
        require_superuser(self._node, request)
        self._node.require(group, request.envelope.epoch)
        inode = self._node.namespace(group).inodes.get(message.ino)
        if inode.type != FileType.DIRECTORY:
            raise RemoteError(errno.ENOTDIR, f"inode {message.ino:#x} is not a directory")
        self._keeper.quotas(group).set(message)
        return Reply(await self._reply(group, message.ino))

    async def get_quota(self, request: Request) -> Reply:
        """GET_QUOTA."""
        group, message = request.envelope.group, cast(GetQuota, request.message)
        if message.recount:
            require_superuser(self._node, request)
        self._node.require(group, request.envelope.epoch)
        return Reply(await self._reply(group, message.ino, recount=message.recount))

    async def _reply(self, group: int, ino: int, *, recount: bool = False) -> QuotaReply:
        quotas = self._keeper.quotas(group)
        exact = True
        if quotas.find(ino) is not None:
            exact = await self._keeper.recall(group, ino, recount=recount)
        quota = quotas.find(ino)
        if quota is None:
            raise RemoteError(errno.ENOENT, f"directory {ino:#x} has no quota")
        return QuotaReply(ino, *quota, *quotas.used(ino), exact)

    def clear_quota(self, request: Request) -> Reply:
        """CLEAR_QUOTA."""
        group, message = request.envelope.group, cast(ClearQuota, request.message)
        require_superuser(self._node, request)
        self._node.require(group, request.envelope.epoch)
        self._keeper.quotas(group).clear(message.ino)
        return Reply(Empty())

    async def grant(self, request: Request) -> Reply:
        """GRANT_ALLOWANCE."""
        group, message = request.envelope.group, cast(GrantAllowance, request.message)
        self._node.require(group, request.envelope.epoch)
        return Reply(await self._keeper.grant(group, message))

    async def recall(self, request: Request) -> Reply:
        """RECALL_ALLOWANCES."""
        message = cast(RecallAllowances, request.message)
        return Reply(RecallAllowancesReply(tuple(await self._keeper.give_back(message))))


def mark_inodes(node: Node, keeper: AllowanceKeeper, request: Request) -> MarkInodesReply:
    """MARK_INODES, but for the parts of wide directories."""
    group, message = request.envelope.group, cast(MarkInodes, request.message)
    require_superuser(node, request)
    node.require(group, request.envelope.epoch)
    inodes, quotas = node.namespace(group).inodes, keeper.quotas(group)
    own: list[int] = []
    for ino in message.inos:
        inode = inodes.find(ino)
        if inode is None:
            continue
        if ino != message.quota and quotas.find(ino) is not None:
            own.append(ino)
        else:
            inodes.mark(inode, message.quota)
    return MarkInodesReply(tuple(own))


def require_superuser(node: Node, request: Request) -> None:
    """EPERM for everybody else."""
    if node.guard.user(request.caller) is not SUPERUSER:
        raise RemoteError(errno.EPERM, "quotas are set by the superuser")
