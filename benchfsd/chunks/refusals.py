"""The errors with which the chunk store answers: each says which chunk, which bytes, and why.

Bytes that are lost or failed their check are EBADMSG between peers, and EIO for users (see
`benchfs/errors.py`). The store's own texts name no path: the store knows inodes only.
"""

from __future__ import annotations

import errno

import msgpack

from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import Code


def chunk_name(ino: int, index: int) -> str:
    """How texts name a chunk."""
    return f"chunk {index} of inode {ino:016x}"


def damaged(ino: int, index: int, offset: int, end: int, why: str) -> RemoteError:
    """Stored bytes from `offset` up to `end` of the chunk cannot be given out."""
    return RemoteError(errno.EBADMSG, f"{chunk_name(ino, index)}, bytes {offset} to {end}: {why}")


def bad_transit(ino: int, index: int, offset: int) -> RemoteError:
    """The bytes of a write are not those that the client computed the checks of."""
    return RemoteError(
        errno.EBADMSG,
        f"{chunk_name(ino, index)}, bytes from {offset}: failed their check in transit; "
        "nothing was written",
    )


def no_space(ino: int, index: int, node: str, reserve: int) -> RemoteError:
    """The node's disk is full, to its reserve."""
    return RemoteError(
        errno.ENOSPC,
        f"{chunk_name(ino, index)}: the disk of {node} is full (it keeps {reserve} bytes free)",
        node=node,
    )


def stale_truncation(ino: int, index: int, truncation: int, newer: int) -> RemoteError:
    """The file was cut since the writer looked: ask its attributes, then write again."""
    return RemoteError(
        Code.STALE_TRUNCATION,
        f"{chunk_name(ino, index)}: truncation epoch {truncation} is over, {newer} holds",
        detail=pack_truncation(newer),
    )


def pack_truncation(truncation: int) -> bytes:
    """The detail of STALE_TRUNCATION: the newer epoch, as one MessagePack integer."""
    packed: bytes = msgpack.packb(truncation)
    return packed


def removed(ino: int, index: int) -> RemoteError:
    """The file was removed."""
    return RemoteError(errno.ESTALE, f"{chunk_name(ino, index)}: the file was removed")


def invalid(ino: int, index: int, why: str) -> RemoteError:
    """The request makes no sense."""
    return RemoteError(errno.EINVAL, f"{chunk_name(ino, index)}: {why}")
