"""What a user may do to the entries of a directory, asked of a group's rows: look up, make, remove.

Used for the callers of requests and for the users on whose behalf other groups prepare renames.
In a sticky directory the owner of what is removed counts, whose inode may be at home in another
group: then the check returns that inode, and `require_owner` asks there.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from benchfs.inode import EXECUTE, WRITE, home_group
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import AttributesReply, GetAttributes
from benchfsd.namespace import Namespace
from benchfsd.peers import Peers
from benchfsd.rights import SUPERUSER, User, may_remove, require_access
from benchfsd.rows import Rights


def require(names: Namespace, parent: int, user: User, wanted: int) -> Rights | None:
    """The directory's rights, which have to include `wanted`: EACCES.

    None if there is no such directory: the operation says so. UnregisteredError for a wide one
    that is to get a part here first, since its rights come with that.
    """
    rights = names.directory_rights(parent, registered=True)
    if rights is not None:
        require_access(rights, user, wanted)
    return rights


def removal(user: User | None, names: Namespace, parent: int, name: bytes) -> int | None:
    """Raise EACCES or EPERM unless `user` may remove the entry, or give it another name.

    Returns None; or the inode, at home in another group, whose owner decides.
    """
    if user is SUPERUSER:
        return None
    if names.find_entry(parent, name) is None:
        require(names, parent, user, EXECUTE)
        return None
    return _leaving(user, names, parent, name)


def arrival(
    user: User | None, names: Namespace, parent: int, name: bytes, *, keep: bool = False
) -> int | None:
    """Raise EACCES or EPERM unless `user` may give the name to an entry, whatever has it now.

    Returns as `removal`, for what has the name. `keep`: that is not to be replaced, so that who
    may look it up may hear that it is there.
    """
    if user is SUPERUSER:
        return None
    taken = names.find_entry(parent, name) is not None
    if taken and not keep:
        return _leaving(user, names, parent, name)
    require(names, parent, user, EXECUTE if taken else WRITE | EXECUTE)
    return None


async def require_owner(
    peers: Peers, user: User | None, check: Callable[[], int | None], name: bytes
) -> None:
    """Raise unless `check`, a `removal` or an `arrival`, allows it, or the owner elsewhere does.

    EACCES, EPERM; UNAVAILABLE. Nothing has changed since the last check when this returns.
    """
    theirs = check()
    while theirs is not None:
        found = await peers.ask(home_group(theirs), GetAttributes(theirs), AttributesReply)
        if user is not SUPERUSER and user.uid != found.attributes.uid:
            raise _sticky(user, name)
        asked, theirs = theirs, check()
        if theirs == asked:
            return


def _leaving(user: User, names: Namespace, parent: int, name: bytes) -> int | None:
    rights = require(names, parent, user, WRITE | EXECUTE)
    entry = names.find_entry(parent, name)
    if entry is None or rights is None or may_remove(rights, -1, user):
        return None
    if home_group(entry.ino) != names.group:
        return entry.ino
    inode = names.inodes.find(entry.ino)
    if inode is not None and not may_remove(rights, inode.uid, user):
        raise _sticky(user, name)
    return None


def _sticky(user: User, name: bytes) -> RemoteError:
    text = f"user {user.uid} owns neither this nor the sticky directory it is in"
    return RemoteError(errno.EPERM, text, name)
