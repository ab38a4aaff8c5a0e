"""Copying and moving inside a cluster, and in and out of it: what is kept, what is refused."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import benchfs
from benchfs.cli.duplicate import copy, move
from benchfs.cli.find import walk
from benchfs.transfer import Transfer

WHEN = (1_500_000_000_000_000_001, 1_400_000_000_000_000_001)


@pytest.fixture
async def fs(cluster: benchfs.LocalCluster) -> AsyncIterator[benchfs.AsyncClient]:
    """A client of a process whose umask takes all from group and others."""
    before = os.umask(0o077)
    try:
        async with benchfs.AsyncClient(cluster.url) as client:
            yield client
            await client.rmtree("/")
    finally:
        os.umask(before)


async def everything(fs: benchfs.AsyncClient) -> list[str]:
    return sorted([entry.path async for entry in walk(fs, "/")])


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("f", "/f"),
        ("/f", "f"),
        ("/f", "/"),
        ("/d/../f", "/f"),
        ("/f", "//d/.././f"),
        ("/f", "/d/.."),
    ],
)
@pytest.mark.parametrize("act", [copy, move])
async def test_a_file_is_not_copied_onto_itself(
    fs: benchfs.AsyncClient, act: type[copy], source: str, target: str
) -> None:
    await fs.write_bytes("/f", b"precious")
    await fs.mkdir("/d")
    with pytest.raises(OSError, match="same file"):
        await act(fs, source, target)
    assert await fs.read_bytes("/f") == b"precious"


@pytest.mark.parametrize(
    ("source", "target"),
    [("d", "/d/x"), ("/d", "d/x"), ("/d", "/d"), ("//d/", "/e/../d/e/x"), ("/", "/e/x")],
)
@pytest.mark.parametrize("act", [copy, move])
async def test_a_directory_is_not_copied_into_itself(
    fs: benchfs.AsyncClient, act: type[copy], source: str, target: str
) -> None:
    await fs.makedirs("/d/e")
    await fs.mkdir("/e")
    with pytest.raises(OSError, match="in itself"):
        await act(fs, source, target)
    assert await everything(fs) == ["/d", "/d/e", "/e"]


async def test_a_path_may_lead_through_the_source_and_out_again(fs: benchfs.AsyncClient) -> None:
    await fs.makedirs("/d/e")
    await copy(fs, "/d/e", "/d/e/../x")
    await move(fs, "/d/e", "/d/e/../y")
    assert await everything(fs) == ["/d", "/d/x", "/d/y"]


async def test_what_has_no_name_goes_into_no_directory(fs: benchfs.AsyncClient) -> None:
    await fs.makedirs("/d/e")
    with pytest.raises(OSError, match="no name"):
        await copy(fs, "/d/e/..", "/d")


async def test_a_move_by_copying_is_refused_like_a_rename(
    fs: benchfs.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(source: str, target: str) -> None:
        raise OSError(errno.EXDEV, "another group")

    monkeypatch.setattr(fs, "rename", refuse)
    await fs.makedirs("/d/sub")
    await fs.write_bytes("/d/f", b"moved")
    await fs.makedirs("/full/d")
    await fs.write_bytes("/full/d/kept", b"kept")
    await fs.makedirs("/empty/d")
    with pytest.raises(OSError) as refused:
        await move(fs, "/d", "/full")
    assert refused.value.errno == errno.ENOTEMPTY
    assert await everything(fs) == [
        *("/d", "/d/f", "/d/sub", "/empty", "/empty/d", "/full", "/full/d", "/full/d/kept"),
    ]
    assert await move(fs, "/d", "/empty") is False
    assert await fs.read_bytes("/empty/d/f") == b"moved"
    assert not await fs.exists("/d")


async def test_copies_keep_mode_and_times_whatever_the_umask(
    fs: benchfs.AsyncClient, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    (tree / "d/f").write_bytes(b"all may write")
    for path, mode in ((tree / "d/f", 0o4777), (tree / "d", 0o1777), (tree, 0o2775)):
        path.chmod(mode)
        os.utime(path, ns=WHEN)
    assert (await Transfer(fs).put(tree, "/tree")).failures == []
    await copy(fs, "/tree", "/copy")
    assert (await Transfer(fs).get("/copy", tmp_path / "back")).failures == []
    for below in ("d/f", "d", "."):
        expected = (tree / below).stat()
        for found in (
            await fs.stat(f"/tree/{below}"),
            await fs.stat(f"/copy/{below}"),
            (tmp_path / "back" / below).stat(),
        ):
            assert found.st_mode == expected.st_mode, below
            assert found.st_mtime_ns == WHEN[1], below
    await fs.write_bytes("/copy/d/f", b"older, with another mode")
    await fs.chmod("/copy/d/f", 0o600)
    await copy(fs, "/tree/d/f", "/copy/d/f")
    assert (await fs.stat("/copy/d/f")).st_mode == (tree / "d/f").stat().st_mode


async def test_makedirs_gives_its_mode_to_the_last_directory(fs: benchfs.AsyncClient) -> None:
    await fs.makedirs("/a/b", 0o500)
    assert (await fs.stat("/a")).st_mode & 0o777 == 0o700
    assert (await fs.stat("/a/b")).st_mode & 0o777 == 0o500


async def test_names_of_any_length_that_fits_go_in_and_out(
    fs: benchfs.AsyncClient, tmp_path: Path
) -> None:
    names = ["n" * 255, "é" * 127, "short"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    assert (await Transfer(fs).put(tmp_path, "/tree")).failures == []
    assert sorted(await fs.listdir("/tree")) == sorted(names)
    assert (await Transfer(fs).get("/tree", tmp_path / "back")).failures == []
    for name in names:
        assert (tmp_path / "back" / name).read_bytes() == name.encode()


async def test_a_put_that_fails_leaves_nothing_and_what_was_there(
    fs: benchfs.AsyncClient, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(b"f")
    await fs.mkdir("/taken")
    result = await Transfer(fs).put(tmp_path / "f", "/taken")
    assert len(result.failures) == 1
    result = await Transfer(fs).put(tmp_path / "f", "/" + "n" * 256)
    assert "too long" in result.failures[0][1]
    assert await everything(fs) == ["/taken"]


async def test_a_get_that_fails_leaves_nothing_and_what_was_there(
    fs: benchfs.AsyncClient, tmp_path: Path
) -> None:
    await fs.write_bytes("/f", b"f")
    (tmp_path / "taken").mkdir()
    assert len((await Transfer(fs).get("/f", tmp_path / "taken")).failures) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


async def test_a_get_writes_into_a_pipe_and_does_not_replace_it(
    fs: benchfs.AsyncClient, tmp_path: Path
) -> None:
    await fs.write_bytes("/f", b"through")
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert (await Transfer(fs).get("/f", tmp_path / "pipe")).failures == []
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


async def test_what_is_in_the_way_of_a_directory_is_a_failure_and_the_rest_goes_on(
    fs: benchfs.AsyncClient, tmp_path: Path
) -> None:
    (tmp_path / "tree/d").mkdir(parents=True)
    (tmp_path / "tree/f").write_bytes(b"f")
    await fs.mkdir("/tree")
    await fs.write_bytes("/tree/d", b"a file")
    result = await Transfer(fs).put(tmp_path / "tree", "/tree")
    assert [Path(path).name for path, _ in result.failures] == ["d"]
    assert await fs.read_bytes("/tree/d") == b"a file"
    assert await fs.read_bytes("/tree/f") == b"f"
    await fs.unlink("/tree/d")
    await fs.mkdir("/tree/d")
    (tmp_path / "tree/d").rmdir()
    (tmp_path / "tree/d").write_bytes(b"a file")
    (tmp_path / "tree/f").unlink()
    result = await Transfer(fs).get("/tree", tmp_path / "tree")
    assert [path for path, _ in result.failures] == ["/tree/d"]
    assert (tmp_path / "tree/d").read_bytes() == b"a file"
    assert (tmp_path / "tree/f").read_bytes() == b"f"


async def test_a_put_below_what_is_not_there_names_the_target(
    fs: benchfs.AsyncClient, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(b"f")
    result = await Transfer(fs).put(tmp_path / "f", "/none/f")
    assert "/none/f" in result.failures[0][1]
    assert "benchfs-part" not in result.failures[0][1]


async def test_a_get_goes_through_a_link_and_leaves_it(
    fs: benchfs.AsyncClient, tmp_path: Path
) -> None:
    await fs.write_bytes("/f", b"new")
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    await Transfer(fs).get("/f", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
