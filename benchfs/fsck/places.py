"""Where what was found is: paths of inodes, found from the names that lead to them."""

from __future__ import annotations

import os
from collections.abc import Iterable

from benchfs.errors import BenchFSError
from benchfs.fsck.ask import Questions
from benchfs.fsck.findings import Finding
from benchfs.inode import ROOT_INO, home_group

DEEPEST = 2048  # directories in a path
INOS_AT_ONCE = 4096


class Places:
    """Paths, as far as they can be found: directories are remembered."""

    def __init__(self, ask: Questions) -> None:
        self._ask = ask
        self._directories: dict[int, str | None] = {ROOT_INO: ""}

    async def of_findings(self, findings: Iterable[Finding]) -> list[str | None]:
        """A path for each finding, or None: of its entry, or of its inode."""
        listed = list(findings)
        inos = {one.ino for one in listed if one.ino and not one.name}
        paths = await self.of_inodes(inos)
        found: list[str | None] = []
        for one in listed:
            if one.name and one.parent:
                found.append(_below(await self._directory(one.parent), one.name))
            else:
                found.append(paths.get(one.ino))
        return found

    async def of_inodes(self, inos: Iterable[int]) -> dict[int, str]:
        """A path of each inode that has one. Looks at all entries of the cluster."""
        wanted = [ino for ino in inos if ino != ROOT_INO]
        names: dict[int, tuple[int, bytes]] = {}

        async def search(group: int) -> None:
            async for page in self._ask.entries_of(group, batch):
                for entry in page.entries:
                    names[entry.ino] = (entry.parent, entry.name)

        for start in range(0, len(wanted), INOS_AT_ONCE):
            batch = tuple(wanted[start : start + INOS_AT_ONCE])
            await self._ask.each_group(search)
        found = {ROOT_INO: "/"}
        for ino, (parent, name) in names.items():
            path = _below(await self._directory(parent), name)
            if path is not None:
                found[ino] = path
        return found

    async def _directory(self, ino: int) -> str | None:
        """The path of a directory, by the parents that directories name; None if it has none."""
        steps: list[tuple[int, bytes]] = []
        while ino not in self._directories:
            step = await self._step(ino)
            if step is None or len(steps) == DEEPEST:
                self._directories[ino] = None
                break
            steps.append((ino, step[1]))
            ino = step[0]
        path = self._directories[ino]
        for child, name in reversed(steps):
            path = self._directories[child] = _below(path, name)
        return path

    async def _step(self, ino: int) -> tuple[int, bytes] | None:
        """The parent of a directory, and its name there."""
        try:
            inode = (await self._ask.inode(home_group(ino), ino)).inode
            if inode is None or not inode.attributes.parent:
                return None
            parent = inode.attributes.parent
            home = home_group(parent)
            for group in (home, *(await self._ask.inode(home, parent)).parts):
                async for page in self._ask.entries_of(group, (ino,), parent):
                    for entry in page.entries:
                        return parent, entry.name
        except (BenchFSError, IndexError):
            return None  # of a group that there is not
        return None


def _below(directory: str | None, name: bytes) -> str | None:
    return None if directory is None else f"{directory}/{os.fsdecode(name)}"
