"""Who a caller is to this node, and what he may do to a directory before anything is done.

The rules are in `benchfsd/rights.py` and, over the rows of a group, in `benchfsd/access.py`; here
they meet the caller of a request. For the superuser and for other nodes a check costs a comparison;
for others one row is read, 1 µs, which the operation reads again. Nothing is written here.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Awaitable

from benchfs.inode import EXECUTE, READ, WRITE, FileType
from benchfs.rpc.errors import RemoteError
from benchfs.rpc.messages import Open, OpenReply, Present
from benchfs.rpc.server import Call as Request
from benchfs.rpc.server import Caller, Handler, Reply
from benchfsd import access
from benchfsd.capabilities import Capabilities
from benchfsd.inodes import Inodes
from benchfsd.namespace import Namespace
from benchfsd.rights import NOBODY, SUPERUSER, User, may_access, require_access

ROOT_UID = 0


class Guard:
    """The users of one node. `superusers`: the uids that may do everything."""

    def __init__(self, superusers: frozenset[int], capabilities: Capabilities) -> None:
        self._superusers = superusers
        self._capabilities = capabilities

    def user(self, caller: Caller) -> User | None:
        """The user that a caller is; SUPERUSER for those to whom no rule applies.

        root is nobody in particular, unless this node's settings say otherwise.
        """
        if caller.uid in self._superusers or caller.role == "node":
            return SUPERUSER
        if caller.uid == ROOT_UID:
            return NOBODY
        return User(caller.uid, caller.gid, caller.groups)

    def owner(self, request: Request, uid: int, gid: int) -> tuple[int, int]:
        """Who owns what a request makes: the superuser says so, others are themselves."""
        user = self.user(request.caller)
        return (uid, gid) if user is SUPERUSER else (user.uid, user.gid)

    # ------------------------------------------------------------------------ files

    def opening(self, request: Request, names: Namespace, message: Open) -> Open:
        """The message as it may be executed. EACCES for the directory."""
        user = self.user(request.caller)
        if user is SUPERUSER:
            return message
        mode = message.mode
        if message.create:
            mode = self.creation(request, names, message.parent, message.name, mode)
        else:
            self.search(request, names, message.parent)
        return message._replace(mode=mode, uid=user.uid, gid=user.gid)

    def opened(self, request: Request, reply: OpenReply, wanted: int) -> OpenReply:
        """Raise EACCES unless the caller may open what was found as he wants to.

        The reply gets the capability for it.

        Who makes a file has all rights to it through this handle, whatever its mode. Of a file at
        home in another group the client asks there.
        """
        inode, user = reply.attributes, self.user(request.caller)
        if user is SUPERUSER or inode is None or inode.type != FileType.FILE:
            return reply
        if not reply.created:
            require_access(inode, user, wanted & (READ | WRITE))
        return reply._replace(capability=self.capability(request, inode.ino, wanted))

    def capability(self, request: Request, ino: int, rights: int) -> bytes:
        """What the caller, who may have these rights, can show to the nodes that keep chunks."""
        if self.user(request.caller) is SUPERUSER:
            return b""
        return self._capabilities.seal(request.caller.session, ino, rights & (READ | WRITE))

    def present(self, request: Request, message: Present) -> None:
        """The caller shows a capability. EACCES."""
        self._capabilities.present(request.caller.session, message.ino, message.capability)

    def chunk(self, request: Request, ino: int, wanted: int) -> None:
        """Raise NO_CAPABILITY unless the caller may read or write the file's chunks."""
        if self.user(request.caller) is not SUPERUSER:
            self._capabilities.require(request.caller.session, ino, wanted)

    def either(self, request: Request, ino: int) -> None:
        """Raise NO_CAPABILITY unless the caller may read or may write the file's chunks."""
        user = self.user(request.caller)
        if user is not SUPERUSER and not self._capabilities.shown(request.caller.session, ino):
            self._capabilities.require(request.caller.session, ino, READ)

    def writing(self, request: Request, inodes: Inodes, ino: int) -> None:
        """Raise NO_CAPABILITY unless the caller may write the file, owns it, or opened it so.

        A file stays open for writing when its mode changes. One that is not there, the operation
        tells of.
        """
        user = self.user(request.caller)
        if user is SUPERUSER:
            return
        inode = inodes.find(ino)
        if inode is not None and user.uid != inode.uid and not may_access(inode, user, WRITE):
            self._capabilities.require(request.caller.session, ino, WRITE)

    def locking(self, request: Request, ino: int, *, whole: bool, exclusive: bool) -> None:
        """Raise NO_CAPABILITY unless the caller has the file open as the lock needs it."""
        if whole:
            self.either(request, ino)
        else:
            self.chunk(request, ino, WRITE if exclusive else READ)

    # ------------------------------------------------------------------ directories

    def search(self, request: Request, names: Namespace, parent: int) -> None:
        """Raise EACCES unless the caller may look up names in the directory."""
        user = self.user(request.caller)
        if user is not SUPERUSER:
            access.require(names, parent, user, EXECUTE)

    def listing(self, request: Request, names: Namespace, ino: int) -> bool:
        """Raise EACCES unless the caller may list the directory; tells if he may stat in it."""
        user = self.user(request.caller)
        if user is SUPERUSER:
            return True
        rights = names.directory_rights(ino)
        if rights is None:  # the operation says so
            return True
        require_access(rights, user, READ)
        return may_access(rights, user, EXECUTE)

    def creation(
        self, request: Request, names: Namespace, parent: int, name: bytes, mode: int = 0
    ) -> int:
        """Raise EACCES unless the caller may make the entry; returns the mode it may have.

        A name that is taken needs no more than search permission, to hear just that. Who is not
        in the group that a setgid directory gives to new files makes none that run under it.
        """
        user = self.user(request.caller)
        if user is SUPERUSER:
            return mode
        taken = names.find_entry(parent, name) is not None
        rights = access.require(names, parent, user, EXECUTE if taken else WRITE | EXECUTE)
        if rights is None or not rights.mode & stat.S_ISGID or user.in_group(rights.gid):
            return mode
        return mode & ~stat.S_ISGID


def between_nodes(handler: Handler) -> Handler:
    """The handler for an operation that only nodes may ask for: EPERM for clients."""

    def handle(request: Request) -> Reply | Awaitable[Reply]:
        if request.caller.role != "node":
            raise RemoteError(errno.EPERM, "only nodes ask one another for this")
        return handler(request)

    return handle


def for_superuser(guard: Guard, handler: Handler) -> Handler:
    """The handler for an operation that only the superuser and nodes may ask for: else EPERM."""

    def handle(request: Request) -> Reply | Awaitable[Reply]:
        if guard.user(request.caller) is not SUPERUSER:
            raise RemoteError(errno.EPERM, "only the superuser may check and repair the cluster")
        return handler(request)

    return handle
