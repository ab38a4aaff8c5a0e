"""A client's methods that remove and rename: what happens to a name, whatever it stands for.

The names, arguments and errors are those of Python's `os`, with more for what Linux can do beside.
"""

from __future__ import annotations

import errno

from benchfs.cluster import Intent
from benchfs.errors import NotDirectoryError, NotFoundError, PermissionDeniedError, error
from benchfs.inode import FileType
from benchfs.namespace import Names, Place
from benchfs.operations import Connected, Methods
from benchfs.paths import PathLike, parse
from benchfs.rpc.messages import Rename, RenameHow, Unlink


class NameMethods(Methods):
    """What `AsyncClient` can do with names of files and directories."""

    async def unlink(self, path: PathLike) -> None:
        """Remove a file. IsADirectoryError for a directory."""
        connected, parsed = self._use(), parse(path, "unlink")
        intent = connected.intent("unlink", parsed)

        async def act(place: Place) -> None:
            if not place.name:
                raise error(errno.EISDIR, "unlink", parsed.display)
            if place.directory:
                await _require_directory(connected, intent, place)
            request = Unlink(place.parent, place.name)
            await connected.cluster.mutate(intent, place.group, request)
            connected.names.forget(place.parent, place.name)

        await connected.names.at(intent, parsed, act)

    remove = unlink

    async def rename(
        self, source: PathLike, target: PathLike, *, replace: bool = True, exchange: bool = False
    ) -> None:
        """Rename atomically, replacing a file or an empty directory that has the name.

        `replace=False`: FileExistsError if something has it. `exchange`: what has it gets the
        other name. FileNotFoundError, IsADirectoryError, NotADirectoryError; OSError ENOTEMPTY,
        EINVAL for a directory into itself, EBUSY for the root.
        """
        how = RenameHow.EXCHANGE if exchange else RenameHow.REPLACE
        if not replace:
            if exchange:
                raise ValueError("an exchange keeps both: it goes without replace=False")
            how = RenameHow.KEEP
        connected = self._use()
        old, new = parse(source, "rename"), parse(target, "rename")
        intent = connected.intent("rename", old)

        async def act(place: Place) -> None:
            async def act_there(there: Place) -> None:
                if not place.name or not there.name:
                    kept = place.name and how is RenameHow.KEEP
                    raise error(errno.EEXIST if kept else errno.EBUSY, "rename", old.display)
                request = Rename(
                    place.parent, place.name, there.parent, there.name, there.group, how
                )
                try:
                    await _check_odd_rename(connected.names, intent, place, there, how)
                    await connected.cluster.mutate(intent, place.group, request)
                except PermissionDeniedError:
                    await _check_denied_rename(connected.names, intent, place, there, how)
                    raise
                except (NotFoundError, NotDirectoryError):
                    await connected.names.require_search(intent, there.parent)
                    raise
                connected.names.forget(place.parent, place.name)
                connected.names.forget(there.parent, there.name)

            try:
                await connected.names.at(intent, new, act_there)
            except (NotFoundError, NotDirectoryError):  # the way to the old name comes first
                await connected.names.require_search(intent, place.parent)
                raise

        await connected.names.at(intent, old, act)

    replace = rename


async def _require_directory(connected: Connected, intent: Intent, place: Place) -> None:
    found = await connected.names.lookup(intent, place.parent, place.name, place.group)
    if found.type != FileType.DIRECTORY:
        raise error(errno.ENOTDIR, intent.operation, intent.path)


async def _check_denied_rename(
    names: Names, intent: Intent, old: Place, new: Place, how: RenameHow
) -> None:
    """Who may look both names up is told first what has the new one. EACCES, ENOENT, EEXIST."""
    if how is RenameHow.REPLACE:
        return
    await names.require_search(intent, old.parent)
    try:
        await names.lookup(intent, new.parent, new.name, new.group)
    except NotFoundError:
        if how is RenameHow.EXCHANGE:
            raise
    else:
        if how is RenameHow.KEEP:
            raise error(errno.EEXIST, "rename", intent.path)


async def _check_odd_rename(
    names: Names, intent: Intent, old: Place, new: Place, how: RenameHow
) -> None:
    """Refuse a rename of which one path goes through the other, as far as can be seen here.

    Or of which a path ends in a slash, and is no directory's. The errors come in Linux's order:
    what is there, or not, is told first.
    """
    exchange = how is RenameHow.EXCHANGE
    below_itself = (old.parent, old.name) in new.way
    above_itself = (new.parent, new.name) in old.way
    if not (below_itself or above_itself or old.directory or new.directory):
        return
    found = await names.lookup(intent, old.parent, old.name, old.group)
    try:
        there = await names.lookup(intent, new.parent, new.name, new.group)
    except NotFoundError:
        if exchange:
            raise
    else:
        if how is RenameHow.KEEP:
            raise error(errno.EEXIST, "rename", intent.path)
        if exchange and new.directory and there.type != FileType.DIRECTORY:
            raise error(errno.ENOTDIR, "rename", intent.path)
    slash = old.directory or (new.directory and not exchange)
    if slash and found.type != FileType.DIRECTORY:
        raise error(errno.ENOTDIR, "rename", intent.path)
    if below_itself:
        raise error(errno.EINVAL, "rename", intent.path, text="it would be below itself")
    if above_itself:
        code = errno.EINVAL if exchange else errno.ENOTEMPTY
        raise error(code, "rename", intent.path, text="it is below what it would replace")
