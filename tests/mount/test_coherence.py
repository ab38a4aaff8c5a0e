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


def test_a_removed_name_goes_once_it_is_no_longer_believed(place: Path, fs: benchfs.Client) -> None:
    names = [f"{number:03}" for number in range(200)]
    for name in names:
        fs.write_bytes(inside(place / name), b"")
    assert all((place / name).exists() for name in names)
    for name in names:
        fs.unlink(inside(place / name))
    assert becomes(lambda: any((place / name).exists() for name in names), False)


# ----------------------------------------------------------------------- the mount itself


def walk(place: Path, count: int) -> None:
    """Look up so many names, which has the mount look up those that follow ahead."""
    for number in range(count):
        (place / f"{number:03}").stat()


def test_a_new_name_does_not_take_back_what_was_just_written(place: Path) -> None:
    (place / "f").write_bytes(b"12345")
    with (place / "f").open("r+b", buffering=0) as file:
        os.pwrite(file.fileno(), b"1" * 1000, 5)
        os.link(place / "f", place / "g")
        assert os.fstat(file.fileno()).st_size == 1005
    assert (place / "g").stat().st_size == 1005


def test_a_write_shows_at_once_under_a_name_that_was_looked_up_ahead(
    place: Path, fs: benchfs.Client
) -> None:
    (place / "opened").write_bytes(b"12345")
    with (place / "opened").open("r+b", buffering=0) as file:
        for number in range(200):
            fs.write_bytes(inside(place / f"{number:03}"), b"")
        fs.rename(inside(place / "opened"), inside(place / "199"))
        walk(place, 100)
        file.write(b"1" * 1000)
        assert (place / "199").stat().st_size == 1000


def test_a_name_removed_at_the_mount_stays_away_though_it_was_looked_up_ahead(
    place: Path, fs: benchfs.Client
) -> None:
    for number in range(200):
        fs.write_bytes(inside(place / f"{number:03}"), b"")
    for file in (place / "198", place / "199"):
        file.stat()
    walk(place, 100)
    (place / "198").unlink()
    (place / "199").rename(place / "elsewhere")
    assert not (place / "198").exists()
    assert not (place / "199").exists()


def test_a_link_goes_down_in_count_under_its_other_name_at_once(
    place: Path, fs: benchfs.Client
) -> None:
    fs.mkdir(inside(place / "sub"))
    for number in range(200):
        fs.write_bytes(inside(place / f"{number:03}"), b"")
        fs.link(inside(place / f"{number:03}"), f"{inside(place / 'sub')}/{number:03}")
    walk(place, 100)
    for number in range(100, 200):
        (place / f"sub/{number:03}").unlink()
        assert (place / f"{number:03}").stat().st_nlink == 1


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
