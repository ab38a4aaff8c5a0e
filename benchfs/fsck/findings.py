"""What a check finds: the kinds, and one finding with all that confirming and repairing needs."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What is wrong. The words are part of the JSON output."""

    NAMELESS = "inode-without-name"
    DANGLING = "entry-without-inode"
    LOST_ENTRY = "entry-without-directory"
    LINKS = "wrong-link-count"
    PARENT = "wrong-parent"
    NAMES = "directory-with-several-names"
    QUOTA = "wrong-quota"
    COUNT = "wrong-entry-count"
    LOST_PART = "part-without-directory"
    UNKNOWN_PART = "part-not-registered"
    LOST_CHUNKS = "chunks-without-inode"
    WRONG_GROUP = "chunk-in-wrong-group"
    SHORT_SIZE = "size-below-data"
    UNCUT = "data-beyond-truncation"
    STUCK = "unfinished"
    DAMAGED_ROW = "damaged-row"
    DAMAGED_DATA = "damaged-data"


class Finding(NamedTuple):
    """One thing that is wrong. Two that are equal but for `change` are the same."""

    kind: Kind
    group: int  # of the row that is wrong; of chunks, where they are
    ino: int = 0
    parent: int = 0  # with `name`: the entry
    name: bytes = b""
    found: int = 0  # the wrong count, size or index
    expected: int = 0  # the right one
    change: int = 0  # of the inode when it was looked at
    node: str = ""  # that has it, if it is not the group's first
    text: str = ""  # what else is to be said

    @property
    def key(self) -> tuple[object, ...]:
        """What a second look has to find again."""
        return (self.kind, self.group, self.ino, self.parent, self.name)

    def words(self) -> str:
        """The finding for people, without a path."""
        inode, counts = f"inode {self.ino:#x}", f"{self.found} instead of {self.expected}"
        name = self.name.decode(errors="backslashreplace")
        entry = f"{name!r} in directory {self.parent:#x}"
        words = {
            Kind.NAMELESS: f"{inode} has no name",
            Kind.DANGLING: f"{entry} stands for {inode}, which does not exist",
            Kind.LOST_ENTRY: f"{entry}, which does not exist, stands for {inode}",
            Kind.LINKS: f"{inode} has a link count of {counts}",
            Kind.PARENT: f"directory {self.ino:#x} has its name in another directory than it says",
            Kind.NAMES: f"directory {self.ino:#x} has {self.found} names",
            Kind.QUOTA: f"{inode} counts to {_quota(self.found)}, and its directory to "
            f"{_quota(self.expected)}",
            Kind.COUNT: f"directory {self.ino:#x} counts {counts} entries in group {self.group}",
            Kind.LOST_PART: f"group {self.group} has a part of directory {self.ino:#x}, "
            "which does not exist",
            Kind.UNKNOWN_PART: f"directory {self.ino:#x} does not know of its part in group "
            f"{self.group}",
            Kind.LOST_CHUNKS: f"{self.node} has chunks of {inode}, which does not exist",
            Kind.WRONG_GROUP: f"chunk {self.found} of {inode} is in group {self.group} on "
            f"{self.node}, where nobody looks for it",
            Kind.SHORT_SIZE: f"{inode} has a size of {self.found}, and {self.expected} bytes",
            Kind.UNCUT: f"{inode} was cut to {self.expected} bytes, and {self.node} has "
            f"{self.found}",
            Kind.STUCK: f"{self.text} of {inode} in group {self.group} does not come to an end",
            Kind.DAMAGED_ROW: f"row {self.name.hex()} fails its check",
            Kind.DAMAGED_DATA: f"chunk {self.found} of {inode}: {self.text}",
        }
        return words[self.kind]


def _quota(ino: int) -> str:
    return f"the quota of directory {ino:#x}" if ino else "no quota"
