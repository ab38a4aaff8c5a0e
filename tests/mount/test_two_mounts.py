"""Two mounts of one cluster: what one changes the other sees, as close-to-open promises.

How late a change may show is judged by when a look began: a look that began later than names and
attributes are believed after the change has to show it, however slow the machine is.
"""

from __future__ import annotations

import itertools
import mmap
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import benchfs
from benchfs.bench.twin_directories import Pair, compare
from tests.mount.conftest import Mount, mounted
from tests.mount.test_coherence import ATTRIBUTE_SECONDS, PATIENCE_SECONDS

CLOCK_SECONDS = 0.05  # the kernel counts in ticks
HARD_BYTES = 47_008  # neither pages nor chunks fit
RECORDS = 150
STEPS = 150


class Sides(NamedTuple):
    """One directory at two mounts."""

    here: Path
    there: Path


@pytest.fixture(scope="module")
def other_mount(cluster: benchfs.LocalCluster) -> Iterator[Mount]:
    with mounted(cluster) as made:
        yield made


@pytest.fixture
def sides(place: Path, other_mount: Mount) -> Sides:
    return Sides(place, other_mount.path / place.name)


def shows_in_time(change: Callable[[], object], look: Callable[[], bool]) -> bool:
    """Whether each look that begins later than it may after the change shows it."""
    change()
    from_then_on = time.monotonic() + ATTRIBUTE_SECONDS + CLOCK_SECONDS
    give_up_at = from_then_on + PATIENCE_SECONDS
    while True:
        began = time.monotonic()
        if look():
            return True
        if began > from_then_on or began > give_up_at:
            return False


# ----------------------------------------------------------------------- names and attributes


def test_a_new_name_shows_at_once_though_it_was_looked_for(sides: Sides) -> None:
    for number in range(50):
        assert not (sides.there / f"{number}").exists()
        (sides.here / f"{number}").touch()
        assert (sides.there / f"{number}").exists()


