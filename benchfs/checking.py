"""A client's methods that check the whole cluster: for its superuser."""

from __future__ import annotations

import errno
from abc import abstractmethod

from benchfs.errors import NotFoundError, error
from benchfs.fsck.ask import Questions
from benchfs.fsck.check import Check, Options, Report
from benchfs.fsck.repair import LOST_AND_FOUND
from benchfs.fsck.scrub import NodeScrub, scrub
from benchfs.operations import Methods
from benchfs.paths import PathLike, parse
from benchfs.rpc.messages import Attributes

LOST_AND_FOUND_MODE = 0o700


class CheckMethods(Methods):
    """What `AsyncClient` can find out about the cluster's health. Each request has the timeout."""

    _timeout: float  # seconds

    @abstractmethod
    async def mkdir(self, path: PathLike, mode: int = 0o777, *, wide: bool | None = None) -> None:
        """Make a directory."""

    async def fsck(self, options: Options | None = None) -> Report:
        """Check the structure of all files while they are used, and repair it if asked to.

        Raises PermissionError for others than the superuser, UnreachableError if a node is down.
        """
        cluster = self._use().cluster
        ask = Questions(cluster, "fsck", self._timeout)
        check = Check(ask, options or Options(), self._lost_and_found)
        inodes = 0
        for status in await cluster.status(self._timeout):
            if status.reply is None:
                text = status.error or "no answer"
                raise error(errno.EHOSTUNREACH, "fsck", None, status.node_id, text)
            inodes += status.reply.inodes
        return await check.run(inodes)

    async def scrub(self, rate: int | None = None) -> list[NodeScrub]:
        """Have each node verify all its chunks, `rate` bytes a second. Errors as of `fsck`."""
        return await scrub(Questions(self._use().cluster, "scrub", self._timeout), rate)

    async def _lost_and_found(self) -> Attributes:
        connected, path = self._use(), parse(LOST_AND_FOUND, "fsck")
        try:
            return await connected.attributes("fsck", path, follow=False)
        except NotFoundError:
            await self.mkdir(LOST_AND_FOUND, LOST_AND_FOUND_MODE, wide=False)
        return await connected.attributes("fsck", path, follow=False)
