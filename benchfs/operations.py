"""What the methods of a client are made of, so that they can be spread over modules by subject.

`Connected` is what a client has while it is connected: calls, names, intents. `Methods` is the
base of the classes that add methods to `AsyncClient`: attributes, links, extended attributes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeVar

from benchfs.cluster import Cluster, Intent
from benchfs.namespace import Names, Place
from benchfs.paths import ParsedPath, PathLike, parse
from benchfs.rpc.messages import Attributes
from benchfs.user import User

Result = TypeVar("Result")


class Connected(ABC):
    """The parts of a connected client that operations by path need."""

    def __init__(self, cluster: Cluster, names: Names, timeout: float) -> None:
        self.cluster = cluster
        self.names = names
        self.timeout = timeout

    def intent(self, operation: str, path: ParsedPath) -> Intent:
        """What the calls of one operation carry along."""
        return self.cluster.intent(operation, path.display, self.timeout)

    async def attributes(
        self, operation: str, path: ParsedPath, *, follow: bool = True
    ) -> Attributes:
        """The attributes of what a path leads to. One request if the directory is remembered."""
        intent = self.intent(operation, path)

        async def act(place: Place) -> Attributes:
            return await self.names.attributes(intent, place, follow=follow)

        found = await self.names.at(intent, path, act)
        if await self.write_out(found.ino):
            found = await self.names.of_inode(intent, found.ino)
        return found

    @abstractmethod
    async def write_out(self, ino: int) -> bool:
        """Have what this client wrote to a file known to its inode; tells whether it was not."""


class Methods(ABC):
    """A part of a client's methods."""

    user: User
    """Whom the client acts for."""

    @abstractmethod
    def _use(self) -> Connected:
        """What the client has while connected. ValueError if it is not."""

    async def _on_inode(
        self,
        operation: str,
        path: PathLike,
        act: Callable[[Connected, Intent, int], Awaitable[Result]],
        *,
        follow: bool = True,
    ) -> Result:
        """Find the inode that a path leads to, and `act` on it."""
        connected, parsed = self._use(), parse(path, operation)
        intent = connected.intent(operation, parsed)

        async def at_place(place: Place) -> Result:
            found = await connected.names.attributes(intent, place, follow=follow)
            await connected.write_out(found.ino)
            return await act(connected, intent, found.ino)

        return await connected.names.at(intent, parsed, at_place)
