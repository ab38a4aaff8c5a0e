"""Extended attributes of the inodes of one group: names that start with `user.`, and their values.

All those of an inode are one row, so that the limit of 64 KiB for names and values together is
kept by one transaction, and the inode's end costs one more row. Rights are those of the content:
reading needs read permission, changing write permission. Symbolic links, FIFOs and sockets have
no `user.` attributes, as on Linux: their mode does not protect content.
"""

from __future__ import annotations

import errno
import stat

import msgpack

from benchfs.env import Env
from benchfs.inode import READ, WRITE, FileType
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import (
    Attributes,
    Empty,
    GetXattr,
    ListXattrs,
    ListXattrsReply,
    RemoveXattr,
    SetXattr,
    XattrReply,
)
from benchfsd.inodes import Inodes
from benchfsd.rights import SUPERUSER, User, require_access
from benchfsd.rows import Rows, xattrs_key

NAMESPACE = b"user."
OF_MODULES = (b"security.", b"system.", b"trusted.")
NAME_BYTES = 255
VALUE_BYTES = 65_536
TOTAL_BYTES = 65_536  # of an inode: all names and values
WITH_ATTRIBUTES = frozenset({FileType.FILE, FileType.DIRECTORY})
CREATE, REPLACE = 1, 2  # flags, as in os.XATTR_CREATE and os.XATTR_REPLACE

Values = dict[bytes, bytes]


class Xattrs:
    """The extended attributes of one group. Made when needed: it keeps nothing in memory."""

    __slots__ = ("_env", "_inodes", "_rows")

    def __init__(self, inodes: Inodes, rows: Rows, env: Env) -> None:
        self._inodes = inodes
        self._rows = rows
        self._env = env

    def get(self, message: GetXattr, user: User | None) -> XattrReply:
        """One value. ENOENT; ENODATA if there is none; EACCES; EOPNOTSUPP, ERANGE, EINVAL for
        the name.
        """
        ino, name = message
        inode = self._inodes.get(ino)
        if inode.type not in WITH_ATTRIBUTES and name.startswith(NAMESPACE):
            raise _no_such(ino, name)
        _require_right(inode, name, user, READ)
        found = self._read(ino).get(name)
        if found is None:
            raise _no_such(ino, name)
        return XattrReply(found)

    def list(self, message: ListXattrs) -> ListXattrsReply:
        """The names, sorted. ENOENT. Needs no permission."""
        self._inodes.get(message.ino)
        return ListXattrsReply(tuple(sorted(self._read(message.ino))))

    def set(self, message: SetXattr, user: User | None) -> Empty:
        """Set a value. As `get`; EEXIST, ENODATA by the flags; E2BIG; ENOSPC for all together;
        EPERM where there are no such attributes.
        """
        ino, name, value, flags = message
        if flags not in {0, CREATE, REPLACE}:
            raise RemoteError(errno.EINVAL, f"flags {flags}")
        if len(value) > VALUE_BYTES:
            raise RemoteError(errno.E2BIG, f"value of {len(value)} bytes, limit {VALUE_BYTES}")
        inode = self._writable(ino, name, user)
        values = self._read(ino)
        if flags == CREATE and name in values:
            raise RemoteError(errno.EEXIST, f"inode {ino:#x} has {name!r}")
        if flags == REPLACE and name not in values:
            raise _no_such(ino, name)
        values[name] = value
        total = sum(len(key) + len(item) for key, item in values.items())
        if total > TOTAL_BYTES:
            raise RemoteError(errno.ENOSPC, f"{total} bytes of attributes, limit {TOTAL_BYTES}")
        self._write(inode, values)
        return Empty()

    def remove(self, message: RemoveXattr, user: User | None) -> Empty:
        """Remove one. Errors as of `get`, and EPERM as of `set`."""
        ino, name = message
        inode = self._writable(ino, name, user)
        values = self._read(ino)
        if values.pop(name, None) is None:
            raise _no_such(ino, name)
        self._write(inode, values)
        return Empty()

    def _writable(self, ino: int, name: bytes, user: User | None) -> Attributes:
        """The inode, if the caller may change this attribute."""
        inode = self._inodes.get(ino)
        ours = name.startswith(NAMESPACE)
        if ours and inode.type not in WITH_ATTRIBUTES:
            raise RemoteError(errno.EPERM, "only files and directories have user.* attributes")
        if (
            ours
            and user is not SUPERUSER
            and inode.type == FileType.DIRECTORY
            and inode.mode & stat.S_ISVTX
            and user.uid != inode.uid
        ):
            raise RemoteError(errno.EPERM, "those of a sticky directory are its owner's")
        _require_right(inode, name, user, WRITE)
        return inode

    def _read(self, ino: int) -> Values:
        row = self._rows.get(xattrs_key(self._inodes.group, ino))
        if row is None:
            return {}
        fields: list[bytes] = msgpack.unpackb(row)
        return dict(zip(fields[::2], fields[1::2], strict=True))

    def _write(self, inode: Attributes, values: Values) -> None:
        key = xattrs_key(self._inodes.group, inode.ino)
        if values:
            fields = [part for item in values.items() for part in item]
            packed: bytes = msgpack.packb(fields)
            self._rows.put(key, packed)
        else:
            self._rows.delete(key)
        now_ns = self._env.clock.time_ns()
        self._inodes.put(inode._replace(ctime_ns=now_ns, change=inode.change + 1))


def _require_right(inode: Attributes, name: bytes, user: User | None, wanted: int) -> None:
    """Raise for who may not read or write such a content; then for the name, as Linux does.

    What is asked of the names of Linux's own modules is theirs to say: they are just not kept.
    """
    if not name.startswith(OF_MODULES):
        require_access(inode, user, wanted)
    _require_name(name)


def _require_name(name: bytes) -> None:
    if not name.startswith(NAMESPACE):
        raise RemoteError(errno.EOPNOTSUPP, "only names that start with `user.` are kept")
    if len(name) == len(NAMESPACE) or b"\0" in name:
        raise RemoteError(errno.EINVAL, f"no attribute can be named {name!r}")
    if len(name) > NAME_BYTES:
        raise RemoteError(errno.ERANGE, f"name of {len(name)} bytes, limit {NAME_BYTES}")


def _no_such(ino: int, name: bytes) -> RemoteError:
    return RemoteError(errno.ENODATA, f"inode {ino:#x} has no {name!r}")
