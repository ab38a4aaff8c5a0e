"""The rules of the oracle for what makes, moves, removes and lists names."""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable

import hypothesis.strategies as st
from hypothesis.stateful import rule

from tests.cluster import local_directory as local
from tests.cluster.pair import TOO_LONG, Pair, PathSpec, paths, permissions, targets, turns
from tests.cluster.trees import scan_there


class Namespace(Pair):
    """What is done to names."""

    @rule(client=turns, spec=targets, mode=permissions, wide=st.sampled_from([None, True, False]))
    def mkdir(self, client: int, spec: PathSpec, mode: int, wide: bool | None) -> None:
        self.take_turn(client)
        path = self.path(spec)
        self.same(lambda fs: fs.mkdir(path, mode, wide=wide), os.mkdir, path, mode)
        self.changed()

    @rule(client=turns, spec=paths)
    def rmdir(self, client: int, spec: PathSpec) -> None:
        self.take_turn(client)
        path = self.path(spec)
        self.same(lambda fs: fs.rmdir(path), os.rmdir, path)
        self.changed()

    @rule(client=turns, spec=paths)
    def unlink(self, client: int, spec: PathSpec) -> None:
        self.take_turn(client)
        path = self.path(spec)
        self.same(lambda fs: fs.unlink(path), os.unlink, path)
        self.changed()

    @rule(
        client=turns,
        source=paths,
        aim=targets,
        flags=st.sampled_from([0, 0, local.RENAME_NOREPLACE, local.RENAME_EXCHANGE]),
    )
    def rename(self, client: int, source: PathSpec, aim: PathSpec, flags: int) -> None:
        self.take_turn(client)
        old, new = self.path(source), self.path(aim)
        if TOO_LONG in (old + b"/" + new).split(b"/"):
            return  # of two errors the other one may be told
        replace, exchange = flags != local.RENAME_NOREPLACE, flags == local.RENAME_EXCHANGE
        self.same(
            lambda fs: fs.rename(old, new, replace=replace, exchange=exchange),
            local.rename,
            old,
            new,
            flags,
        )
        self.changed()

    @rule(client=turns, source=paths, aim=targets, follow=st.booleans())
    def link(self, client: int, source: PathSpec, aim: PathSpec, follow: bool) -> None:
        self.take_turn(client)
        old, new = self.path(source), self.path(aim)
        if self.owner(old, follow_symlinks=follow) not in {self.user().uid, None}:
            return  # which the kernel may not allow, and BenchFS does
        self.same(
            lambda fs: fs.link(old, new, follow_symlinks=follow),
            local.link,
            old,
            new,
            follow_symlinks=follow,
        )
        self.changed()

    def owner(self, path: bytes, *, follow_symlinks: bool) -> int | None:
        """The owner of what has the name, if something has it; nobody's, for the superuser."""
        if self.user().uid == 0:
            return None
        try:
            return self.world.local.call(os.stat, path, follow_symlinks=follow_symlinks).st_uid
        except OSError:
            return None

    @rule(client=turns, spec=targets, aim=paths, relative=st.sampled_from([b"", b"..", b"."]))
    def symlink(self, client: int, spec: PathSpec, aim: PathSpec, relative: bytes) -> None:
        self.take_turn(client)
        path = self.path(spec)
        says = self.path(aim)
        if relative:
            added = aim.added if self.dots else ()
            says = relative + b"/" + b"/".join(added or (os.path.basename(says),))
        self.same(lambda fs: fs.symlink(says, path), os.symlink, says, path)
        self.changed()

    @rule(
        client=turns,
        spec=targets,
        mode=permissions,
        kind=st.sampled_from(["IFIFO", "IFSOCK", "IFREG"]),
    )
    def mknod(self, client: int, spec: PathSpec, mode: int, kind: str) -> None:
        self.take_turn(client)
        path, mode = self.path(spec), mode | getattr(stat, f"S_{kind}")
        self.same(lambda fs: fs.mknod(path, mode), os.mknod, path, mode)
        self.changed()

    @rule(client=turns, spec=paths)
    def readlink(self, client: int, spec: PathSpec) -> None:
        self.take_turn(client)
        path = self.path(spec)
        self.same(lambda fs: encoded(fs.readlink(path)), os.readlink, path)

    @rule(client=turns, spec=paths)
    def scandir(self, client: int, spec: PathSpec) -> None:
        self.take_turn(client)
        path = self.path(spec)
        self.same(lambda fs: scan_there(fs, path), local.scan, path)


async def encoded(result: Awaitable[str]) -> bytes:
    return os.fsencode(await result)