class Maker(threading.Thread):
    """Makes files in a directory without pause, each after a look for its name."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self._stop_it = threading.Event()
        self.is_at_work = threading.Event()
        self.found: list[Path] = []  # what was there before it was made

    def run(self) -> None:
        for number in itertools.count():
            if self._stop_it.is_set():
                return
            name = self._directory / f"{number}"
            if name.exists():
                self.found.append(name)
            name.touch(exist_ok=False)
            if number > 20:
                self.is_at_work.set()

    def __enter__(self) -> Maker:
        self.start()
        assert self.is_at_work.wait(PATIENCE_SECONDS)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop_it.set()
        self.join()


@pytest.mark.parametrize("options", [(), ("--attribute-seconds", "0")], ids=["usual", "asking"])
def test_a_new_name_shows_at_once_where_another_mount_makes_files_all_the_time(
    cluster: benchfs.LocalCluster, sides: Sides, options: tuple[str, ...]
) -> None:
    (sides.there / "old").touch()
    ways: list[Callable[[Path], object]] = [
        lambda name: name.touch(exist_ok=False),
        lambda name: name.mkdir(),
        lambda name: name.symlink_to("anywhere"),
        lambda name: name.hardlink_to(sides.there / "old"),
        lambda name: (name.parent / "0").rename(name),
        lambda name: (sides.there / "old").rename(name),
    ]
    with mounted(cluster, *options) as alone:
        for number, make in enumerate(ways):
            directory = f"{number}"
            here = alone.path / sides.here.name / directory
            here.mkdir()
            with Maker(here) as maker:
                make(sides.there / directory / "new")
                (here / "new").lstat()
            assert not maker.found


def test_changes_of_names_and_attributes_show_in_time(sides: Sides) -> None:
    here, there = sides.here / "f", sides.there / "f"
    here.write_bytes(b"12345")
    assert there.read_bytes() == b"12345"
    changes: list[tuple[Callable[[], object], Callable[[], bool]]] = [
        (lambda: here.chmod(0o640), lambda: there.stat().st_mode & 0o777 == 0o640),
        (lambda: os.utime(here, ns=(1, 2)), lambda: there.stat().st_mtime_ns == 2),
        (lambda: os.truncate(here, 3), lambda: there.stat().st_size == 3),
        (lambda: os.setxattr(here, "user.a", b"1"), lambda: os.listxattr(there) == ["user.a"]),
        (lambda: os.link(here, sides.here / "g"), lambda: there.stat().st_nlink == 2),
        ((sides.here / "g").unlink, lambda: there.stat().st_nlink == 1),
        (lambda: here.rename(sides.here / "h"), lambda: not there.exists()),
        ((sides.here / "h").unlink, lambda: not (sides.there / "h").exists()),
    ]
    for number, (change, look) in enumerate(changes):
        assert not look(), number
        assert shows_in_time(change, look), number


def test_a_file_that_is_replaced_is_always_there_and_the_new_one_shows_in_time(
    sides: Sides,
) -> None:
    for number in range(4):
        (sides.here / "new").write_bytes(b"%d" % number)
        assert shows_in_time(
            lambda: (sides.here / "new").replace(sides.here / "f"),
            lambda: (sides.there / "f").read_bytes() == b"%d" % number,  # noqa: B023
        )


def test_what_replaces_an_open_file_shows_in_time(sides: Sides) -> None:
    (sides.here / "f").write_bytes(b"old")
    with (sides.there / "f").open("rb") as file:
        (sides.here / "new").write_bytes(b"new one")
        assert shows_in_time(
            lambda: (sides.here / "new").replace(sides.here / "f"),
            lambda: (sides.there / "f").read_bytes() == b"new one",
        )
        assert file.read() == b"old"


@pytest.mark.parametrize(
    "ask",
    [
        lambda name: name.read_bytes(),
        lambda name: name.stat(),
        lambda name: name.chmod(0o600),
        lambda name: os.truncate(name, 0),
        lambda name: os.listxattr(name),
        lambda name: os.setxattr(name, "user.a", b"1"),
    ],
)
def test_a_name_whose_file_is_gone_is_not_there(
    sides: Sides, ask: Callable[[Path], object]
) -> None:
    (sides.here / "f").write_bytes(b"1")
    assert (sides.there / "f").read_bytes() == b"1"
    (sides.here / "f").unlink()
    try:
        ask(sides.there / "f")
    except FileNotFoundError:
        pass  # or the kernel answered by itself, what it still believes


def test_names_that_were_listed_go_in_time(sides: Sides) -> None:
    names = [f"{number:02}" for number in range(40)]
    for name in names:
        (sides.here / name).touch()
    assert sorted(os.listdir(sides.there)) == names
    assert all((sides.there / name).exists() for name in names)

    def change() -> None:
        for name in names[::2]:
            (sides.here / name).unlink()

    assert shows_in_time(
        change, lambda: [name for name in names if (sides.there / name).exists()] == names[1::2]
    )
    assert sorted(os.listdir(sides.there)) == names[1::2]


# ----------------------------------------------------------------------- content


def test_who_opens_after_a_close_reads_what_was_written(sides: Sides) -> None:
    rng = random.Random(1)
    here, there = sides.here / "f", sides.there / "f"
    expected = b""
    for number in range(60):
        writer, reader = (here, there) if number % 2 else (there, here)
        what = rng.choice(["new", "end", "middle", "cut"])
        data = rng.randbytes(rng.choice([1, 4096, HARD_BYTES]))
        if what == "new" or not expected:
            writer.write_bytes(data)
            expected = data
        elif what == "end":
            with writer.open("ab") as file:
                file.write(data)
            expected += data
        elif what == "cut":
            os.truncate(writer, len(expected) // 2)
            expected = expected[: len(expected) // 2]
        else:
            at = rng.randrange(len(expected))
            with writer.open("r+b", buffering=0) as file:
                os.pwrite(file.fileno(), data, at)
            expected = expected[:at] + data + expected[at + len(data) :]
        with reader.open("rb", buffering=0) as file:  # not asked for its size by Python
            found = b"".join(iter(lambda: os.read(file.fileno(), 1 << 20), b""))
        assert found == expected, f"step {number}: {what}"


def test_a_file_that_is_open_shows_in_time_what_the_other_mount_wrote(sides: Sides) -> None:
    (sides.here / "f").write_bytes(b"a" * 100_000)
    with (sides.there / "f").open("rb", buffering=0) as file:
        with mmap.mmap(file.fileno(), 100_000, access=mmap.ACCESS_READ) as view:
            assert view[:] == os.pread(file.fileno(), 100_000, 0) == b"a" * 100_000

            def look() -> bool:
                os.fstat(file.fileno())
                return view[:] == os.pread(file.fileno(), 100_000, 0) == b"b" * 100_000

            assert shows_in_time(lambda: (sides.here / "f").write_bytes(b"b" * 100_000), look)


def test_a_mapping_that_was_closed_is_read_at_the_other_mount(sides: Sides) -> None:
    (sides.here / "f").write_bytes(bytes(100_000))
    for number in range(1, 6):
        writer, reader = sides if number % 2 else (sides.there, sides.here)
        with (writer / "f").open("r+b") as file, mmap.mmap(file.fileno(), 100_000) as view:
            view[number * 10_000 : number * 10_000 + 5000] = bytes([number]) * 5000
        with (reader / "f").open("rb") as file:
            with mmap.mmap(file.fileno(), 100_000, access=mmap.ACCESS_READ) as view:
                for before in range(1, number + 1):
                    found = view[before * 10_000 : before * 10_000 + 5000]
                    assert found == bytes([before]) * 5000


# ----------------------------------------------------------------------- both at the same time


def together(*works: Callable[[], None]) -> None:
    """All at the same time; raises what one of them raises."""
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as exc:  # noqa: BLE001 (raised below)
            failures.append(exc)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]


def test_records_that_both_append_are_all_there_and_whole(sides: Sides) -> None:
    def append(side: Path, name: str) -> None:
        with (side / "log").open("ab", buffering=0) as file:
            for number in range(RECORDS):
                file.write(f"{name}{number:06}".encode().ljust(99, b"-") + b"\n")

    together(lambda: append(sides.here, "h"), lambda: append(sides.there, "t"))
    records = [(sides.here / "log").read_bytes(), (sides.there / "log").read_bytes()]
    assert records[0] == records[1]
    lines = records[0].splitlines(keepends=True)
    assert {len(line) for line in lines} == {100}
    for name in "ht":
        mine = [line.rstrip(b"-\n").decode() for line in lines if line.startswith(name.encode())]
        assert mine == [f"{name}{number:06}" for number in range(RECORDS)]


@pytest.mark.parametrize("flags", [os.O_RDWR, os.O_WRONLY])
def test_pieces_of_one_file_that_both_write_are_byte_exact(sides: Sides, flags: int) -> None:
    (sides.here / "hard").touch()
    pieces = 40

    def write(side: Path, first: int) -> None:
        descriptor = os.open(side / "hard", flags)
        try:
            for piece in range(first, pieces, 2):
                os.pwrite(descriptor, bytes([piece + 1]) * HARD_BYTES, piece * HARD_BYTES)
        finally:
            os.close(descriptor)

    together(lambda: write(sides.here, 0), lambda: write(sides.there, 1))
    expected = b"".join(bytes([piece + 1]) * HARD_BYTES for piece in range(pieces))
    for side in sides:
        assert (side / "hard").read_bytes() == expected


def test_of_both_that_make_a_name_one_wins(sides: Sides) -> None:
    won: list[tuple[int, str]] = []

    def make(side: Path, name: str) -> None:
        for number in range(40):
            try:
                os.close(os.open(side / f"{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            except FileExistsError:
                continue
            won.append((number, name))

    together(lambda: make(sides.here, "h"), lambda: make(sides.there, "t"))
    assert sorted(number for number, _ in won) == list(range(40))


# ----------------------------------------------------------------------- at random


class OneByOne(Pair):
    """Random operations, each at one of two mounts, and then on a local directory."""

    OPERATIONS = (
        *("write", "write", "read", "read", "append", "truncate", "unlink", "rename", "link"),
        *("symlink", "exclusive", "chmod", "list", "stat", "unnamed", "directory", "mapping"),
    )

    def __init__(self, mounted: Sides, local: Path, rng: random.Random) -> None:
        super().__init__(mounted.here, local, rng)
        self._mounted = mounted
        self._local = local

    def step(self) -> None:
        """One random operation, at a mount that is drawn."""
        self.places = (self.rng.choice(self._mounted), self._local)
        super().step()


@pytest.mark.parametrize("seed", [1, 2])
def test_random_operations_at_both_in_turn_end_as_on_a_local_file_system(
    cluster: benchfs.LocalCluster, tmp_path: Path, seed: int
) -> None:
    """Nothing is believed here, so each mount sees at once what the other one did."""
    options = ("--attribute-seconds", "0")
    with mounted(cluster, *options) as first, mounted(cluster, *options) as second:
        directory = first.path / f"random-{seed}"
        directory.mkdir()
        sides = Sides(directory, second.path / directory.name)
        operations = OneByOne(sides, tmp_path, random.Random(seed))
        for _ in range(STEPS):
            operations.step()
        for side in sides:
            compare(side, tmp_path)
