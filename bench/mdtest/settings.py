"""What mdtest's flags say, checked. The letter beside a setting is mdtest's flag."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path

LARGEST_FILE = 1 << 30
MOST_ITEMS = 1 << 40
MOST_DIRECTORIES = 1 << 20


@dataclass(frozen=True, slots=True)
class Settings:
    """One test. ValueError, which names flags, for what cannot be.

    `items`: files and directories of each task, 0: as many as `items_per_directory` makes.
    `stride`: how many tasks further the one is whose items are asked for; read and removed are
    those of the next one and the one after it. `deadline`: seconds after which creating stops,
    0: never; then every task goes on to what the fastest has. `created`: items that an earlier
    run has left of each task, 0: all of them.
    """

    items: int = 0  # -n
    items_per_directory: int = 0  # -I
    depth: int = 0  # -z
    branches: int = 1  # -b
    unique_directory: bool = False  # -u
    leaves_only: bool = False  # -L
    files_only: bool = False  # -F
    directories_only: bool = False  # -D
    write_bytes: int = 0  # -w
    read_bytes: int = 0  # -e
    verify: bool = False  # -X
    stride: int = 0  # -N
    deadline: int = 0  # -W
    status_file: str = ""  # -x
    sync: bool = False  # -Y
    fsync: bool = False  # -y
    iterations: int = 1  # -i
    directory: str = "/mdtest"  # -d
    create: bool = True  # -C
    stat: bool = True  # -T
    read: bool = True  # -E
    remove: bool = True  # -r
    created: int = 0

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_flags()

    def _check_numbers(self) -> None:
        if not 0 <= self.items <= MOST_ITEMS or not 0 <= self.items_per_directory <= MOST_ITEMS:
            raise ValueError(f"-n {self.items} -I {self.items_per_directory}: 0 to {MOST_ITEMS}")
        if not (self.items or self.items_per_directory):
            raise ValueError("neither -n nor -I: there are no items to make")
        if self.depth < 0 or self.branches < 1 or self.iterations < 1:
            text = f"-z {self.depth} -b {self.branches} -i {self.iterations}"
            raise ValueError(f"{text}: a tree has a branch, a test an iteration")
        if (self.branches > 1 and self.depth > 20) or self.directories > MOST_DIRECTORIES:
            text = f"-z {self.depth} -b {self.branches}"
            raise ValueError(f"{text}: the tree would have over {MOST_DIRECTORIES} directories")
        if self.items and self.items_per_directory and self.items % self.items_of_tree:
            raise ValueError(f"-n {self.items} does not fill trees of {self.items_of_tree} items")
        if self.deadline < 0 or self.stride < 0 or self.created < 0:
            raise ValueError(f"-W {self.deadline} -N {self.stride}: neither can be negative")
        for flag, size in (("-w", self.write_bytes), ("-e", self.read_bytes)):
            if not 0 <= size <= LARGEST_FILE:
                raise ValueError(f"{flag} {size}: files here have 0 to {LARGEST_FILE} bytes")

    def _check_flags(self) -> None:
        if self.files_only and self.directories_only:
            raise ValueError("-F and -D: only files and only directories leaves nothing")
        if not (self.create or self.stat or self.read or self.remove):
            raise ValueError("neither -C nor -T nor -E nor -r: there is nothing to do")
        if self.create and self.read and self.read_bytes > self.write_bytes:
            raise ValueError(f"-e {self.read_bytes} is more than -w {self.write_bytes} writes")
        if self.verify and not self.read_bytes:
            raise ValueError("-X compares what is read: it needs -e")
        if self.status_file and self.create and not self.deadline:
            raise ValueError("-x says how far creating came: it needs -W")
        if not self.directory.strip("/"):
            raise ValueError(f"-d {self.directory!r} does not name a directory to make")

    @property
    def directories(self) -> int:
        """How many directories a tree has."""
        if self.branches == 1:
            return self.depth + 1
        return int((self.branches ** (self.depth + 1) - 1) // (self.branches - 1))

    @property
    def holders(self) -> range:
        """The directories of a tree that hold items, by number."""
        leaves = int(self.branches**self.depth)
        return range(self.directories - leaves if self.leaves_only else 0, self.directories)

    @property
    def items_of_tree(self) -> int:
        """How many items of each task a tree holds."""
        return self.items_per_directory * len(self.holders) or self.items

    @property
    def trees(self) -> int:
        """How many trees there are, side by side: more than one if -n is more than -I fills."""
        return (self.items or self.items_of_tree) // self.items_of_tree

    @property
    def total(self) -> int:
        """Items of each task."""
        return self.items_of_tree * self.trees


def read_status(path: str) -> int:
    """How many items of each task an earlier run has made. OSError."""
    text = Path(path).read_text(encoding="ascii").strip()
    if not text.isdigit():
        raise OSError(errno.EINVAL, f"{text[:40]!r} is no number", path)
    return int(text)


def write_status(path: str, items: int) -> None:
    """Tell a later run how many items each task has made."""
    Path(path).write_text(f"{items}\n", encoding="ascii")
