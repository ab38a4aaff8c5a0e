"""What programs at a mount see of changes: by other clients, and by the mount itself."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import benchfs

FAR_FUTURE_NS = 4_000_000_000 * 1_000_000_000
ATTRIBUTE_SECONDS = 1.0  # the default
PATIENCE_SECONDS = 20.0


def inside(path: Path) -> str:
    """A path in the cluster of something in the place."""
    return f"/{path.parent.name}/{path.name}"


def becomes(look: Callable[[], object], wanted: object) -> bool:
    """Whether it looks as wanted, now or soon."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while look() != wanted:
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.01)
    return True


# ----------------------------------------------------------------------- other clients


def test_a_file_that_grew_is_read_to_its_new_end_at_the_next_opening(
    place: Path, fs: benchfs.Client
) -> None:
    file = place / "f"
    for size in (10, 5000, 100, 70_000):
        fs.write_bytes(inside(file), b"x" * size)
        with file.open("rb", buffering=0) as opened:  # not asked for its size by Python
            assert len(os.read(opened.fileno(), 100_000)) == size
        assert file.stat().st_size == size


def test_an_open_file_shows_new_content_even_if_its_times_stand_still(
    place: Path, fs: benchfs.Client
) -> None:
    file = place / "f"
    fs.write_bytes(inside(file), b"a" * 10_000)
    fs.utime(inside(file), ns=(FAR_FUTURE_NS, FAR_FUTURE_NS))
    with file.open("rb", buffering=0) as opened:
        assert os.pread(opened.fileno(), 10_000, 0) == b"a" * 10_000
        with fs.open(inside(file), "r+b") as other:
            other.write(b"b" * 10_000)
        assert fs.stat(inside(file)).st_mtime_ns == FAR_FUTURE_NS
        assert becomes(lambda: os.pread(opened.fileno(), 10_000, 0), b"b" * 10_000)


def test_a_removed_name_goes_once_it_is_no_longer_believed(
    place: Path, fs: benchfs.Client
) -> None:
    names = [f"{number:03}" for number in range(200)]
    for name in names:
        fs.write_bytes(inside(place / name), b"")
    assert all((place / name).exists() for name in names)
    for name in names:
        fs.unlink(inside(place / name))
    assert becomes(lambda: any((place / name).exists() for name in names), False)


# ----------------------------------------------------------------------- the mount itself


def walked_through(place: Path, fs: benchfs.Client, count: int = 300) -> list[Path]:
    """Files whose names the mount has looked up ahead, all but the first few."""
    files = [place / f"{number:03}" for number in range(count)]
    for file in files:
        fs.write_bytes(inside(file), b"12345")
    for file in files[:40]:
        file.stat()
    return files


def test_changes_at_the_mount_show_at_once_also_in_what_was_looked_up_ahead(
    place: Path, fs: benchfs.Client
) -> None:
    files = walked_through(place, fs)[100:]
    written, cut, renamed, removed, linked, tagged, replaced = files[:7]
    with written.open("ab") as file:
        file.write(b"678")
    os.truncate(cut, 1)
    renamed.rename(place / "elsewhere")
    removed.unlink()
    os.link(linked, place / "link")
    os.setxattr(tagged, "user.a", b"1")
    files[7].rename(replaced)

    assert written.stat().st_size == 8
    assert cut.stat().st_size == 1
    assert not renamed.exists()
    assert not removed.exists()
    assert linked.stat().st_nlink == 2
    assert tagged.stat().st_ctime_ns == fs.stat(inside(tagged)).st_ctime_ns
    assert replaced.stat().st_ino == fs.stat(inside(replaced)).st_ino
    assert [file.stat().st_size for file in files[8:]] == [5] * len(files[8:])


def test_a_link_goes_down_in_count_under_its_other_name_at_once(
    place: Path, fs: benchfs.Client
) -> None:
    files = walked_through(place, fs)
    (place / "sub").mkdir()
    for file in files:
        os.link(file, place / "sub" / file.name)
    for file in files[:40]:
        assert (place / "sub" / file.name).stat().st_nlink == 2
    for file in files:
        (place / "sub" / file.name).unlink()
        assert file.stat().st_nlink == 1


def test_the_times_of_a_directory_follow_what_is_made_and_removed_in_it(
    place: Path, fs: benchfs.Client
) -> None:
    directory = place / "d"
    directory.mkdir()

    def is_up_to_date() -> bool:
        here, there = directory.stat(), fs.stat(inside(directory))
        return (here.st_mtime_ns, here.st_ctime_ns) == (there.st_mtime_ns, there.st_ctime_ns)

    seen = {directory.stat().st_mtime_ns}
    steps: list[Callable[[], object]] = [
        lambda: (directory / "a").touch(),
        lambda: (directory / "b").write_bytes(b"1"),
        lambda: (directory / "c").mkdir(),
        lambda: (directory / "s").symlink_to("a"),
        lambda: os.link(directory / "a", directory / "l"),
        lambda: os.mkfifo(directory / "p"),
        (directory / "a").unlink,
        lambda: (directory / "b").rename(directory / "bb"),
        (directory / "c").rmdir,
    ]
    for number, step in enumerate(steps, 2):
        step()
        assert is_up_to_date()
        seen.add(directory.stat().st_mtime_ns)
        assert len(seen) == number
    directory.chmod(0o700)
    assert is_up_to_date()
    assert directory.stat().st_mode & 0o777 == 0o700
