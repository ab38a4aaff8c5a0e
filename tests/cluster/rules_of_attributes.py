"""The rules of the oracle for attributes, extended ones too."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

import hypothesis.strategies as st
from hypothesis.stateful import rule

import benchfs
from tests.cluster.pair import (
    Pair,
    PathSpec,
    attributes,
    groups,
    owners,
    paths,
    permissions,
    times,
    turns,
)
from tests.cluster.rules_of_files import content
from tests.cluster.trees import SET_BY_TEST_NS, Seen, seen


class Attributes(Pair):
    """What is done to attributes."""

    @rule(client=turns, spec=paths, follow=st.booleans())
    def stat(self, client: int, spec: PathSpec, follow: bool) -> None:
        self.take_turn(client)
        path = self.path(spec)

        async def there(fs: benchfs.AsyncClient) -> Seen:
            return seen(await fs.stat(path, follow_symlinks=follow))

        self.same(there, lambda: seen(os.stat(path, follow_symlinks=follow)))

    @rule(client=turns, spec=paths, mode=permissions)
    def chmod(self, client: int, spec: PathSpec, mode: int) -> None:
        self.take_turn(client)
        path = self.path(spec)
        self.same(lambda fs: fs.chmod(path, mode), os.chmod, path, mode)

    @rule(client=turns, spec=paths, uid=owners, gid=groups, follow=st.booleans())
    def chown(self, client: int, spec: PathSpec, uid: int, gid: int, follow: bool) -> None:
        self.take_turn(client)
        path = self.path(spec)
        if uid == gid == -1:
            return  # changes nothing here, and takes setuid from the file on Linux
        self.same(
            lambda fs: fs.chown(path, uid, gid, follow_symlinks=follow),
            os.chown,
            path,
            uid,
            gid,
            follow_symlinks=follow,
        )

    @rule(client=turns, spec=paths, atime=times, mtime=times, follow=st.booleans())
    def utime(self, client: int, spec: PathSpec, atime: int, mtime: int, follow: bool) -> None:
        self.take_turn(client)
        path, ns = self.path(spec), (atime, mtime)

        async def there(fs: benchfs.AsyncClient) -> tuple[int, ...]:
            await fs.utime(path, ns=ns, follow_symlinks=follow)
            return times_of(await fs.stat(path, follow_symlinks=follow))

        def here() -> tuple[int, ...]:
            os.utime(path, ns=ns, follow_symlinks=follow)
            return times_of(os.stat(path, follow_symlinks=follow))

        def times_of(found: os.stat_result) -> tuple[int, ...]:
            # a symbolic link is read by every look-up on the way
            if stat.S_ISLNK(found.st_mode):
                return (found.st_mtime_ns,)
            # that somebody has read before may be told after
            told_late = found.st_atime_ns >= SET_BY_TEST_NS
            return atime if told_late else found.st_atime_ns, found.st_mtime_ns

        self.same(there, here)

    @rule(client=turns, spec=paths, mode=st.integers(0, 7), follow=st.booleans())
    def access(self, client: int, spec: PathSpec, mode: int, follow: bool) -> None:
        self.take_turn(client)
        path = self.path(spec)
        self.same(
            lambda fs: fs.access(path, mode, follow_symlinks=follow),
            os.access,
            path,
            mode,
            follow_symlinks=follow,
        )

    @rule(
        client=turns,
        spec=paths,
        name=attributes,
        size=st.sampled_from([0, 1, 100]),
        flags=st.sampled_from([0, os.XATTR_CREATE, os.XATTR_REPLACE]),
        follow=st.booleans(),
    )
    def setxattr(  # noqa: PLR0917 (one argument a strategy)
        self, client: int, spec: PathSpec, name: bytes, size: int, flags: int, follow: bool
    ) -> None:
        self.take_turn(client)
        path, value = self.path(spec), content(size, 0)
        self.same(
            lambda fs: fs.setxattr(path, name, value, flags, follow_symlinks=follow),
            os.setxattr,
            path,
            name,
            value,
            flags,
            follow_symlinks=follow,
        )

    @rule(client=turns, spec=paths, name=attributes, remove=st.booleans(), follow=st.booleans())
    def xattr(self, client: int, spec: PathSpec, name: bytes, remove: bool, follow: bool) -> None:
        self.take_turn(client)
        path = self.path(spec)
        here: Callable[..., object] = os.removexattr if remove else os.getxattr

        async def there(fs: benchfs.AsyncClient) -> object:
            ask = fs.removexattr if remove else fs.getxattr
            return await ask(path, name, follow_symlinks=follow)

        self.same(there, here, path, name, follow_symlinks=follow)
