"""Symbolic links, hard links and special files of a real cluster."""

from __future__ import annotations

import errno
import os
import stat

import pytest

import benchfs
from benchfs.errors import BenchFSError
from benchfs.inode import home_group


async def directory_elsewhere(fs: benchfs.AsyncClient, path: str) -> str:
    """A directory below `path` whose home is another group than that of the root."""
    await fs.mkdir(path)
    for number in range(100):
        inside = f"{path}/{number}"
        await fs.mkdir(inside)
        if home_group((await fs.stat(inside)).st_ino):
            return inside
    raise AssertionError("all directories are in one group")


def code_of(failure: pytest.ExceptionInfo[BenchFSError]) -> int | None:
    return failure.value.errno


# ----------------------------------------------------------------------- symbolic links


async def test_a_symbolic_link_leads_to_a_file(fs: benchfs.AsyncClient) -> None:
    await fs.write_bytes("/f", b"content")
    await fs.symlink("f", "/s")

    assert await fs.readlink("/s") == "f"
    assert await fs.read_bytes("/s") == b"content"
    assert (await fs.stat("/s")).st_ino == (await fs.stat("/f")).st_ino
    link = await fs.lstat("/s")
    assert stat.S_ISLNK(link.st_mode)
    assert (link.st_size, link.st_ino) == (1, (await fs.stat("/s", follow_symlinks=False)).st_ino)
    assert await fs.islink("/s")
    assert not await fs.islink("/f")


async def test_relative_targets_start_at_the_links_directory(fs: benchfs.AsyncClient) -> None:
    await fs.makedirs("/a/b")
    await fs.makedirs("/a/c")
    await fs.write_bytes("/a/c/f", b"1")
    await fs.symlink("../c", "/a/b/s")
    await fs.symlink("/a/b", "/absolute")

    assert await fs.read_bytes("/a/b/s/f") == b"1"
    assert await fs.read_bytes("/absolute/s/f") == b"1"
    # `..` after a link leaves the directory that it led to
    assert await fs.listdir("/absolute/s/..") == ["b", "c"]
    assert await fs.listdir("/absolute/..") == ["b", "c"]


async def test_a_link_to_a_name_that_is_not_there_makes_it(fs: benchfs.AsyncClient) -> None:
    await fs.mkdir("/d")
    await fs.symlink("d/new", "/s")
    assert not await fs.exists("/s")
    assert await fs.lexists("/s")
    with pytest.raises(FileNotFoundError):
        await fs.read_bytes("/s")
    with pytest.raises(FileExistsError):
        await fs.open("/s", "x")

    await fs.write_bytes("/s", b"1")

    assert await fs.read_bytes("/d/new") == b"1"
    assert await fs.islink("/s")


async def test_a_loop_of_links_is_eloop(fs: benchfs.AsyncClient) -> None:
    await fs.symlink("two", "/one")
    await fs.symlink("one", "/two")
    for follow in (fs.stat("/one"), fs.open("/one"), fs.listdir("/one/x"), fs.chmod("/two", 0)):
        with pytest.raises(BenchFSError) as failure:
            await follow
        assert code_of(failure) == errno.ELOOP
    assert not await fs.exists("/one")


@pytest.mark.parametrize(("links", "leads"), [(40, True), (41, False)])
async def test_forty_links_are_followed(fs: benchfs.AsyncClient, links: int, leads: bool) -> None:
    await fs.write_bytes("/0", b"x")
    for number in range(links):
        await fs.symlink(str(number), f"/{number + 1}")

    assert await fs.exists(f"/{links}") is leads


async def test_a_link_that_is_not_to_be_followed_is_not_opened(fs: benchfs.AsyncClient) -> None:
    await fs.write_bytes("/f", b"1")
    await fs.symlink("f", "/s")
    with pytest.raises(BenchFSError) as failure:
        await fs.open("/s", follow_symlinks=False)
    assert code_of(failure) == errno.ELOOP
    await (await fs.open("/f", follow_symlinks=False)).close()


