"""The rules of the oracle for what files hold, and for the files that are open."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Awaitable

import hypothesis.strategies as st
from hypothesis.stateful import rule

import benchfs
from benchfs.file_base import parse_mode
from tests.cluster import local_directory as local
from tests.cluster.pair import (
    HANDLES_LEAST,
    HANDLES_MOST,
    NAMES,
    Handle,
    Pair,
    PathSpec,
    few,
    lengths,
    modes,
    paths,
    permissions,
    positions,
    targets,
    turns,
    which_file,
)
from tests.cluster.trees import Seen, seen


class Files(Pair):
    """What is done to the content of files."""

    @rule(client=turns, spec=targets, mode=modes, permissions=permissions, follow=st.booleans())
    def open(self, client: int, spec: PathSpec, mode: str, permissions: int, follow: bool) -> None:
        self.take_turn(client)
        self.open_both(self.path(spec), mode, permissions, follow=follow)

    def open_both(self, path: bytes, mode: str, permissions: int, *, follow: bool) -> None:
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
            followed = follow or not os.path.islink(path)
            if followed and not flags & os.O_EXCL:
                local.refuse_fifo(path, flags)
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

    @rule(which=which_file, size=lengths)
    def read(self, which: int, size: int) -> None:
        handle = self.handle(which)
        if not handle.stale:
            self.same(lambda _: handle.file.read(size), os.read, handle.descriptor, size)

    @rule(which=which_file, size=lengths, offset=positions)
    def pread(self, which: int, size: int, offset: int) -> None:
        handle = self.handle(which)
        if not handle.stale:
            self.same(
                lambda _: handle.file.pread(size, offset),
                os.pread,
                handle.descriptor,
                size,
                offset,
            )

    @rule(which=which_file, size=lengths, seed=few)
    def write(self, which: int, size: int, seed: int) -> None:
        handle = self.handle(which)
        if handle.stale:
            return
        data = content(size, seed)
        outcome = self.same(lambda _: handle.file.write(data), os.write, handle.descriptor, data)
        if outcome.code is None and size:
            self.touched(handle.ino)
            if "a" in handle.mode:  # where the position is then is promised to nobody
                at = self.world.local.call(os.lseek, handle.descriptor, 0, os.SEEK_CUR)
                self.world.runner.run(handle.file.seek(at))

    @rule(which=which_file, size=lengths, offset=positions, seed=few)
    def pwrite(self, which: int, size: int, offset: int, seed: int) -> None:
        handle = self.handle(which)
        if handle.stale or "a" in handle.mode:  # pwrite of Linux ignores the offset in mode a
            return
        data = content(size, seed)
        outcome = self.same(
            lambda _: handle.file.pwrite(data, offset), os.pwrite, handle.descriptor, data, offset
        )
        if outcome.code is None and size:
            self.touched(handle.ino)

    @rule(which=which_file, offset=positions, whence=st.sampled_from([0, 1, 2]), back=st.booleans())
    def seek(self, which: int, offset: int, whence: int, back: bool) -> None:
        handle = self.handle(which)
        if not handle.stale:
            offset = -offset if back else offset
            self.same(
                lambda _: handle.file.seek(offset, whence),
                os.lseek,
                handle.descriptor,
                offset,
                whence,
            )

    @rule(which=which_file, offset=positions, whence=st.sampled_from([os.SEEK_DATA, os.SEEK_HOLE]))
    def seek_sparse(self, which: int, offset: int, whence: int) -> None:
        """Which zeros are a hole is not promised: no other bytes may be said to be in one."""
        handle = self.handle(which)
        if handle.stale:
            return
        found = self.world.local.call(os.fstat, handle.descriptor)
        if offset >= found.st_size:
            self.same(
                lambda _: handle.file.seek(offset, whence),
                os.lseek,
                handle.descriptor,
                offset,
                whence,
            )
            return
        data = local.content_of(handle.descriptor)
        outcome = self.outcome_there(lambda _: handle.file.seek(offset, whence))
        if outcome.code is None:
            at = outcome.value
            assert isinstance(at, int)
            if (at, whence) != (found.st_size, os.SEEK_HOLE):
                assert offset <= at < found.st_size
            hole = data[offset:at] if whence == os.SEEK_DATA else data[at : at + 1]
            self.world.local.call(os.lseek, handle.descriptor, at, os.SEEK_SET)
        else:
            assert (outcome.code, whence) == (errno.ENXIO, os.SEEK_DATA)
            hole = data[offset:]
        assert not hole.strip(b"\0"), f"bytes that are no zeros are in a hole: {outcome}"

    @rule(which=which_file, size=positions)
    def ftruncate(self, which: int, size: int) -> None:
        handle = self.handle(which)
        if handle.stale or handle.mode == "rb":
            return
        self.same(
            lambda _: nothing(handle.file.truncate(size)), os.ftruncate, handle.descriptor, size
        )
        self.touched(handle.ino)

    @rule(
        which=which_file,
        offset=positions,
        size=lengths,
        how=st.sampled_from(["", "keep_size", "punch_hole", "zero_range"]),
    )
    def fallocate(self, which: int, offset: int, size: int, how: str) -> None:
        handle = self.handle(which)
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

    @rule(which=which_file, aim=few, size=lengths, start=positions, offset=positions)
    def copy_range(self, which: int, aim: int, size: int, start: int, offset: int) -> None:
        source = self.handle(which)
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

    @rule(which=which_file)
    def fstat(self, which: int) -> None:
        handle = self.handle(which)

        async def there(_: benchfs.AsyncClient) -> Seen:
            return seen(await handle.file.stat())

        self.same(there, lambda: seen(os.fstat(handle.descriptor)))

    @rule(which=which_file, durable=st.booleans())
    def flush(self, which: int, durable: bool) -> None:
        handle = self.handle(which)
        self.same(lambda _: handle.file.fsync() if durable else handle.file.flush(), lambda: None)

    @rule(which=which_file)
    def close(self, which: int) -> None:
        self.end(self.handle(which))

    def handle(self, which: int) -> Handle:
        """An open file. With fewer than two, one is opened."""
        if len(self.handles) < HANDLES_LEAST:
            self.take_turn(which % self.clients)
            path, mode = self.top + b"/" + NAMES[which % len(NAMES)] + b"0", "w+b"
            if self.files and which % 4:
                path = self.files[which % len(self.files)]
                mode = ("r+b", "w+b", "a+b", "rb", "wb")[which % 5]
            self.open_both(path, mode, 0o644, follow=True)
        if not self.handles:  # it is not allowed, or no file
            self.take_turn(0)
            self.opened += 1
            self.open_both(self.top + b"/new%d" % self.opened, "x+b", 0o666, follow=True)
        handle = self.handles[which % len(self.handles)]
        self.take_turn(handle.client)
        self.last_path = handle.path
        return handle

    @rule(client=turns, spec=targets, size=lengths, seed=few, append=st.booleans())
    def write_whole(self, client: int, spec: PathSpec, size: int, seed: int, append: bool) -> None:
        self.take_turn(client)
        path, data = self.path(spec), content(size, seed)
        mode = "ab" if append else "wb"

        async def there(fs: benchfs.AsyncClient) -> None:
            async with await fs.open(path, mode) as file:
                await file.write(data)

        def here() -> None:
            local.refuse_fifo(path, flags_of(mode))
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
