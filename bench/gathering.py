"""How every benchmark begins on its ranks, and looks at the nodes around a phase."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from benchfs.bench.backends.base import Backend, NodeFigures
from benchfs.bench.launch.base import Ranks, StoppedError

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Company:
    """All ranks: the machine and the process of each."""

    hosts: Sequence[str]
    processes: Sequence[int]


async def meet(ranks: Ranks, backend: Backend) -> Company:
    """Connect on every rank, and get to know the others. StoppedError if one could not."""
    await together(ranks, backend.connect)
    all_ranks = await ranks.exchange((socket.gethostname(), os.getpid()))
    return Company([host for host, _ in all_ranks], [process for _, process in all_ranks])


async def together(ranks: Ranks, act: Callable[[], Awaitable[object]]) -> None:
    """Act on every rank and wait for all. Raises StoppedError on all of them if one failed."""
    failure = ""
    try:
        await act()
    except OSError as exc:
        failure = str(exc)
    for rank, why in enumerate(await ranks.exchange(failure)):
        if why:
            raise StoppedError(f"rank {rank}: {why}")


async def require_room(
    ranks: Ranks, backend: Backend, directory: str, needed: int, advice: str
) -> None:
    """StoppedError if `needed` bytes are more than can be written below `directory`."""

    async def require() -> None:
        free = await backend.free_bytes(directory) if ranks.rank == 0 else needed
        if needed > free:
            raise OSError(f"the files would have {needed} bytes, {free} are free: {advice}")

    await together(ranks, require)


async def all_parts(
    ranks: Ranks, backend: Backend, work: Awaitable[Part]
) -> tuple[list[Part], list[tuple[NodeFigures, NodeFigures]]]:
    """Do a phase's work: everybody's parts of it, and the nodes' figures before and after."""
    before = await _figures(ranks, backend)
    parts = await ranks.exchange(await work)
    return parts, _paired(before, await _figures(ranks, backend))


async def _figures(ranks: Ranks, backend: Backend) -> list[NodeFigures]:
    """Of the nodes, on rank 0; elsewhere, and if they do not answer, none."""
    if ranks.rank == 0:
        with contextlib.suppress(OSError):
            return await backend.nodes()
    return []


def _paired(
    before: Sequence[NodeFigures], after: Sequence[NodeFigures]
) -> list[tuple[NodeFigures, NodeFigures]]:
    """The nodes that answered both times."""
    earlier = {node.node_id: node for node in before}
    return [(earlier[node.node_id], node) for node in after if node.node_id in earlier]
