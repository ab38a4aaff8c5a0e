"""Random operations at a mount and on a local directory at the same time: the outcome is the same.

BENCHFS_STRESS_SECONDS makes it longer, BENCHFS_STRESS_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

SECONDS = float(os.environ.get("BENCHFS_STRESS_SECONDS", "5"))
PROCESSES = 4
MOST_BYTES = 300_000
OPERATIONS = (
    *("write", "write", "read", "read", "append", "truncate", "unlink", "rename", "link"),
    *("symlink", "exclusive", "chmod", "list", "stat", "unnamed", "directory"),
)


class Pair:
    """The same operation at both places; both results, or both errnos, have to be equal."""

    def __init__(self, mounted: Path, local: Path, rng: random.Random) -> None:
        self.places = (mounted, local)
        self.rng = rng
        self.files = [f"{d}/{n}" for d in ("a", "b", "c/d") for n in range(4)]
        for place in self.places:
            for directory in ("a", "b", "c/d"):
                (place / directory).mkdir(parents=True)

    def step(self) -> None:
        """One random operation."""
        name = self.rng.choice(OPERATIONS)
        one, two = self.rng.choice(self.files), self.rng.choice(self.files)
        seed = self.rng.random()
        outcomes = []
        for place in self.places:
            operation = getattr(self, name)
            try:
                outcomes.append(operation(place, one, two, random.Random(seed)))
            except OSError as exc:
                outcomes.append(("errno", exc.errno))
        assert outcomes[0] == outcomes[1], (name, one, two, outcomes)

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

    def directory(self, place: Path, one: str, two: str, rng: random.Random) -> object:
        path = place / "a/sub"
        if rng.random() < 0.5:
            path.mkdir()
        else:
            path.rmdir()
        return None


def compare(mounted: Path, local: Path) -> None:
    """Everything is the same in the end."""
    for directory, _, names in os.walk(local):
        there = mounted / Path(directory).relative_to(local)
        assert sorted(os.listdir(there)) == sorted(os.listdir(directory))
        for name in names:
            if not Path(directory, name).is_symlink():
                assert (there / name).read_bytes() == Path(directory, name).read_bytes()


def main(mounted: Path, local: Path, seed: int, seconds: float) -> None:
    pair = Pair(mounted, local, random.Random(seed))
    end = time.monotonic() + seconds
    steps = 0
    while time.monotonic() < end:
        pair.step()
        steps += 1
    compare(mounted, local)
    print(steps)


@pytest.mark.timeout(60 + 2 * SECONDS)
def test_random_operations_end_as_on_a_local_file_system(place: Path, tmp_path: Path) -> None:
    seed = int(os.environ.get("BENCHFS_STRESS_SEED", random.randrange(1 << 30)))
    workers = []
    for number in range(PROCESSES):
        places = (place / str(number), tmp_path / str(number))
        for at in places:
            at.mkdir()
        arguments = [*map(str, places), str(seed + number), str(SECONDS)]
        command = [sys.executable, __file__, *arguments]
        workers.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    for number, worker in enumerate(workers):
        said, failed = worker.communicate(timeout=50 + 2 * SECONDS)
        assert worker.returncode == 0, f"seed {seed + number}: {failed.decode()}"
        assert int(said) > 10
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
