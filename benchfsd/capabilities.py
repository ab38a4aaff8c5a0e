"""Capabilities: what a node that opened a file for a client tells the nodes that keep its chunks.

The node that checked the permissions seals (session, inode, rights) with a key that only nodes
know: it is in the registry. (All clients know the cluster's secret.) The client presents the seal
to each node that asks for it, once; the node remembers it for the session. So chunk requests
themselves carry nothing more, and cost one look-up. A capability lasts as long as its session and
is of no use in another: as with a file that is open, a later chmod does not end it.
"""

from __future__ import annotations

import errno
import hmac
import struct
from collections import OrderedDict

from benchfs.clusterspec import SEAL_KEY
from benchfs.env import Rng
from benchfs.registry.base import Registry
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import Code

KEY_BYTES = 32
SEAL_BYTES = 16
REMEMBERED = 262_144  # (session, inode) of one node; who is forgotten presents again

_SEALED = struct.Struct("<16sQB")


async def shared_key(registry: Registry, rng: Rng) -> bytes:
    """The key of all nodes of a cluster; the first one that asks makes it. Raises OSError."""
    while True:
        found = await registry.read(SEAL_KEY)
        if found.revision:
            return found.value
        await registry.cas(SEAL_KEY, 0, rng.token_bytes(KEY_BYTES))


class Capabilities:
    """The seals of a cluster, and what this node was shown of them."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._shown: OrderedDict[tuple[bytes, int], int] = OrderedDict()

    def seal(self, session: bytes, ino: int, rights: int) -> bytes:
        """The capability: the rights (4 read, 2 write, or both), and the seal."""
        sealed = _SEALED.pack(session, ino, rights)
        return bytes([rights]) + hmac.digest(self._key, sealed, "sha256")[:SEAL_BYTES]

    def present(self, session: bytes, ino: int, capability: bytes) -> None:
        """Remember what a client shows. EACCES if it is not sealed for this session and inode."""
        rights = capability[0] if capability else 0
        if not hmac.compare_digest(self.seal(session, ino, rights), capability):
            raise RemoteError(errno.EACCES, f"the capability is not one for inode {ino:#x}")
        key = (session, ino)
        self._shown[key] = self._shown.pop(key, 0) | rights
        if len(self._shown) > REMEMBERED:
            self._shown.popitem(last=False)

    def require(self, session: bytes, ino: int, wanted: int) -> None:
        """Raise NO_CAPABILITY unless the session has shown all the rights in `wanted`."""
        if self.shown(session, ino) & wanted != wanted:
            raise RemoteError(Code.NO_CAPABILITY, f"inode {ino:#x} was not opened like this")

    def shown(self, session: bytes, ino: int) -> int:
        """The rights that the session has shown."""
        return self._shown.get((session, ino), 0)
