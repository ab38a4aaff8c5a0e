"""Names: mdtest's trees of directories, and where in them each item of each task is. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from benchfs.bench.mdtest.settings import Settings


class Tree:
    """The trees of one iteration. `owner`: a task, whose tree it is with -u."""

    def __init__(self, settings: Settings, iteration: int) -> None:
        self._settings = settings
        self._iteration = iteration
        self._holders = settings.holders
        self._paths: dict[tuple[int, int], list[str]] = {}

    def bases(self) -> list[str]:
        """The directories that hold the trees."""
        directory, iteration = self._settings.directory, self._iteration
        names = [f"test-dir.{iteration}-{tree}" for tree in range(self._settings.trees)]
        return [posixpath.join(directory, name) for name in names]

    def directories(self, owner: int) -> Iterator[str]:
        """Every directory of the trees, each after the one that it is in."""
        for tree in range(self._settings.trees):
            yield from self._of_tree(owner, tree)

    def _of_tree(self, owner: int, tree: int) -> list[str]:
        """The paths of a tree's directories, by number."""
        label = owner if self._settings.unique_directory else 0
        found = self._paths.get((label, tree))
        if found is None:
            found = [f"{self.bases()[tree]}/mdtest_tree.{label}"]
            branches = self._settings.branches
            for number in range(1, self._settings.directories):
                above = found[(number - 1) // branches]
                found.append(f"{above}/mdtest_tree.{label}.{number}")
            self._paths[label, tree] = found
        return found

    def items(self, owner: int, kind: str, first: int, last: int) -> Iterator[tuple[int, str]]:
        """Numbers and paths of a task's items `first` to `last` - 1; `kind` is file or dir."""
        of_tree, holders = self._settings.items_of_tree, self._holders
        for number in range(first, last):
            tree, place = divmod(number, of_tree)
            holder = self._of_tree(owner, tree)[holders[place * len(holders) // of_tree]]
            yield number, f"{holder}/{kind}.mdtest.{owner}.{number}"


RENAMED = "-renamed"
