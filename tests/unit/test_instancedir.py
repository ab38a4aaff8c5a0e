"""Directories of instances: the names they may have, and what is removed."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from benchfs import instance, instancedir

SETTINGS = instance.Settings(name="some", nodes=2)


def files_below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


@pytest.mark.parametrize("name", ["a", "default", "7", "node-1_b.c", "x" * 64])
def test_a_name_leads_to_a_directory_of_its_own(name: str) -> None:
    assert instancedir.named(name, "up").parent == instancedir.home()


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".a", "-a", "/etc", "a/b", "../a", "a b", "a\n", "é", "a\0", "x" * 65],
)
async def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(OSError) as refused:
        instancedir.named(name, "up")
    assert refused.value.errno == errno.EINVAL
    if name and "/" not in name:
        with pytest.raises(OSError, match="a name has"):
            await instance.find(name)


async def test_an_instance_is_removed_with_its_data_and_sockets(tmp_path: Path) -> None:
    directory, data = tmp_path / "some", tmp_path / "data"
    await instance.create(directory, instance.Settings("some", 2, data=data))
    sockets = (directory / "sockets").resolve()
    for node in ("node-0", "node-1"):
        (data / f"some-{node}").mkdir(parents=True)
    (data / "other").mkdir()

    instancedir.remove(directory)

    assert files_below(tmp_path) == ["data", "data/other"]
    assert not sockets.exists()


@pytest.mark.parametrize("missing", ["secret", "registry", "nodes"])
async def test_what_holds_no_instance_is_not_removed(tmp_path: Path, missing: str) -> None:
    directory = tmp_path / "some"
    await instance.create(directory, SETTINGS)
    sockets = (directory / "sockets").resolve()
    if missing == "nodes":
        for node in ("node-0", "node-1"):
            (directory / node / "node.toml").unlink()
    else:
        (directory / missing).rename(tmp_path / missing)
    before = files_below(tmp_path)

    with pytest.raises(OSError, match="holds no instance"):
        instancedir.remove(directory)

    assert files_below(tmp_path) == before
    sockets.rmdir()


async def test_a_link_to_an_instance_is_not_removed(tmp_path: Path) -> None:
    directory = tmp_path / "some"
    await instance.create(directory, SETTINGS)
    (tmp_path / "link").symlink_to(directory)

    with pytest.raises(OSError, match="holds no instance"):
        instancedir.remove(tmp_path / "link")

    instancedir.remove(directory)


async def test_sockets_that_were_made_by_somebody_else_stay(tmp_path: Path) -> None:
    directory, mine = tmp_path / "some", tmp_path / "mine"
    await instance.create(directory, SETTINGS)
    mine.mkdir()
    (directory / "sockets").resolve().rmdir()
    (directory / "sockets").unlink()
    (directory / "sockets").symlink_to(mine)

    instancedir.remove(directory)

    assert files_below(tmp_path) == ["mine"]


async def test_a_create_that_fails_leaves_nothing(tmp_path: Path, short_tmp: Path) -> None:
    sockets_before = files_below(short_tmp.parent)
    taken = tmp_path / "data/some-node-1"
    taken.mkdir(parents=True)

    with pytest.raises(FileExistsError):
        await instance.create(tmp_path / "some", instance.Settings("some", 2, data=taken.parent))

    assert files_below(tmp_path) == ["data", "data/some-node-1"]
    assert files_below(short_tmp.parent) == sockets_before


async def test_an_instance_is_not_made_in_the_place_of_another(tmp_path: Path) -> None:
    directory = tmp_path / "some"
    await instance.create(directory, SETTINGS)
    secret = (directory / "secret").read_bytes()

    with pytest.raises(FileExistsError):
        await instance.create(directory, SETTINGS)

    assert (directory / "secret").read_bytes() == secret
    instancedir.remove(directory)
