"""Wide directories: their entries are spread over several groups, each of which has a part.

A part is a row like the directory's inode, with the rights of the directory and the times and
the number of the entries in this group. The home group notes which groups have one before they
make it, and refuses when the directory is being removed: so reading, counting and removing ask
those that exist, and nothing is ever made in a removed directory.
"""

from __future__ import annotations

import errno

from benchfs.inode import shard_group
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    Attributes,
    AttributesReply,
    Code,
    Empty,
    GetPart,
    RegisterPart,
    SetPart,
)
from benchfsd.holds import Holds
from benchfsd.inodes import Inodes
from benchfsd.rows import (
    Kind,
    Rows,
    decode_inode,
    encode_inode,
    kind_prefix,
    part_key,
    used_prefix,
)

NO_MTIME = 2**63 - 1
"""In a SetPart: the directory's mtime was not set, the part's stays."""


class Parts:
    """The parts in one group, and where those of the directories are that are at home here."""

    __slots__ = ("_group", "_holds", "_inodes", "_rows")

    def __init__(self, group: int, rows: Rows, inodes: Inodes, holds: Holds) -> None:
        self._group = group
        self._rows = rows
        self._inodes = inodes
        self._holds = holds

    # ------------------------------------------------------------------- at the home

    def register(self, message: RegisterPart, group_count: int) -> AttributesReply:
        """Note that a group is about to have a part. ENOENT, EINVAL; Held."""
        ino, group = message
        inode = self._inodes.get(ino)
        shards = {shard_group(ino, shard, group_count) for shard in range(inode.fanout)}
        if group not in shards or group == self._group:
            raise RemoteError(errno.EINVAL, f"group {group} keeps no shard of directory {ino:#x}")
        self._holds.require_unsealed(ino)
        self._rows.put(used_prefix(self._group, ino) + group.to_bytes(2, "big"), b"")
        return AttributesReply(inode)

    def used(self, ino: int) -> tuple[int, ...]:
        """The other groups that may have a part of a directory at home here."""
        keys = (key for key, _ in self._rows.scan(used_prefix(self._group, ino)))
        return tuple(int.from_bytes(key[-2:], "big") for key in keys)

    def directories(self) -> list[int]:
        """The directories at home here that may have parts elsewhere."""
        keys = (key for key, _ in self._rows.scan(kind_prefix(self._group, Kind.USED)))
        return sorted({int.from_bytes(key[-10:-2], "big") for key in keys})

    def forget_used(self, ino: int) -> None:
        """The directory is gone."""
        for group in self.used(ino):
            self._rows.delete(used_prefix(self._group, ino) + group.to_bytes(2, "big"))

    # ------------------------------------------------------------------ in the group

    def make(self, directory: Attributes, *, version: int) -> None:
        """Make the part that was registered. Held; NOT_READY if that may be out of date.

        `version` is what `Holds.version` was before it was asked for.
        """
        ino = directory.ino
        self._holds.require_unsealed(ino)
        if self._holds.version != version:
            raise RemoteError(Code.NOT_READY, f"directory {ino:#x} has changed: try again")
        if self._rows.get(part_key(self._group, ino)) is None:
            # of a part, atime is the directory's change counter when it had these rights
            self._put(directory._replace(entries=0, change=0, atime_ns=directory.change))

    def get(self, message: GetPart) -> AttributesReply:
        """The part. ENOENT if there is none."""
        value = self._rows.get(part_key(self._group, message.ino))
        if value is None:
            text = f"directory {message.ino:#x} has no part in group {self._group}"
            raise RemoteError(errno.ENOENT, text)
        return AttributesReply(decode_inode(value))

    def set(self, message: SetPart) -> Empty:
        """Note rights and quota that the directory has now; no later mtime than it has there."""
        directory = message.attributes
        value = self._rows.get(part_key(self._group, directory.ino))
        if value is not None:
            part = decode_inode(value)
            if directory.change >= part.atime_ns:
                self._put(
                    part._replace(
                        mode=directory.mode,
                        uid=directory.uid,
                        gid=directory.gid,
                        mtime_ns=min(part.mtime_ns, directory.mtime_ns),
                        quota=directory.quota,
                        atime_ns=directory.change,
                    )
                )
        self._holds.version += 1
        return Empty()

    def _put(self, part: Attributes) -> None:
        self._rows.put(part_key(self._group, part.ino), encode_inode(part))


def merged(home: Attributes, parts: list[Attributes]) -> Attributes:
    """A directory's attributes with what its parts know of their entries."""
    return home._replace(
        mtime_ns=max([home.mtime_ns, *(part.mtime_ns for part in parts)]),
        ctime_ns=max([home.ctime_ns, *(part.ctime_ns for part in parts)]),
        change=home.change + sum(part.change for part in parts),
        entries=home.entries + sum(part.entries for part in parts),
    )