async def test_a_slash_at_the_end_asks_for_a_directory(fs: benchfs.AsyncClient) -> None:
    await fs.mkdir("/d")
    await fs.write_bytes("/f", b"1")
    await fs.symlink("d", "/to-d")
    await fs.symlink("f", "/to-f")
    await fs.symlink("f/", "/to-f-slash")

    assert stat.S_ISDIR((await fs.lstat("/to-d/")).st_mode)
    for path in ("/to-f/", "/f/", "/to-f-slash"):
        for ask in (fs.stat(path), fs.open(path)):
            with pytest.raises(NotADirectoryError):
                await ask
    for path, mode in (("/to-d/", "rb"), ("/new/", "xb"), ("/new/", "wb")):
        with pytest.raises(IsADirectoryError):
            await fs.open(path, mode)
    for refuse in (fs.unlink("/to-d/"), fs.rmdir("/to-d/"), fs.rename("/to-d/", "/x")):
        with pytest.raises(NotADirectoryError):
            await refuse
    for make in (fs.symlink("x", "/new/"), fs.link("/f", "/new/"), fs.mkfifo("/new/")):
        with pytest.raises(FileNotFoundError):
            await make


async def test_removing_and_renaming_act_on_the_link(fs: benchfs.AsyncClient) -> None:
    await fs.mkdir("/d")
    await fs.write_bytes("/d/f", b"1")
    await fs.symlink("d", "/s")
    with pytest.raises(NotADirectoryError):
        await fs.rmdir("/s")

    await fs.rename("/s", "/t")
    assert await fs.readlink("/t") == "d"
    await fs.unlink("/t")

    assert await fs.listdir("/") == ["d"]
    assert await fs.listdir("/d") == ["f"]


async def test_removing_a_tree_follows_no_links(fs: benchfs.AsyncClient) -> None:
    await fs.mkdir("/keep")
    await fs.write_bytes("/keep/f", b"1")
    await fs.mkdir("/tree")
    await fs.symlink("/keep", "/tree/s")
    await fs.symlink("/keep", "/s")

    await fs.rmtree("/tree")
    with pytest.raises(NotADirectoryError):
        await fs.rmtree("/s")

    assert await fs.listdir("/") == ["keep", "s"]
    assert await fs.listdir("/keep") == ["f"]


async def test_attributes_are_set_through_a_link_unless_told_otherwise(
    fs: benchfs.AsyncClient,
) -> None:
    await fs.write_bytes("/f", b"1")
    await fs.symlink("f", "/s")

    await fs.chmod("/s", 0o600)
    await fs.utime("/s", ns=(1, 2), follow_symlinks=False)
    await fs.lchown("/s", 7, 8)

    assert stat.S_IMODE((await fs.stat("/f")).st_mode) == 0o600
    link, file = await fs.lstat("/s"), await fs.stat("/f")
    assert (link.st_uid, link.st_gid, link.st_mtime_ns) == (7, 8, 2)
    assert file.st_uid == os.geteuid()
    assert file.st_mtime_ns != 2
    with pytest.raises(BenchFSError) as failure:
        await fs.chmod("/s", 0o600, follow_symlinks=False)
    assert code_of(failure) == errno.EOPNOTSUPP


async def test_a_replaced_link_is_noticed(cluster: benchfs.LocalCluster) -> None:
    async with (
        benchfs.AsyncClient(cluster.url, attribute_seconds=60) as one,
        benchfs.AsyncClient(cluster.url) as other,
    ):
        await one.mkdir("/old")
        await one.symlink("old", "/s")
        await one.write_bytes("/s/f", b"1")
        await other.mkdir("/new")
        await other.write_bytes("/new/g", b"2")
        await other.unlink("/s")
        await other.symlink("new", "/s")

        assert await one.read_bytes("/s/g") == b"2"
        await other.rmtree("/")


