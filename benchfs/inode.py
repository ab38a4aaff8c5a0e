"""Inode numbers: what they are made of, and where the entries of a directory are kept.

A number of 64 bits is the home group (16) | random (16) | counter (32). It is never used
twice, and never moves: from the number alone anybody knows the group that keeps the inode.
This module makes and reads numbers; the counter and the random part are the caller's.
"""

from __future__ import annotations

import struct
from enum import IntEnum

import xxhash

ROOT_INO = 1
"""The root directory: home group 0, random 0, counter 1."""

MAX_FANOUT = 65_535  # a directory's fanout travels in 16 bits

READ, WRITE, EXECUTE = 4, 2, 1
"""Rights to an inode, as in the digits of a mode; EXECUTE of a directory is to search it."""

DAY_NS = 24 * 3600 * 1_000_000_000

_SHARD = struct.Struct("<QI")  # (ino, shard), as hashed


class FileType(IntEnum):
    """What an inode is. The numbers are stored and sent."""

    FILE = 1
    DIRECTORY = 2
    SYMLINK = 3
    FIFO = 4
    SOCKET = 5


def make_ino(home_group: int, random16: int, counter32: int) -> int:
    """The number of a new inode. ValueError if a part does not fit, or the counter is 0."""
    if not (0 <= home_group < 1 << 16 and 0 <= random16 < 1 << 16 and 0 < counter32 < 1 << 32):
        raise ValueError(f"no inode number of ({home_group}, {random16}, {counter32})")
    return home_group << 48 | random16 << 32 | counter32


def home_group(ino: int) -> int:
    """The group that keeps the inode."""
    return ino >> 48


def counter_of(ino: int) -> int:
    """The part that counts up in each group."""
    return ino & 0xFFFF_FFFF


def shard_of(name: bytes, fanout: int) -> int:
    """The shard, 0 to `fanout` - 1, of a directory that keeps the entry `name`."""
    if fanout == 1:
        return 0
    return xxhash.xxh64_intdigest(name) % fanout


def shard_group(ino: int, shard: int, group_count: int) -> int:
    """The group that keeps a shard of the directory `ino`: its home group for shard 0."""
    if shard == 0:
        return home_group(ino)
    return xxhash.xxh64_intdigest(_SHARD.pack(ino, shard)) % group_count


def atime_is_due(atime_ns: int, mtime_ns: int, ctime_ns: int, now_ns: int) -> bool:
    """Whether reading at `now_ns` is worth a new atime, as with Linux's relatime.

    It is when the file changed since it was last read, and once a day.
    """
    return atime_ns <= mtime_ns or atime_ns <= ctime_ns or now_ns - atime_ns >= DAY_NS
