"""What is special about the registry in a directory: files, modes, pruning, late writers."""

import errno
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchfs.env import fixed_env
from benchfs.errors import BenchFSError, NoSpaceError
from benchfs.registry import DirectoryRegistry, directory

LETTERS = st.characters(exclude_characters="/", exclude_categories=["Cs"])
KEYS = st.lists(st.text(LETTERS, min_size=1, max_size=5), min_size=1, max_size=3).map("/".join)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "registry"


@pytest.fixture
def registry(root: Path) -> DirectoryRegistry:
    return DirectoryRegistry(root, fixed_env())


async def swap_often(registry: DirectoryRegistry, key: str, first: int, last: int) -> None:
    for revision in range(first, last):
        assert await registry.cas(key, revision, b"%d" % (revision + 1))


async def test_only_the_owner_may_look(registry: DirectoryRegistry, root: Path) -> None:
    await registry.cas("group/1", 0, b"secret")

    modes = {path.is_dir(): stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")]}
    assert modes == {True: 0o700, False: 0o600}


async def test_old_revisions_are_pruned_and_nothing_else_stays(
    registry: DirectoryRegistry, root: Path
) -> None:
    await swap_often(registry, "group/1", 0, 30)
    assert not await registry.cas("group/1", 29, b"late")

    left = sorted(str(path.relative_to(root)) for path in root.rglob("*"))

    assert left == [
        "group,1",
        *(f"group,1/@{n}{file}" for n in range(27, 31) for file in ("", "/value")),
    ]


@pytest.mark.parametrize("start", [0, 1, 5])
async def test_a_writer_that_slept_while_others_went_on_loses(
    registry: DirectoryRegistry, monkeypatch: pytest.MonkeyPatch, start: int
) -> None:
    """It had all prepared, and slept until the number it wanted was free again."""
    await swap_often(registry, "group/1", 0, start)
    sync = directory._sync

    def sleep_once(path: Path) -> None:
        sync(path)
        if path.name.startswith("next-"):
            monkeypatch.setattr(directory, "_sync", sync)
            for revision in range(start, start + 20):
                assert directory._swap(path.parent.parent, revision, b"", f"other{revision}")

    monkeypatch.setattr(directory, "_sync", sleep_once)

    assert not await registry.cas("group/1", start, b"stale")

    assert await registry.read("group/1") == (start + 20, b"")


async def test_a_revision_pruned_before_it_was_opened_is_looked_for_again(
    registry: DirectoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await swap_often(registry, "group/1", 0, 10)
    answers = [[1, 2], [2, 3], [9, 10]]
    monkeypatch.setattr(directory, "_numbers", lambda _: answers.pop(0))

    assert await registry.read("group/1") == (10, b"10")


async def test_a_reader_that_never_catches_up_is_told(
    registry: DirectoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await swap_often(registry, "group/1", 0, 10)
    monkeypatch.setattr(directory, "_numbers", lambda _: [1])

    with pytest.raises(BenchFSError) as caught:
        await registry.read("group/1")

    assert caught.value.errno == errno.EBUSY


async def test_what_a_crashed_writer_left_is_pruned_with_its_revision(
    registry: DirectoryRegistry, root: Path
) -> None:
    await swap_often(registry, "group/1", 0, 1)
    (root / "group,1" / "@1" / "next-crashed").mkdir()
    (root / "group,1" / "@1" / "next-crashed" / "value").write_bytes(b"half")
    (root / "group,1" / ".old-0" / "next-crashed").mkdir(parents=True)

    await swap_often(registry, "group/1", 1, 10)

    names = {path.name for path in (root / "group,1").rglob("*")}
    assert names == {"@7", "@8", "@9", "@10", "value"}


async def test_a_pruner_that_fails_leaves_what_is_newer(
    registry: DirectoryRegistry, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a writer based on what could not be removed would find the next number free."""
    await swap_often(registry, "group/1", 0, 4)
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name == "@2":
            raise OSError(errno.EXDEV, "cross-device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    await swap_often(registry, "group/1", 4, 12)

    kept = {path.name for path in (root / "group,1").iterdir()}
    assert kept == {f"@{number}" for number in range(2, 13)}


async def test_a_rename_that_won_but_said_it_failed_has_won(
    registry: DirectoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request repeated by the NFS client: the first was done, its answer was lost."""
    rename = Path.rename

    def say_it_failed(self: Path, target: Path) -> Path:
        renamed = rename(self, target)
        if self.name.startswith("next-"):
            raise FileNotFoundError(errno.ENOENT, "no source")
        return renamed

    monkeypatch.setattr(Path, "rename", say_it_failed)

    assert await registry.cas("group/1", 0, b"value")
    assert await registry.read("group/1") == (1, b"value")


async def test_strangers_in_the_directory_are_no_keys(
    registry: DirectoryRegistry, root: Path
) -> None:
    await registry.cas("group/1", 0, b"")
    (root / "notes.txt").write_text("not a key")
    (root / "README").mkdir()
    (root / "empty").mkdir()
    (root / "group,1" / "@new").mkdir()

    assert await registry.list("") == ("group/1",)
    assert await registry.read("empty") == (0, b"")


async def test_a_full_disk_is_said_so_and_leaves_no_trace(
    registry: DirectoryRegistry, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registry.cas("group/1", 0, b"value")

    def full(path: Path, value: bytes) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(directory, "_write", full)

    with pytest.raises(NoSpaceError) as caught:
        await registry.cas("group/1", 1, b"more")

    assert caught.value.filename == str(root / "group,1")
    assert {path.name for path in (root / "group,1").rglob("*")} == {"@0", "@1", "value"}
    assert await registry.read("group/1") == (1, b"value")


async def test_a_place_that_is_no_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    registry = DirectoryRegistry(tmp_path / "file", fixed_env())

    with pytest.raises(BenchFSError) as caught:
        await registry.cas("a", 0, b"")

    assert caught.value.operation == "write registry"


@given(KEYS)
def test_names_on_disk_are_plain_and_mean_one_key(key: str) -> None:
    name = directory._encode(key)

    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-_,")
    assert not name.startswith(".")
    assert directory._decode(name) == key
