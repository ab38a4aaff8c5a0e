"""What the names of a group ask of their node about a file that loses its last name."""

from __future__ import annotations

from typing import Protocol

from benchfs.rpc.messages import Attributes


class Holders(Protocol):
    """Who has inodes open, and what has chunks. See `benchfsd.node.Node`."""

    def is_held(self, ino: int) -> bool:
        """Whether somebody may have the inode open."""
        ...

    def orphaned(self, ino: int) -> None:
        """Called when an inode that is held has lost its last name."""
        ...

    def drop_chunks(self, inode: Attributes) -> bool:
        """Called when a file goes: whether its chunks go with this turn's batch.

        False: they have to be purged.
        """
        ...
