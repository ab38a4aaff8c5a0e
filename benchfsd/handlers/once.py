"""Exactly once: a mutation that comes again gets the answer it got before.

The answer is stored in the same batch as the effect. A repetition that arrives while the
first is still running waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgpack

from benchfs.rpc.errors import RemoteError
from benchfs.rpc.frames import Kind as FrameKind
from benchfs.rpc.messages import Failure, Operation
from benchfs.rpc.schema import decoder, unpack
from benchfs.rpc.server import Call as Request
from benchfs.rpc.server import Handler, Reply
from benchfsd.node import Node
from benchfsd.rows import Answer, Call
from benchfsd.slots import is_final

_pack = msgpack.Packer().pack
_failure = decoder(Failure)


def slot_of(request: Request) -> Call | None:
    """The slot of a request; None for one that carries none."""
    envelope = request.envelope
    if not envelope.sequence:
        return None
    return Call(request.caller.session, envelope.slot, envelope.sequence)


def inline(node: Node, act: Callable[[Request], tuple[object, ...]]) -> Handler:
    """The handler of a mutation that need not wait: `act` does it and returns the reply."""

    def handle(request: Request) -> Reply:
        group = request.envelope.group
        node.require(group, request.envelope.epoch)
        call = slot_of(request)
        if call is None:
            return Reply(act(request))
        stored = node.slots.replay(group, call)
        if stored is not None:
            return _again(request.operation, stored)
        try:
            message = act(request)
        except RemoteError as exc:
            record_failure(node, group, call, exc)
            raise
        record(node, group, call, message)
        return Reply(message)

    return handle


def waiting(node: Node, act: Callable[[Request], Awaitable[tuple[object, ...]]]) -> Handler:
    """The handler of a mutation of several steps. `act` must not await after its last effect."""
    return either(node, act)


def either(
    node: Node, act: Callable[[Request], tuple[object, ...] | Awaitable[tuple[object, ...]]]
) -> Handler:
    """The handler of a mutation that has to wait for some requests, and need not for others.

    `act` decides: it does its work and returns the reply, or returns an awaitable that does all
    of it and does not await after its last effect, or stores the answer with that: `record`.
    """
    running: dict[tuple[int, Call], asyncio.Future[Reply]] = {}

    def handle(request: Request) -> Reply | Awaitable[Reply]:
        group = request.envelope.group
        node.require(group, request.envelope.epoch)
        call = slot_of(request)
        if call is None:
            begun = act(request)
            return Reply(begun) if isinstance(begun, tuple) else _plain(begun)
        first = running.get((group, call))
        if first is not None:
            return asyncio.shield(first)
        stored = node.slots.replay(group, call)
        if stored is not None:
            return _again(request.operation, stored)
        try:
            begun = act(request)
        except RemoteError as exc:
            record_failure(node, group, call, exc)
            raise
        if isinstance(begun, tuple):
            record(node, group, call, begun)
            return Reply(begun)
        outcome = running[group, call] = node.loop.create_future()
        return remembered(begun, outcome, group, call)

    async def remembered(
        work: Awaitable[tuple[object, ...]], outcome: asyncio.Future[Reply], group: int, call: Call
    ) -> Reply:
        try:
            message = await work
            if not node.slots.has_answered(group, call):  # else it did so with its effect
                record(node, group, call, message)
            reply = Reply(message)
            outcome.set_result(reply)
            return reply
        except RemoteError as exc:
            record_failure(node, group, call, exc)
            outcome.set_exception(exc)
            outcome.exception()  # a repetition may or may not be there to see it
            raise
        finally:
            del running[group, call]
            if not outcome.done():
                outcome.cancel()

    return handle


async def _plain(work: Awaitable[tuple[object, ...]]) -> Reply:
    return Reply(await work)


def record(node: Node, group: int, call: Call, message: tuple[object, ...]) -> None:
    """Store the reply to a mutation with its effect."""
    node.slots.record(group, call, Answer(FrameKind.REPLY, _pack(message)))


def record_failure(node: Node, group: int, call: Call, error: RemoteError) -> None:
    """Store a refusal that is final: the repetition is to be refused in the same way."""
    if is_final(error.code):
        failure = Failure(error.code, error.text, error.path, error.node, error.detail)
        node.slots.record(group, call, Answer(FrameKind.ERROR, _pack(failure)))


def _again(operation: Operation, stored: Answer) -> Reply:
    fields = unpack(stored.body) if stored.body != b"\x90" else []
    if stored.kind is FrameKind.ERROR:
        raise RemoteError(*_failure(fields))
    return Reply(decoder(operation.reply)(fields))
