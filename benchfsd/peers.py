"""The other groups of the cluster, as what a node does between groups sees them.

A node fills `Peers` with connections, a simulation with what it can stop at any step.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from benchfs.inode import home_group
from benchfs.rpc.messages import AttributesReply, RegisterPart
from benchfsd.allowances import ShortError
from benchfsd.renaming import RenamingNamespace

Answer = TypeVar("Answer", bound=tuple[object, ...])


class Peers(Protocol):
    """The groups of the cluster, seen from one node."""

    def namespace(self, group: int) -> RenamingNamespace:
        """A group that this node leads."""
        ...

    @property
    def group_count(self) -> int:
        """How many groups the cluster has."""
        ...

    async def ask(self, group: int, request: tuple[object, ...], reply: type[Answer]) -> Answer:
        """Any group's answer. RemoteError; UNAVAILABLE if its node does not answer in time."""
        ...

    async def obtain(self, short: ShortError) -> None:
        """Get an allowance of which there was not enough. EDQUOT, NOT_READY, UNAVAILABLE."""
        ...

    async def stored(self) -> None:
        """Return when all that was written so far survives the end of the process."""
        ...

    def tell_over(self, token: bytes, groups: list[int]) -> None:
        """Tell the groups, soon and if they can be reached, that the change is over."""
        ...


async def register_part(peers: Peers, group: int, ino: int) -> None:
    """Make a group's part of a directory. ENOENT if that is gone; NOT_READY, UNAVAILABLE."""
    names = peers.namespace(group)
    version = names.holds.version
    reply = await peers.ask(home_group(ino), RegisterPart(ino, group), AttributesReply)
    names.parts.make(reply.attributes, version=version)