async def test_a_link_that_the_client_itself_replaced_leads_elsewhere_at_once(
    cluster: benchfs.LocalCluster,
) -> None:
    async with benchfs.AsyncClient(cluster.url, attribute_seconds=60) as fs:
        for name in ("one", "two"):
            await fs.mkdir(f"/{name}")
            await fs.write_bytes(f"/{name}/f", name.encode())
        await fs.symlink("one", "/s")
        assert await fs.read_bytes("/s/f") == b"one"

        await fs.unlink("/s")
        await fs.symlink("two", "/s")

        assert await fs.read_bytes("/s/f") == b"two"
        await fs.rmtree("/")


@pytest.mark.parametrize(
    ("target", "code"),
    [("", errno.ENOENT), ("a\0b", errno.EINVAL), ("a/" * 3000, errno.ENAMETOOLONG)],
)
async def test_a_target_that_cannot_be_is_refused(
    fs: benchfs.AsyncClient, target: str, code: int
) -> None:
    with pytest.raises(BenchFSError) as failure:
        await fs.symlink(target, "/s")
    assert code_of(failure) == code


async def test_only_links_are_read_as_such(fs: benchfs.AsyncClient) -> None:
    await fs.write_bytes("/f", b"1")
    with pytest.raises(BenchFSError) as failure:
        await fs.readlink("/f")
    assert code_of(failure) == errno.EINVAL
    with pytest.raises(FileNotFoundError):
        await fs.readlink("/no")
    with pytest.raises(FileExistsError):
        await fs.symlink("x", "/f")


async def test_listing_tells_links_from_what_they_lead_to(fs: benchfs.AsyncClient) -> None:
    await fs.mkdir("/d")
    await fs.symlink("d", "/s")

    entries = {entry.name: entry async for entry in fs.scandir("/")}

    assert entries["s"].is_symlink()
    assert not entries["s"].is_dir()
    assert stat.S_ISDIR((await entries["s"].stat()).st_mode)
    assert stat.S_ISLNK((await entries["s"].stat(follow_symlinks=False)).st_mode)


# --------------------------------------------------------------------------- hard links


@pytest.mark.parametrize("elsewhere", [False, True], ids=["one-group", "two-groups"])
async def test_a_hard_link_is_the_same_file(fs: benchfs.AsyncClient, elsewhere: bool) -> None:
    place = await directory_elsewhere(fs, "/d") if elsewhere else ""
    await fs.write_bytes("/f", b"content")

    await fs.link("/f", f"{place}/g")

    one, two = await fs.stat("/f"), await fs.stat(f"{place}/g")
    assert one == two
    assert one.st_nlink == 2
    await fs.write_bytes(f"{place}/g", b"new")
    assert await fs.read_bytes("/f") == b"new"
    await fs.unlink("/f")
    assert await fs.read_bytes(f"{place}/g") == b"new"
    assert (await fs.stat(f"{place}/g")).st_nlink == 1
    await fs.unlink(f"{place}/g")
    with pytest.raises(FileNotFoundError):
        await fs.stat(f"{place}/g")


@pytest.mark.parametrize("elsewhere", [False, True], ids=["one-group", "two-groups"])
async def test_the_name_made_last_may_go_first(fs: benchfs.AsyncClient, elsewhere: bool) -> None:
    place = await directory_elsewhere(fs, "/d") if elsewhere else ""
    await fs.write_bytes("/f", b"content")
    await fs.link("/f", f"{place}/g")

    await fs.unlink(f"{place}/g")

    assert await fs.read_bytes("/f") == b"content"
    assert (await fs.stat("/f")).st_nlink == 1


