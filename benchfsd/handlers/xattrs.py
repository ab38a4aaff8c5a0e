"""Operations on extended attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from benchfs.rpc.messages import GetXattr, ListXattrs, Op, RemoveXattr, SetXattr
from benchfs.rpc.server import Call as Request
from benchfs.rpc.server import Handler, Reply
from benchfsd.handlers import once
from benchfsd.node import Node
from benchfsd.rights import User
from benchfsd.xattrs import Xattrs


def table(node: Node) -> dict[Op, Handler]:
    """Operation to handler."""

    def xattrs(request: Request) -> Xattrs:
        inodes = node.namespace(request.envelope.group).inodes
        return Xattrs(inodes, node.database, node.env)

    def user(request: Request) -> User | None:
        return node.guard.user(request.caller)

    def plain(act: Callable[[Request], tuple[object, ...]]) -> Handler:
        def handle(request: Request) -> Reply:
            node.require(request.envelope.group, request.envelope.epoch)
            return Reply(act(request))

        return handle

    def get_xattr(request: Request) -> tuple[object, ...]:
        return xattrs(request).get(cast(GetXattr, request.message), user(request))

    def list_xattrs(request: Request) -> tuple[object, ...]:
        return xattrs(request).list(cast(ListXattrs, request.message))

    def set_xattr(request: Request) -> tuple[object, ...]:
        node.require_space()
        return xattrs(request).set(cast(SetXattr, request.message), user(request))

    def remove_xattr(request: Request) -> tuple[object, ...]:
        return xattrs(request).remove(cast(RemoveXattr, request.message), user(request))

    return {
        Op.GET_XATTR: plain(get_xattr),
        Op.LIST_XATTRS: plain(list_xattrs),
        Op.SET_XATTR: once.inline(node, set_xattr),
        Op.REMOVE_XATTR: once.inline(node, remove_xattr),
    }
