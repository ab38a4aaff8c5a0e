"""Owner, group and mode of directories, enforced by the nodes for users who do not own the cluster.

The clients state their users, as a client of the cluster's owner may: the cluster runs as the one
who runs the tests.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Awaitable, Callable
from itertools import product

import pytest

import benchfs
from tests.cluster.users import ALICE, BOB, SHARED, denied, home, only_root

pytestmark = only_root


async def test_what_a_user_makes_is_his(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient
) -> None:
    place = await home(fs, ALICE)

    await alice.write_bytes(f"{place}/f", b"1")
    await alice.mkdir(f"{place}/d")
    await alice.symlink("f", f"{place}/s")
    await alice.mkfifo(f"{place}/p")

    for name in "fdsp":
        found = await fs.lstat(f"{place}/{name}")
        assert (found.st_uid, found.st_gid) == (ALICE.uid, ALICE.gid)


async def test_making_and_removing_need_the_directorys_write_permission(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    place = await home(fs, ALICE)
    await alice.write_bytes(f"{place}/f", b"1")
    await alice.mkdir(f"{place}/d")
    other = await home(fs, BOB)
    attempts: list[Callable[[], Awaitable[object]]] = [
        lambda: bob.write_bytes(f"{place}/new", b"1"),
        lambda: bob.mkdir(f"{place}/new"),
        lambda: bob.symlink("f", f"{place}/new"),
        lambda: bob.mkfifo(f"{place}/new"),
        lambda: bob.link(f"{place}/f", f"{place}/new"),
        lambda: bob.unlink(f"{place}/f"),
        lambda: bob.rmdir(f"{place}/d"),
        lambda: bob.rename(f"{place}/f", f"{place}/new"),
        lambda: bob.mkdir("/new"),
    ]

    for attempt in attempts:
        await denied(attempt())

    assert await fs.listdir(place) == ["d", "f"]
    await bob.write_bytes(f"{other}/f", b"1")
    await fs.chmod(place, 0o777)
    for attempt in attempts[:5]:
        await attempt()
        await fs.rename(f"{place}/new", f"{place}/made-{len(await fs.listdir(place))}")
    await bob.unlink(f"{place}/f")


async def test_what_is_there_or_not_is_told_before_what_may_not_be_done(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    place = await home(fs, ALICE)
    await alice.write_bytes(f"{place}/f", b"1")

    for make in (
        bob.mkdir(place),
        bob.mkdir(f"{place}/f"),
        bob.symlink("x", f"{place}/f"),
        bob.mkfifo(f"{place}/f"),
        bob.link(f"{place}/f", f"{place}/f"),
        bob.open(f"{place}/f", "x"),
    ):
        with pytest.raises(FileExistsError):
            await make
    for remove in (
        bob.unlink(f"{place}/no"),
        bob.rmdir(f"{place}/no"),
        bob.rename(f"{place}/no", f"{place}/f"),
    ):
        with pytest.raises(FileNotFoundError):
            await remove
    await fs.chmod(place, 0o777)
    await bob.makedirs(f"{place}/a/b")


async def test_who_may_not_look_names_up_is_told_that_of_impossible_ones_too(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    place = await home(fs, ALICE, 0o600)
    await alice.mkdir(open_place := await home(fs, BOB, 0o777) + "/d")
    long = "n" * 256

    for ask in (
        bob.stat(f"{place}/{long}"),
        bob.stat(f"{place}/{long}/f"),
        bob.mkdir(f"{place}/{long}"),
        bob.open(f"{place}/{long}", "w"),
        bob.rename(f"{place}/no", f"{open_place}/f"),
        bob.rename(f"{open_place}/no", f"{place}/f"),
        bob.rename(f"{open_place}/no/", f"{place}/f"),
        bob.rename(f"{place}/no", f"{open_place}/no/f"),
        bob.rename(f"{place}/no", f"{open_place}", replace=False),
    ):
        await denied(ask)
    await fs.chmod(place, 0o711)
    for tell in (bob.stat(f"{place}/{long}"), bob.mkdir(f"{place}/{long}")):
        with pytest.raises(OSError, match="name of 256 bytes"):
            await tell


async def test_who_may_not_open_it_is_told_that_before_what_it_is(
    fs: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    await fs.mkdir("/d", 0o700)
    await fs.mkfifo("/fifo", 0o600)
    await fs.mknod("/socket", stat.S_IFSOCK | 0o600)

    for path in ("/d", "/d/", "/fifo", "/socket"):
        await denied(bob.open(path))
    for path, mode in product(("/fifo", "/socket"), ("wb", "r+b", "ab")):
        await denied(bob.open(path, mode))
    for mode in ("wb", "r+b", "ab"):
        with pytest.raises(IsADirectoryError):
            await bob.open("/d", mode)
    with pytest.raises(IsADirectoryError):
        await bob.truncate("/d", 0)
    for path in ("/fifo", "/socket"):
        with pytest.raises(OSError) as failure:
            await bob.truncate(path, 0)
        assert failure.value.errno == errno.EINVAL


async def test_who_may_not_read_or_write_it_is_told_that_before_an_attribute_s_name_is_looked_at(
    fs: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    await fs.write_bytes("/f", b"1")
    await fs.chmod("/f", 0o600)
    await fs.mkdir("/sticky")
    await fs.chmod("/sticky", 0o1777)

    for name in ("user.", "other.a", "user.a"):
        await denied(bob.getxattr("/f", name))
        await denied(bob.setxattr("/f", name, b""))
        await denied(bob.removexattr("/f", name))
    for name in ("user.", "user.a"):
        await denied(bob.setxattr("/sticky", name, b""), errno.EPERM)
    for path, name in (("/sticky", "other.a"), ("/f", "system.posix_acl_access")):
        with pytest.raises(OSError) as failure:
            await bob.setxattr(path, name, b"")
        assert failure.value.errno == errno.EOPNOTSUPP


async def test_looking_up_needs_search_and_listing_needs_read_permission(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    place = await home(fs, ALICE)
    await alice.write_bytes(f"{place}/f", b"1")

    await fs.chmod(place, 0o711)
    assert await bob.read_bytes(f"{place}/f") == b"1"
    await denied(bob.listdir(place))

    await fs.chmod(place, 0o744)
    assert await bob.listdir(place) == ["f"]
    await denied(bob.read_bytes(f"{place}/f"))
    await denied(bob.stat(f"{place}/f"))
    await denied(bob.stat(f"{place}/none"))
    (entry,) = [entry async for entry in bob.scandir(place)]
    await denied(entry.stat())


async def test_a_closed_directory_on_the_way_closes_what_is_below(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    place = await home(fs, ALICE)
    await alice.mkdir(f"{place}/in")
    await alice.write_bytes(f"{place}/in/f", b"1")
    await fs.symlink(f"{place}/in/f", "/s")
    await fs.chmod(place, 0o700)

    await denied(bob.read_bytes(f"{place}/in/f"))
    await denied(bob.read_bytes("/s"))
    assert await alice.read_bytes("/s") == b"1"


async def test_in_a_sticky_directory_everybody_removes_his_own(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    await fs.mkdir("/tmp")
    await fs.chmod("/tmp", 0o1777)
    await alice.write_bytes("/tmp/a", b"1")
    await alice.mkdir("/tmp/d")
    await bob.write_bytes("/tmp/b", b"2")

    await denied(bob.unlink("/tmp/a"), errno.EPERM)
    await denied(bob.rmdir("/tmp/d"), errno.EPERM)
    await denied(bob.rename("/tmp/a", "/tmp/c"), errno.EPERM)
    await denied(bob.rename("/tmp/d", "/tmp/e"), errno.EPERM)
    await denied(bob.rename("/tmp/b", "/tmp/a"), errno.EPERM)

    await alice.rename("/tmp/a", "/tmp/c")
    await alice.rename("/tmp/d", "/tmp/e")
    await alice.unlink("/tmp/c")
    await alice.rmdir("/tmp/e")
    await fs.unlink("/tmp/b")


async def test_in_a_sticky_directory_a_link_belongs_to_its_files_owner(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    place = await home(fs, ALICE)
    await alice.write_bytes(f"{place}/f", b"1")
    await fs.mkdir("/tmp")
    await fs.chmod("/tmp", 0o1777)
    for number in range(8):
        await fs.mkdir(f"/tmp/{number}")
        await fs.chmod(f"/tmp/{number}", 0o1777)
        await alice.link(f"{place}/f", f"/tmp/{number}/l")

        await denied(bob.unlink(f"/tmp/{number}/l"), errno.EPERM)
        await alice.unlink(f"/tmp/{number}/l")


async def test_a_setgid_directory_gives_its_group(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, carol: benchfs.AsyncClient
) -> None:
    await fs.mkdir("/shared")
    await fs.chown("/shared", -1, SHARED)
    await fs.chmod("/shared", 0o2777)

    await alice.mkdir("/shared/d")
    await alice.write_bytes("/shared/d/f", b"1")

    found = await fs.stat("/shared/d")
    assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (SHARED, 0o2755)
    assert (await fs.stat("/shared/d/f")).st_gid == SHARED
    await carol.mknod("/shared/tool", stat.S_IFREG | 0o2755)
    assert stat.S_IMODE((await fs.stat("/shared/tool")).st_mode) == 0o755
