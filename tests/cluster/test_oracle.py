"""The same random operations on BenchFS, by several clients in turns, and on a local directory.

Results, errno and, at the end, the whole trees must be the same. What may differ is what
docs/SEMANTICS.md says, and is left out where it says so below.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import random
import stat
from collections.abc import Awaitable, Callable, Iterator
from typing import cast

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

import benchfs
from benchfs.file_base import parse_mode
from tests.cluster import local_directory as local
from tests.cluster.local_directory import LocalDirectory
from tests.cluster.pair import (
    HANDLES_MOST,
    SOMEBODY,
    TOO_LONG,
    Handle,
    Pair,
    PathSpec,
    World,
    attributes,
    few,
    lengths,
    modes,
    owners,
    paths,
    permissions,
    positions,
    targets,
    times,
    turns,
)
from tests.cluster.trees import Seen, scan_there, seen

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the root directory")

CHUNK = 65_536
STEPS = 50
PARTS = 4  # which several test processes share
EXAMPLES = 150  # a part: some 30,000 operations in all
THOROUGH_EXAMPLES = 5_000


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = LocalDirectory(tmp_path_factory.mktemp("oracle"))
    with benchfs.LocalCluster(nodes=3, chunk_size=CHUNK) as cluster, asyncio.Runner() as runner:
        clients = [
            benchfs.AsyncClient(cluster.url, attribute_seconds=0, local_reads=False),
            benchfs.AsyncClient(cluster.url, attribute_seconds=0),
            benchfs.AsyncClient(cluster.url),  # remembers directories
            benchfs.AsyncClient(cluster.url, attribute_seconds=0, user=SOMEBODY),
        ]
        for client in clients:
            runner.run(client.connect())
        yield World(runner, clients, directory)
        for client in clients:
            runner.run(client.close())
    directory.close()


class Files(Pair):
    """What is done to the content of files."""

    @rule(client=turns, spec=targets, mode=modes, permissions=permissions, follow=st.booleans())
    def open(self, client: int, spec: PathSpec, mode: str, permissions: int, follow: bool) -> None:
        self.take_turn(client)
        path = self.path(spec)
        if len(self.handles) >= HANDLES_MOST:
            self.end(self.handles[0])
        opened: list[benchfs.AsyncFile] = []

        async def there(fs: benchfs.AsyncClient) -> None:
            opened.append(
                await fs.open(path, mode, permissions=permissions, follow_symlinks=follow)
            )

        descriptors: list[int] = []

        def here() -> None:
            flags = flags_of(mode) | (0 if follow else os.O_NOFOLLOW)
            if not flags & os.O_EXCL and local.is_fifo(path) and (follow or not is_link(path)):
                raise OSError(errno.EOPNOTSUPP, "a FIFO")
            descriptor = local.open_file(path, flags, permissions)
            descriptors.append(descriptor)
            if "a" in mode:
                os.lseek(descriptor, 0, os.SEEK_END)  # as open() of Python

        if self.same(there, here).code is None:
            (file,), (descriptor,) = opened, descriptors
            ino = self.world.local.call(os.fstat, descriptor).st_ino
            self.handles.append(Handle(self.turn, file, descriptor, ino, mode, path))
            if "w" in mode:
                self.touched(ino)
            self.changed()

    @precondition(lambda self: self.handles)
    @rule(which=few, size=lengths)
    def read(self, which: int, size: int) -> None:
        handle = self.turn_of(which)
        if not handle.stale:
            self.same(lambda _: handle.file.read(size), os.read, handle.descriptor, size)

    @precondition(lambda self: self.handles)
    @rule(which=few, size=lengths, offset=positions)
    def pread(self, which: int, size: int, offset: int) -> None:
        handle = self.turn_of(which)
        if not handle.stale:
            self.same(
                lambda _: handle.file.pread(size, offset),
                os.pread,
                handle.descriptor,
                size,
                offset,
            )

    @precondition(lambda self: self.handles)
    @rule(which=few, size=lengths, seed=few)
    def write(self, which: int, size: int, seed: int) -> None:
        handle = self.turn_of(which)
        if handle.stale:
            return
        data = content(size, seed)
        outcome = self.same(lambda _: handle.file.write(data), os.write, handle.descriptor, data)
        if outcome.code is None and size:
            self.touched(handle.ino)

    @precondition(lambda self: self.handles)
    @rule(which=few, size=lengths, offset=positions, seed=few)
    def pwrite(self, which: int, size: int, offset: int, seed: int) -> None:
        handle = self.turn_of(which)
        if handle.stale or "a" in handle.mode:  # pwrite of Linux ignores the offset in mode a
            return
        data = content(size, seed)
        outcome = self.same(
            lambda _: handle.file.pwrite(data, offset), os.pwrite, handle.descriptor, data, offset
        )
        if outcome.code is None and size:
            self.touched(handle.ino)

    @precondition(lambda self: self.handles)
    @rule(which=few, offset=positions, whence=st.sampled_from([0, 1, 2]), back=st.booleans())
    def seek(self, which: int, offset: int, whence: int, back: bool) -> None:
        handle = self.turn_of(which)
        if not handle.stale:
            offset = -offset if back else offset
            self.same(
                lambda _: handle.file.seek(offset, whence),
                os.lseek,
                handle.descriptor,
                offset,
                whence,
            )

    @precondition(lambda self: self.handles)
    @rule(which=few, size=positions)
    def ftruncate(self, which: int, size: int) -> None:
        handle = self.turn_of(which)
        if handle.stale or handle.mode == "rb":
            return
        self.same(
            lambda _: nothing(handle.file.truncate(size)), os.ftruncate, handle.descriptor, size
        )
        self.touched(handle.ino)

    @precondition(lambda self: self.handles)
    @rule(
        which=few,
        offset=positions,
        size=lengths,
        how=st.sampled_from(["", "keep_size", "punch_hole", "zero_range"]),
    )
    def fallocate(self, which: int, offset: int, size: int, how: str) -> None:
        handle = self.turn_of(which)
        if handle.stale:
            return
        self.same(
            lambda _: handle.file.fallocate(offset, size, **({how: True} if how else {})),
            local.fallocate,
            handle.descriptor,
            how,
            offset,
            size,
        )
        self.touched(handle.ino)

    @precondition(lambda self: self.handles)
    @rule(which=few, aim=few, size=lengths, start=positions, offset=positions)
    def copy_range(self, which: int, aim: int, size: int, start: int, offset: int) -> None:
        source = self.turn_of(which)
        others = [handle for handle in self.handles if handle.client == source.client]
        goal = others[aim % len(others)]
        if source.stale or goal.stale:
            return
        self.same(
            lambda fs: fs.copy_file_range(source.file, goal.file, size, start, offset),
            os.copy_file_range,
            source.descriptor,
            goal.descriptor,
            size,
            start,
            offset,
        )
        self.touched(goal.ino)

    @precondition(lambda self: self.handles)
    @rule(which=few)
    def fstat(self, which: int) -> None:
        handle = self.turn_of(which)

        async def there(_: benchfs.AsyncClient) -> Seen:
            return seen(await handle.file.stat())

        self.same(there, lambda: seen(os.fstat(handle.descriptor)))

    @precondition(lambda self: self.handles)
    @rule(which=few, durable=st.booleans())
    def flush(self, which: int, durable: bool) -> None:
        handle = self.turn_of(which)
        self.same(lambda _: handle.file.fsync() if durable else handle.file.flush(), lambda: None)

    @precondition(lambda self: self.handles)
    @rule(which=few, offset=positions)
    def find_data_and_hole(self, which: int, offset: int) -> None:
        """Which blocks are data is up to each file system; what is skipped has to be zeros."""
        handle = self.turn_of(which)
        if handle.stale:
            return
        self.world.runner.run(handle.file.flush())
        position = handle.file.tell()
        size = os.fstat(handle.descriptor).st_size
        data = self.outcome_there(lambda _: handle.file.seek(offset, os.SEEK_DATA))
        hole = self.outcome_there(lambda _: handle.file.seek(offset, os.SEEK_HOLE))
        self.world.runner.run(handle.file.seek(position))
        inside = offset < size
        assert hole.code == (None if inside else errno.ENXIO)
        assert inside or data.code == errno.ENXIO
        if inside:
            assert data.code in {None, errno.ENXIO}
            found = size if data.code else cast("int", data.value)
            assert offset <= found <= size
            assert offset <= cast("int", hole.value) <= size
            with open(f"/proc/self/fd/{handle.descriptor}", "rb") as again:  # it may be write-only
                assert not any(os.pread(again.fileno(), found - offset, offset))

    @precondition(lambda self: self.handles)
    @rule(which=few)
    def close(self, which: int) -> None:
        self.end(self.turn_of(which))

    @rule(client=turns, spec=targets, size=lengths, seed=few, append=st.booleans())
    def write_whole(self, client: int, spec: PathSpec, size: int, seed: int, append: bool) -> None:
        self.take_turn(client)
        path, data = self.path(spec), content(size, seed)
        mode = "ab" if append else "wb"

        async def there(fs: benchfs.AsyncClient) -> None:
            async with await fs.open(path, mode) as file:
                await file.write(data)

        def here() -> None:
            if local.is_fifo(path):
                raise OSError(errno.EOPNOTSUPP, "a FIFO")
            descriptor = local.open_file(path, flags_of(mode))
            os.write(descriptor, data)
            os.close(descriptor)

        if self.same(there, here).code is None:
            self.touched(self.local_ino(path))
            self.changed()

    @rule(client=turns, spec=paths)
    def read_whole(self, client: int, spec: PathSpec) -> None:
        self.take_turn(client)
        path = self.path(spec)
        self.same(lambda fs: fs.read_bytes(path), local.read_file, path)

    @rule(client=turns, spec=paths, size=positions)
    def truncate(self, client: int, spec: PathSpec, size: int) -> None:
        self.take_turn(client)
        path = self.path(spec)
        if self.same(lambda fs: fs.truncate(path, size), os.truncate, path, size).code is None:
            self.touched(self.local_ino(path))


class Locks(Pair):
    """Locks, each of which belongs to one open file."""

    @precondition(lambda self: self.handles)
    @rule(which=few, offset=positions, size=lengths, exclusive=st.booleans())
    def lock(self, which: int, offset: int, size: int, exclusive: bool) -> None:
        handle = self.turn_of(which)
        self.same(
            lambda _: handle.file.lock(offset, size, exclusive=exclusive, timeout=0),
            local.lock,
            handle.descriptor,
            fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK,
            offset,
            size,
        )

    @precondition(lambda self: self.handles)
    @rule(which=few, offset=positions, size=lengths)
    def unlock(self, which: int, offset: int, size: int) -> None:
        handle = self.turn_of(which)
        self.same(
            lambda _: handle.file.unlock(offset, size),
            local.lock,
            handle.descriptor,
            fcntl.F_UNLCK,
            offset,
            size,
        )

    @precondition(lambda self: self.handles)
    @rule(which=few, how=st.sampled_from([fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_UN]))
    def flock(self, which: int, how: int) -> None:
        handle = self.turn_of(which)
        how |= fcntl.LOCK_NB
        self.same(lambda _: handle.file.flock(how), fcntl.flock, handle.descriptor, how)


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
        self.same(
            lambda fs: fs.link(old, new, follow_symlinks=follow),
            local.link,
            old,
            new,
            follow_symlinks=follow,
        )
        self.changed()

    @rule(client=turns, spec=targets, aim=paths, relative=st.sampled_from([b"", b"..", b"."]))
    def symlink(self, client: int, spec: PathSpec, aim: PathSpec, relative: bytes) -> None:
        self.take_turn(client)
        path = self.path(spec)
        says = self.path(aim)
        if relative:
            says = relative + b"/" + b"/".join(aim.added or (os.path.basename(says),))
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

    @rule(client=turns, spec=paths, uid=owners, gid=owners, follow=st.booleans())
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
            is_link = stat.S_ISLNK(found.st_mode)
            return (found.st_mtime_ns,) if is_link else (found.st_atime_ns, found.st_mtime_ns)

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
            effective_ids=True,
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


class Everything(Files, Locks, Namespace, Attributes):
    """All of it."""


def is_link(path: bytes) -> bool:
    return os.path.islink(path)


def flags_of(mode: str) -> int:
    how = parse_mode(mode)
    flags = os.O_RDWR if how.read and how.write else os.O_WRONLY if how.write else os.O_RDONLY
    for wanted, flag in (
        (how.create, os.O_CREAT),
        (how.exclusive, os.O_EXCL),
        (how.truncate, os.O_TRUNC),
        (how.append, os.O_APPEND),
    ):
        flags |= flag if wanted else 0
    return flags


def content(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


async def nothing(result: Awaitable[object]) -> None:
    await result


async def encoded(result: Awaitable[str]) -> bytes:
    return os.fsencode(await result)


# ------------------------------------------------------------ the test


@pytest.mark.timeout(3 * 3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_the_same_operations_have_the_same_results_as_on_a_local_directory(
    world: World, part: int
) -> None:
    Everything.world = world
    thorough = settings().max_examples > settings.get_profile("ci").max_examples
    run_state_machine_as_test(
        Everything,
        settings=settings(
            max_examples=THOROUGH_EXAMPLES if thorough else EXAMPLES,
            stateful_step_count=STEPS,
            suppress_health_check=list(HealthCheck),
            # Making a failure shorter takes minutes, and its steps are printed in any case.
            phases=list(Phase) if thorough else [Phase.explicit, Phase.reuse, Phase.generate],
        ),
    )
    print(f"{world.steps} operations")
