"""Random operations in two directories at the same time, whose outcomes have to be the same.

`python -m benchfs.bench.twin_directories DIRECTORY LOCAL SEED SECONDS`: one process of the stress
of a mount (`benchfs.bench.mount_stress`), and of its test. LOCAL is on a file system that is known
to be right. Both directories have to be empty. The same seed repeats the same operations.
"""

from __future__ import annotations

import mmap
import os
import random
import sys
import time
from pathlib import Path
from typing import ClassVar

MOST_BYTES = 300_000
HELD = 6  # files that stay open
OPERATIONS = (
    *("write", "write", "read", "read", "append", "truncate", "unlink", "rename", "link"),
    *("symlink", "exclusive", "chmod", "list", "stat", "unnamed", "directory"),
    *("hold", "use_held", "use_held", "use_held", "use_held", "mapping"),
)


class DifferenceError(Exception):
    """The two directories are not, or did not answer, the same."""


class Pair:
    """The same operations in two directories."""

    OPERATIONS: ClassVar = OPERATIONS

    def __init__(self, mounted: Path, local: Path, rng: random.Random) -> None:
        self.places = (mounted, local)
        self.rng = rng
        self.files = [f"{d}/{n}" for d in ("a", "b", "c/d") for n in range(4)]
        self.held: dict[tuple[Path, int], int] = {}
        for place in self.places:
            for directory in ("a", "b", "c/d"):
                (place / directory).mkdir(parents=True)

    def step(self) -> None:
        """One random operation."""
        name = self.rng.choice(self.OPERATIONS)
        one, two = self.rng.choice(self.files), self.rng.choice(self.files)
        seed = self.rng.random()
        outcomes = []
        for place in self.places:
            operation = getattr(self, name)
            try:
                outcomes.append(operation(place, one, two, random.Random(seed)))
            except OSError as exc:
                outcomes.append(("errno", exc.errno))
        if outcomes[0] != outcomes[1]:
            raise DifferenceError(f"{name} {one} {two}: {outcomes[0]!r:.200} {outcomes[1]!r:.200}")

    def close(self) -> None:
        """Close what is held open."""
        for descriptor in self.held.values():
            os.close(descriptor)
        self.held.clear()

    def write(self, place: Path, one: str, two: str, rng: random.Random) -> object:
        descriptor = os.open(place / one, os.O_RDWR | os.O_CREAT)
        try:
            for _ in range(rng.randrange(1, 5)):
                data = rng.randbytes(rng.choice([1, 100, 4096, 70_000]))
                os.pwrite(descriptor, data, rng.randrange(MOST_BYTES))
            return os.pread(descriptor, MOST_BYTES * 2, rng.randrange(MOST_BYTES))
        finally:
            os.close(descriptor)

    def read(self, place: Path, one: str, two: str, rng: random.Random) -> object:
        return (place / one).read_bytes()

    def append(self, place: Path, one: str, two: str, rng: random.Random) -> object:
        with (place / one).open("ab") as file:
            file.write(rng.randbytes(rng.randrange(10_000)))
        return (place / one).read_bytes()

    def truncate(self, place: Path, one: str, two: str, rng: random.Random) -> object:
        os.truncate(place / one, rng.randrange(MOST_BYTES))
        return (place / one).read_bytes()

    def unlink(self, place: Path, one: str, two: str, rng: random.Random) -> object:
        (place / one).unlink()
        return None

    def rename(self, place: Path, one: str, two: str, rng: random.Random) -> object:
        (place / one).rename(place / two)
        return None

    def link(self, place: Path, one: str, two: str, rng: random.Random) -> object:
        os.link(place / one, place / two, follow_symlinks=False)
        return (place / one).lstat().st_nlink

    def symlink(self, place: Path, one: str, two: str, rng: random.Random) -> object:
        (place / one).symlink_to(two.rpartition("/")[2])
        return (place / one).readlink()

    def exclusive(self, place: Path, one: str, two: str, rng: random.Random) -> object:
        with (place / one).open("xb") as file:
            return file.write(rng.randbytes(100))

    def chmod(self, place: Path, one: str, two: str, rng: random.Random) -> object:
        (place / one).chmod(rng.choice([0o600, 0o644, 0o755]))
        return None

    def list(self, place: Path, one: str, two: str, rng: random.Random) -> object:
        return sorted(os.listdir((place / one).parent))

    def stat(self, place: Path, one: str, two: str, rng: random.Random) -> object:
        found = (place / one).lstat()
        return (found.st_mode, found.st_nlink, found.st_size, found.st_uid)

    def unnamed(self, place: Path, one: str, two: str, rng: random.Random) -> object:
        with (place / one).open("r+b") as file:
            (place / one).unlink()
            file.seek(10)
            file.write(rng.randbytes(5000))
            file.seek(0)
            return file.read()

    def hold(self, place: Path, one: str, two: str, rng: random.Random) -> object:
        """Open a file that stays open, in place of another one."""
        slot = (place, rng.randrange(HELD))
        flags = rng.choice([os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_CREAT, os.O_RDONLY])
        descriptor = os.open(place / one, flags)
        if slot in self.held:
            os.close(self.held.pop(slot))
        self.held[slot] = descriptor
        return None

    def use_held(self, place: Path, one: str, two: str, rng: random.Random) -> object:
        """Read, write, cut or ask what is open, whatever became of its name."""
        descriptor = self.held.get((place, rng.randrange(HELD)))
        if descriptor is None:
            return None
        what = rng.choice(["read", "write", "cut", "sync", "stat"])
        if what == "write":
            return os.pwrite(descriptor, rng.randbytes(20_000), rng.randrange(MOST_BYTES))
        if what == "cut":
            os.ftruncate(descriptor, rng.randrange(MOST_BYTES))
        if what == "sync":
            os.fsync(descriptor)
        if what == "read":
            return os.pread(descriptor, 50_000, rng.randrange(MOST_BYTES))
        found = os.fstat(descriptor)
        return (found.st_mode, found.st_nlink, found.st_size)

    def mapping(self, place: Path, one: str, two: str, rng: random.Random) -> object:
        """Change a file by way of a shared mapping."""
        with (place / one).open("r+b") as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                return None
            with mmap.mmap(file.fileno(), size) as view:
                at = rng.randrange(size)
                view[at : at + 100] = rng.randbytes(len(view[at : at + 100]))
                return bytes(view[max(at - 5000, 0) : at + 5000])

    def directory(self, place: Path, one: str, two: str, rng: random.Random) -> object:
        path = place / "a/sub"
        if rng.random() < 0.5:
            path.mkdir()
        else:
            path.rmdir()
        return None


def compare(mounted: Path, local: Path) -> None:
    """Raise DifferenceError unless everything is the same in the end."""
    for directory, _, names in os.walk(local):
        there = mounted / Path(directory).relative_to(local)
        if sorted(os.listdir(there)) != sorted(os.listdir(directory)):
            raise DifferenceError(f"{there}: other names than in {directory}")
        for name in names:
            here = Path(directory, name)
            if not here.is_symlink() and (there / name).read_bytes() != here.read_bytes():
                raise DifferenceError(f"{there / name}: other bytes than in {here}")


def main(directory: Path, local: Path, seed: int, seconds: float) -> int:
    """Operate for so long; prints how many operations were done. Exit status 0: no difference."""
    pair = Pair(directory, local, random.Random(seed))
    end = time.monotonic() + seconds
    steps = 0
    try:
        while time.monotonic() < end:
            pair.step()
            steps += 1
        compare(directory, local)
    except DifferenceError as exc:
        print(f"seed {seed}, operation {steps}: {exc}", file=sys.stderr)
        return 1
    finally:
        pair.close()
    print(steps)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