@pytest.mark.parametrize("elsewhere", [False, True], ids=["one-group", "two-groups"])
async def test_what_cannot_be_linked_is_refused(fs: benchfs.AsyncClient, elsewhere: bool) -> None:
    place = await directory_elsewhere(fs, "/d") if elsewhere else ""
    await fs.mkdir("/e")
    await fs.write_bytes("/f", b"1")
    await fs.write_bytes(f"{place}/taken", b"2")
    with pytest.raises(FileExistsError):
        await fs.link("/f", f"{place}/taken")
    with pytest.raises(FileNotFoundError):
        await fs.link("/no", f"{place}/x")
    with pytest.raises(FileNotFoundError):
        await fs.link("/f", f"{place}/no/x")
    with pytest.raises(PermissionError) as failure:
        await fs.link("/e", f"{place}/x")
    assert failure.value.errno == errno.EPERM
    assert (await fs.stat("/f")).st_nlink == 1


async def test_many_names_in_many_groups_are_counted(fs: benchfs.AsyncClient) -> None:
    await fs.write_bytes("/f", b"1")
    for number in range(12):
        await fs.mkdir(f"/d{number}")
        for name in ("a", "b"):
            await fs.link("/f", f"/d{number}/{name}")
    assert (await fs.stat("/f")).st_nlink == 25
    for number in range(12):
        await fs.rmtree(f"/d{number}")
    assert (await fs.stat("/f")).st_nlink == 1


async def test_a_symbolic_link_can_be_linked_or_what_it_leads_to(fs: benchfs.AsyncClient) -> None:
    await fs.write_bytes("/f", b"1")
    await fs.symlink("f", "/s")

    await fs.link("/s", "/file")
    await fs.link("/s", "/again", follow_symlinks=False)

    assert (await fs.lstat("/file")).st_ino == (await fs.stat("/f")).st_ino
    assert await fs.readlink("/again") == "f"


async def test_a_name_elsewhere_is_renamed_as_any_other(fs: benchfs.AsyncClient) -> None:
    place = await directory_elsewhere(fs, "/d")
    await fs.write_bytes("/f", b"1")
    await fs.link("/f", f"{place}/g")

    await fs.rename(f"{place}/g", f"{place}/h")
    await fs.unlink(f"{place}/h")

    assert (await fs.stat("/f")).st_nlink == 1


# ------------------------------------------------------------------------ special files


async def test_fifos_and_sockets_are_names_that_cannot_be_opened(
    fs: benchfs.AsyncClient,
) -> None:
    await fs.mkfifo("/p", 0o640)
    await fs.mknod("/q", stat.S_IFSOCK | 0o600)

    assert stat.filemode((await fs.stat("/p")).st_mode) == "prw-r-----"
    assert stat.filemode((await fs.stat("/q")).st_mode) == "srw-------"
    for path, code in (("/p", errno.EOPNOTSUPP), ("/q", errno.ENXIO)):
        with pytest.raises(BenchFSError) as failure:
            await fs.open(path)
        assert code_of(failure) == code
        await fs.unlink(path)


async def test_mknod_makes_empty_files_and_no_devices(fs: benchfs.AsyncClient) -> None:
    await fs.mknod("/f", stat.S_IFREG | 0o640)
    assert await fs.read_bytes("/f") == b""
    assert stat.S_IMODE((await fs.stat("/f")).st_mode) == 0o640
    with pytest.raises(FileExistsError):
        await fs.mknod("/f")
    with pytest.raises(PermissionError):
        await fs.mknod("/null", stat.S_IFCHR | 0o666)
    with pytest.raises(BenchFSError) as failure:
        await fs.mknod("/d", stat.S_IFDIR | 0o777)
    assert code_of(failure) == errno.EINVAL


def test_the_synchronous_client_makes_links_too(cluster: benchfs.LocalCluster) -> None:
    with benchfs.Client(cluster.url) as fs:
        fs.write_bytes("/f", b"1")
        fs.symlink("f", "/s")
        fs.link("/f", "/g")
        fs.mkfifo("/p")
        fs.mknod("/q")
        assert fs.readlink("/s") == "f"
        assert fs.islink("/s")
        assert fs.lexists("/s")
        assert fs.lstat("/g").st_nlink == 2
        fs.rmtree("/")
