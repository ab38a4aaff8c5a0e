"""Renames, links, wide directories and permissions together, whatever group each name is in.

Directories get home groups by chance, over the nodes; every test has several of them.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import AsyncIterator

import pytest

import benchfs
from benchfs.inode import home_group
from tests.cluster.users import ALICE, SHARED, denied, only_root

DIRECTORIES = 6

pytestmark = only_root


@pytest.fixture
async def fs(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    """The client of the cluster's owner, who finds /0 to /5, anybody's, in several groups."""
    async with benchfs.AsyncClient(cluster.url, attribute_seconds=0) as client:
        while True:
            for number in range(DIRECTORIES):
                await client.mkdir(f"/{number}")
                await client.chmod(f"/{number}", 0o777)
            homes = {
                home_group((await client.stat(f"/{number}")).st_ino)
                for number in range(DIRECTORIES)
            }
            if len(homes) > 1:
                break
            await client.rmtree("/")
        yield client
        await client.rmtree("/")


@pytest.fixture
def caching() -> dict[str, float]:
    return {"attribute_seconds": 0}


def pairs() -> list[tuple[str, str]]:
    """Each directory with the next one."""
    return [(f"/{number}", f"/{(number + 1) % DIRECTORIES}") for number in range(DIRECTORIES)]


# ------------------------------------------------------------------------- permissions


async def test_a_rename_needs_write_permission_of_both_directories(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient
) -> None:
    for old, new in pairs():
        await alice.write_bytes(f"{old}/f", b"1")
        for closed in (old, new):
            for mode in (0o755, 0o776):
                await fs.chmod(closed, mode)
                await denied(alice.rename(f"{old}/f", f"{new}/g"))
            await fs.chmod(closed, 0o777)
        assert await alice.listdir(old) == ["f"]
        assert await alice.listdir(new) == []
        await alice.rename(f"{old}/f", f"{new}/g")
        await alice.unlink(f"{new}/g")


async def test_what_is_there_is_told_who_may_not_replace_it(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient
) -> None:
    for old, new in pairs():
        await alice.write_bytes(f"{old}/f", b"1")
        await fs.write_bytes(f"{new}/g", b"2")
        await fs.chmod(new, 0o755)
        with pytest.raises(FileExistsError):
            await alice.rename(f"{old}/f", f"{new}/g", replace=False)
        await denied(alice.rename(f"{old}/f", f"{new}/g"))
        await denied(alice.rename(f"{old}/f", f"{new}/g", exchange=True))
        with pytest.raises(FileNotFoundError):
            await alice.rename(f"{old}/f", f"{new}/no", exchange=True)
        await fs.chmod(old, 0o755)
        with pytest.raises(FileExistsError):
            await alice.rename(f"{old}/f", f"{new}/g", replace=False)
        await fs.chmod(old, 0o777)
        await fs.chmod(new, 0o777)
        await fs.unlink(f"{new}/g")
        await fs.unlink(f"{old}/f")


async def test_a_directory_that_moves_has_to_be_writable(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient
) -> None:
    for old, new in pairs():
        await fs.mkdir(f"{old}/d")
        await fs.mkdir(f"{new}/e")
        await denied(alice.rename(f"{old}/d", f"{new}/d"))
        await alice.rename(f"{old}/d", f"{old}/renamed")
        await alice.rename(f"{old}/renamed", f"{old}/d")
        await fs.chmod(f"{old}/d", 0o777)
        await denied(alice.rename(f"{old}/d", f"{new}/e", exchange=True))
        await alice.rename(f"{old}/d", f"{new}/e")
        assert await fs.listdir(old) == []
        await fs.rmdir(f"{new}/e")


async def test_what_is_denied_leaves_nothing_held(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient
) -> None:
    for old, new in pairs():
        await fs.write_bytes(f"{old}/f", b"1")
        await fs.chmod(new, 0o755)
        await denied(alice.rename(f"{old}/f", f"{new}/g"))
        await fs.chmod(new, 0o777)
        await fs.write_bytes(f"{new}/g", b"2")
        await fs.rename(f"{old}/f", f"{new}/g")
        assert await fs.read_bytes(f"{new}/g") == b"1"
        await fs.unlink(f"{new}/g")


@pytest.mark.parametrize("sticky", ["old", "new"])
async def test_in_sticky_directories_everybody_renames_and_replaces_his_own(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient, sticky: str
) -> None:
    for (old, new), elsewhere in zip(pairs(), pairs()[2:] + pairs()[:2], strict=True):
        for directory in (old, new):
            await fs.chmod(directory, 0o777)
        # made in other groups, so that the owners may have to be asked for there
        await alice.write_bytes(f"{elsewhere[1]}/a", b"alice")
        await bob.write_bytes(f"{elsewhere[1]}/b", b"bob")
        await alice.rename(f"{elsewhere[1]}/a", f"{old}/a")
        await bob.rename(f"{elsewhere[1]}/b", f"{new}/b")
        await fs.chmod(old if sticky == "old" else new, 0o1777)

        loser = bob if sticky == "old" else alice
        await denied(loser.rename(f"{old}/a", f"{new}/b"), errno.EPERM)
        await denied(loser.rename(f"{old}/a", f"{new}/b", exchange=True), errno.EPERM)
        winner = alice if sticky == "old" else bob
        await winner.rename(f"{old}/a", f"{new}/b")

        assert await fs.read_bytes(f"{new}/b") == b"alice"
        await fs.chmod(old, 0o777)
        await fs.chmod(new, 0o777)
        await fs.unlink(f"{new}/b")


async def test_in_a_sticky_directory_who_owns_neither_removes_no_renamed_name(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    for old, new in pairs():
        await alice.write_bytes(f"{old}/f", b"1")
        await alice.mkdir(f"{old}/d")
        await alice.rename(f"{old}/f", f"{new}/f")
        await alice.rename(f"{old}/d", f"{new}/d")
        await fs.chmod(new, 0o1777)
        await denied(bob.unlink(f"{new}/f"), errno.EPERM)
        await denied(bob.rmdir(f"{new}/d"), errno.EPERM)
        await alice.unlink(f"{new}/f")
        await alice.rmdir(f"{new}/d")
        await fs.chmod(new, 0o777)


# ------------------------------------------------------------------------------- links


async def test_a_replaced_hard_link_takes_one_name_from_its_file(fs: benchfs.AsyncClient) -> None:
    for old, new in pairs():
        await fs.write_bytes(f"{old}/f", b"kept")
        await fs.link(f"{old}/f", f"{new}/link")
        await fs.write_bytes(f"{old}/other", b"other")
        await fs.rename(f"{old}/other", f"{new}/link")
        assert (await fs.stat(f"{old}/f")).st_nlink == 1
        assert await fs.read_bytes(f"{old}/f") == b"kept"
        assert await fs.read_bytes(f"{new}/link") == b"other"
        await fs.unlink(f"{old}/f")
        await fs.unlink(f"{new}/link")


async def test_a_renamed_hard_link_is_removed_as_one_name(fs: benchfs.AsyncClient) -> None:
    for old, new in pairs():
        await fs.write_bytes(f"{old}/f", b"kept")
        await fs.link(f"{old}/f", f"{old}/link")
        await fs.rename(f"{old}/link", f"{new}/link")
        assert (await fs.stat(f"{new}/link")).st_nlink == 2
        await fs.unlink(f"{new}/link")
        assert (await fs.stat(f"{old}/f")).st_nlink == 1
        await fs.link(f"{old}/f", f"{new}/again")
        await fs.rename(f"{new}/again", f"{old}/again")
        await fs.unlink(f"{old}/f")
        assert (await fs.stat(f"{old}/again")).st_nlink == 1
        assert await fs.read_bytes(f"{old}/again") == b"kept"
        await fs.unlink(f"{old}/again")


async def test_a_rename_of_two_names_of_one_file_does_nothing(fs: benchfs.AsyncClient) -> None:
    for old, new in pairs():
        await fs.write_bytes(f"{old}/f", b"1")
        await fs.link(f"{old}/f", f"{new}/link")
        await fs.rename(f"{new}/link", f"{old}/f")
        await fs.rename(f"{old}/f", f"{new}/link")
        assert (await fs.stat(f"{old}/f")).st_nlink == 2
        await fs.unlink(f"{old}/f")
        await fs.unlink(f"{new}/link")


async def test_links_and_special_files_move_as_they_are(fs: benchfs.AsyncClient) -> None:
    for old, new in pairs():
        await fs.write_bytes(f"{new}/target", b"there")
        await fs.symlink("target", f"{old}/s")
        await fs.mkfifo(f"{old}/p")
        await fs.rename(f"{old}/s", f"{new}/s")
        await fs.rename(f"{old}/p", f"{new}/p")
        assert await fs.readlink(f"{new}/s") == "target"
        assert await fs.read_bytes(f"{new}/s") == b"there"
        assert stat.S_ISFIFO((await fs.lstat(f"{new}/p")).st_mode)
        await fs.rename(f"{new}/target", f"{new}/s")  # over the link itself
        assert await fs.read_bytes(f"{new}/s") == b"there"
        assert await fs.listdir(new) == ["p", "s"]
        await fs.unlink(f"{new}/s")
        await fs.unlink(f"{new}/p")


async def test_a_path_leads_through_a_link_that_was_renamed(fs: benchfs.AsyncClient) -> None:
    for old, new in pairs():
        await fs.mkdir(f"{new}/wide", wide=True)
        await fs.write_bytes(f"{new}/wide/f", b"1")
        await fs.symlink(f"{new}/wide", f"{old}/way")
        await fs.rename(f"{old}/way", f"{new}/way")
        await fs.rename(f"{new}/way/f", f"{new}/way/g")
        assert await fs.listdir(f"{new}/way/") == ["g"]
        with pytest.raises(OSError) as failure:
            await fs.rename(f"{new}/wide", f"{new}/way/below")
        assert failure.value.errno == errno.EINVAL
        await fs.rmtree(f"{new}/wide")
        await fs.unlink(f"{new}/way")


async def test_the_attributes_of_a_replaced_directory_go_with_it(fs: benchfs.AsyncClient) -> None:
    for old, new in pairs():
        await fs.mkdir(f"{old}/d")
        await fs.mkdir(f"{new}/e")
        await fs.setxattr(f"{old}/d", "user.a", b"1")
        await fs.setxattr(f"{new}/e", "user.b", b"2")
        await fs.rename(f"{old}/d", f"{new}/e")
        assert await fs.listxattr(f"{new}/e") == ["user.a"]
        await fs.rmdir(f"{new}/e")


# ------------------------------------------------------------------- wide directories


async def test_a_wide_directory_is_as_closed_in_all_its_parts(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient
) -> None:
    await fs.mkdir("/wide", wide=True)
    await fs.chmod("/wide", 0o755)
    for number in range(30):
        await denied(alice.write_bytes(f"/wide/{number}", b"1"))
        await denied(alice.symlink("x", f"/wide/{number}"))
        await denied(alice.mkdir(f"/wide/{number}"))
    await fs.chmod("/wide", 0o777)
    for number in range(30):
        await alice.write_bytes(f"/wide/{number}", b"1")
    await fs.chmod("/wide", 0o766)
    for number in range(60):  # half of them are not there, which he is not told
        await denied(alice.stat(f"/wide/{number}"))
    entries = [entry async for entry in alice.scandir("/wide")]
    assert len(entries) == 30
    for entry in entries:
        await denied(entry.stat())
    await fs.chmod("/wide", 0o755)
    for number in range(30):
        await denied(alice.unlink(f"/wide/{number}"))
        await denied(alice.rename(f"/wide/{number}", "/0/x"))
    await fs.chown("/wide", ALICE.uid, ALICE.gid)
    for number in range(30):
        await alice.rename(f"/wide/{number}", f"/wide/{number + 100}")
    for number in range(30):
        await alice.unlink(f"/wide/{number + 100}")
    await fs.chmod("/", 0o777)
    try:
        await alice.rmdir("/wide")
    finally:
        await fs.chmod("/", 0o755)


async def test_links_in_a_wide_directory_are_names_as_any_other(fs: benchfs.AsyncClient) -> None:
    await fs.mkdir("/wide", wide=True)
    await fs.write_bytes("/0/f", b"1")
    for number in range(20):
        await fs.link("/0/f", f"/wide/{number}")
        await fs.symlink(f"{number}", f"/wide/s{number}")
        await fs.mkfifo(f"/wide/p{number}")
    assert (await fs.stat("/wide/7")).st_nlink == 21
    assert await fs.read_bytes("/wide/s7") == b"1"
    for number in range(20):
        await fs.rename(f"/wide/s{number}", f"/wide/{number}")
    assert (await fs.stat("/0/f")).st_nlink == 1
    assert sorted(await fs.listdir("/wide")) == sorted(
        [f"{number}" for number in range(20)] + [f"p{number}" for number in range(20)]
    )


async def test_what_is_made_in_a_sticky_setgid_wide_directory_follows_its_rights(
    fs: benchfs.AsyncClient, alice: benchfs.AsyncClient, bob: benchfs.AsyncClient
) -> None:
    await fs.mkdir("/wide", wide=True)
    await fs.chown("/wide", -1, SHARED)
    await fs.chmod("/wide", 0o3777)
    for number in range(20):
        await alice.write_bytes(f"/wide/{number}", b"1")
        assert (await fs.stat(f"/wide/{number}")).st_gid == SHARED
        await denied(bob.unlink(f"/wide/{number}"), errno.EPERM)
        await denied(bob.rename(f"/wide/{number}", f"/wide/b{number}"), errno.EPERM)
        await alice.rename(f"/wide/{number}", f"/wide/a{number}")
