"""Changes that concern several groups, in a node: their operations, and what comes after.

What was prepared here and is not concluded in a second is asked about; what was committed here is
carried to its end, however long another node is away. Both are taken up after a restart.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable
from functools import partial
from typing import cast

from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    Conclude,
    DropLink,
    Empty,
    LockMoves,
    Op,
    PrepareName,
    PrepareParent,
    PrepareQuota,
    RemoveDirectory,
    Rename,
    RenameHow,
    SealDirectory,
)
from benchfs.rpc.server import Call as Request
from benchfs.rpc.server import Handler, Reply
from benchfsd.access import arrival, removal, require_owner
from benchfsd.allowances import ShortError
from benchfsd.coordinator import Coordinator
from benchfsd.handlers import once
from benchfsd.handlers.quotas import AllowanceKeeper
from benchfsd.holds import Held
from benchfsd.moves import wake
from benchfsd.namespace import Removed, UnregisteredError
from benchfsd.node import Node
from benchfsd.participant import Participant
from benchfsd.peers import Answer, register_part
from benchfsd.purge import Purger
from benchfsd.renaming import RenamingNamespace
from benchfsd.rows import Call

log = logging.getLogger("benchfsd")

FINISH_SECONDS = 1.0  # that a client waits for what follows the commit
ASK_SECONDS = 1.0  # until what was prepared is asked about
AGAIN_MOST_SECONDS = 5.0
Obstacle = Held | UnregisteredError | ShortError
_OBSTACLES = (Held, UnregisteredError, ShortError)
_PREPARES = (PrepareName, PrepareParent, PrepareQuota, SealDirectory, LockMoves, DropLink)


class Changes:
    """The changes that one node takes part in. Implements `coordinator.Peers`."""

    def __init__(self, node: Node, purger: Purger, allowances: AllowanceKeeper) -> None:
        self._node = node
        self._allowances = allowances
        self._purger = purger
        self._coordinator = Coordinator(self, node.env)
        self._participant = Participant(self, self._carried_out)
        self._asking = False

    def table(self) -> dict[Op, Handler]:
        """Operation to handler."""
        between = (
            *(Op.PREPARE_NAME, Op.PREPARE_PARENT, Op.SEAL_DIRECTORY, Op.LOCK_MOVES),
            *(Op.CONCLUDE, Op.GET_OUTCOME, Op.DROP_LINK, Op.PREPARE_QUOTA),
            *(Op.REGISTER_PART, Op.GET_PART, Op.SET_PART),
        )
        return {
            Op.RENAME: self.patient(once.either(self._node, self._rename)),
            **dict.fromkeys(between, self._between),
        }

    def patient(self, handler: Handler) -> Handler:
        """The handler, done again when what it met is out of the way, until the deadline.

        That is a name that is held, a part of a directory that has to be registered, or an
        allowance that has to be obtained.
        """

        def handle(request: Request) -> Reply | Awaitable[Reply]:
            try:
                result = handler(request)
            except _OBSTACLES as obstacle:
                return again(request, obstacle)
            return result if isinstance(result, Reply) else finish(request, result)

        async def finish(request: Request, result: Awaitable[Reply]) -> Reply:
            try:
                return await result
            except _OBSTACLES as obstacle:
                return await again(request, obstacle)

        async def again(request: Request, obstacle: Obstacle) -> Reply:
            while True:
                if isinstance(obstacle, Held):
                    await released(self._node, obstacle, request.deadline)
                elif isinstance(obstacle, ShortError):
                    if self._node.loop.time() > request.deadline:
                        raise obstacle
                    await self._allowances.obtain(obstacle)
                else:
                    await register_part(self, obstacle.group, obstacle.ino)
                try:
                    result = handler(request)
                    return result if isinstance(result, Reply) else await result
                except _OBSTACLES as another:
                    obstacle = another

        return handle

    # ------------------------------------------------------------------------ renames

    async def require_removable(self, request: Request, parent: int, name: bytes) -> None:
        """Raise EACCES or EPERM unless the caller may remove the entry, whose ever it is.

        Nothing has changed since that was found when this returns.
        """
        names = self._node.namespace(request.envelope.group)
        user = self._node.guard.user(request.caller)
        await require_owner(self, user, lambda: removal(user, names, parent, name), name)

    def _rename(self, request: Request) -> tuple[object, ...] | Awaitable[tuple[object, ...]]:
        """RENAME: in one transaction if that can be, and if nobody else has to be asked."""
        message, group = cast(Rename, request.message), request.envelope.group
        names, user = self._node.namespace(group), self._node.guard.user(request.caller)
        parent, name, new_parent, new_name, new_group, how = message
        theirs = removal(user, names, parent, name)
        if theirs is None and new_group == group:
            if names.find_entry(parent, name) is not None:
                keep = how == RenameHow.KEEP
                theirs = arrival(user, names, new_parent, new_name, keep=keep)
            names.delegations.require(new_parent, request.caller.session, new_name)
            removed = names.rename(message) if theirs is None else None
            if removed is not None:
                return self.answered(request, removed)
        return self._rename_in_steps(request, message)

    async def _rename_in_steps(self, request: Request, message: Rename) -> tuple[object, ...]:
        node, group = self._node, request.envelope.group
        if message.new_group >= node.map.group_count:
            text = f"the cluster has no group {message.new_group}"
            raise RemoteError(errno.EINVAL, text, message.new_name)
        await self.require_removable(request, message.parent, message.name)
        record = partial(self._record, group, once.slot_of(request), Empty())
        user = node.guard.user(request.caller)
        token = await self._coordinator.rename(group, message, record, user)
        if token is not None:
            await _waited(self._finish(group, token))
        return Empty()

    async def remove_directory(self, request: Request) -> tuple[object, ...]:
        """REMOVE_DIRECTORY of a wide directory."""
        group, call = request.envelope.group, once.slot_of(request)
        message = cast(RemoveDirectory, request.message)
        record = partial(self._record, group, call, Empty())
        token = await self._coordinator.remove_directory(group, message, record)
        await _waited(self._finish(group, token))
        return Empty()

    def _record(self, group: int, call: Call | None, reply: tuple[object, ...]) -> None:
        """Store the answer to a change with its commit."""
        if call is not None:
            once.record(self._node, group, call, reply)

    def answered(
        self, request: Request, removed: Removed
    ) -> tuple[object, ...] | Awaitable[tuple[object, ...]]:
        """The answer to the removal of an entry, when what follows it is done, or takes too long.

        The answer is stored with the removal. To be called in the same turn as that.
        """
        group = request.envelope.group
        following = self.removed(group, removed)
        if following is None:
            return removed.reply
        self._record(group, once.slot_of(request), removed.reply)
        return _after(following, removed.reply)

    def removed(self, group: int, removed: Removed) -> asyncio.Future[None] | None:
        """Carry out what follows the removal of an entry: with the future, what others wait for."""
        if removed.purge is not None:
            self._purger.add(group, removed.purge)
        return None if removed.drop is None else self._finish(group, removed.drop.token)

    async def _carried_out(self, group: int, removed: Removed) -> None:
        following = self.removed(group, removed)
        if following is not None:
            await _waited(following)

    def _finish(self, group: int, token: bytes) -> asyncio.Future[None]:
        """Carry on after the commit; the future is of the end."""
        done: asyncio.Future[None] = self._node.loop.create_future()
        self._node.spawn(self._carry_on(group, token, done), "change")
        return done

    async def _carry_on(
        self, group: int, token: bytes, done: asyncio.Future[None] | None = None
    ) -> None:
        delay = 0.1
        await self.stored()
        while True:
            try:
                await self._coordinator.finish(group, token)
            except RemoteError as exc:
                log.info("a change in group %d is not finished yet: %s", group, exc)
            else:
                if done is not None:
                    wake(done)
                return
            await asyncio.sleep(delay)
            delay = min(delay * 2, AGAIN_MOST_SECONDS)

    # ------------------------------------------------------------------ between groups

    async def _between(self, request: Request) -> Reply:
        group = request.envelope.group
        self._node.require(group, request.envelope.epoch)
        if request.caller.role != "node":
            raise RemoteError(errno.EPERM, "this is asked by nodes only")
        return Reply(await self._acted(group, request.message))

    async def _acted(self, group: int, message: tuple[object, ...]) -> tuple[object, ...]:
        if isinstance(message, _PREPARES):
            self._ask_later()
        return await self._participant.act(group, message)

    # --------------------------------------------------------------------- for Peers

    def namespace(self, group: int) -> RenamingNamespace:
        """A group that this node leads."""
        return self._node.namespace(group)

    @property
    def group_count(self) -> int:
        """How many groups the cluster has."""
        return self._node.map.group_count

    async def ask(self, group: int, request: tuple[object, ...], reply: type[Answer]) -> Answer:
        """Any group's answer: of this node at once, of another by a call."""
        if self._node.leads(group):
            answer = await self._acted(group, request)
        else:
            answer = (await self._node.call_group(group, request)).message
        assert isinstance(answer, reply)
        return answer

    async def stored(self) -> None:
        """Return when the batch of this turn has committed."""
        await self._node.stored()

    async def obtain(self, short: ShortError) -> None:
        """Get an allowance of which there was not enough. EDQUOT, NOT_READY, UNAVAILABLE."""
        await self._allowances.obtain(short)

    def tell_over(self, token: bytes, groups: list[int]) -> None:
        """Tell them once; who does not hear it asks."""

        async def tell() -> None:
            for group in dict.fromkeys(groups):
                try:
                    await self.ask(group, Conclude(token, commit=False), Empty)
                except RemoteError as exc:
                    log.info("group %d will ask what became of a change: %s", group, exc)

        if groups:
            self._node.spawn(tell(), "change over")

    # ----------------------------------------------------------------------- recovery

    def resume(self, group: int) -> None:
        """Take up what an earlier process left: what was not committed is given up."""
        holds = self._node.namespace(group).holds
        for move in holds.moves():
            if move.committed:
                self._node.spawn(self._carry_on(group, move.token), "change")
            else:
                holds.forget_move(move.token)
        if holds.all_prepared():
            self._ask_later(0.0)

    def _ask_later(self, delay: float = ASK_SECONDS) -> None:
        if not self._asking:
            self._asking = True
            self._node.spawn(self._ask_all(delay), "outcomes")

    async def _ask_all(self, delay: float) -> None:
        """Ask about what was prepared before the last look, until nothing is left."""
        known: set[tuple[int, bytes, int]] = set()
        try:
            while True:
                await asyncio.sleep(delay)
                held = self._held()
                if not held:
                    return
                due = held if delay == 0.0 else held & known
                await asyncio.gather(*[self._ask(*one) for one in due])
                known, delay = held, ASK_SECONDS
        finally:
            self._asking = False

    def _held(self) -> set[tuple[int, bytes, int]]:
        """(group, token, group to ask) of all that is prepared here."""
        return {
            (names.group, prepared.token, prepared.coordinator)
            for names in self._node.namespaces()
            for prepared in names.holds.all_prepared()
        }

    async def _ask(self, group: int, token: bytes, coordinator: int) -> None:
        try:
            await self._participant.ask_outcome(group, token, coordinator)
        except RemoteError as exc:
            log.info("group %d does not say what became of a change: %s", coordinator, exc)


async def _waited(done: asyncio.Future[None]) -> None:
    """Return when it is done, or a client should not wait for it any longer."""
    await asyncio.wait([done], timeout=FINISH_SECONDS)


async def _after(done: asyncio.Future[None], reply: tuple[object, ...]) -> tuple[object, ...]:
    await _waited(done)
    return reply


async def released(node: Node, held: Held, deadline: float) -> None:
    """Return when something under the token is released. Raises `held` at the deadline."""
    turn: asyncio.Future[None] = node.loop.create_future()
    holds = node.namespace(held.group).holds
    holds.when_released(held.token, partial(wake, turn))
    try:
        async with asyncio.timeout_at(deadline):
            await turn
    except TimeoutError:
        raise held from None
