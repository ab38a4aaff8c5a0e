"""A mount under stress: `python -m benchfs.bench.mount_stress [DIRECTORY]`.

Three parts that find what it gets wrong. Processes that operate at random, each comparing all
outcomes with those on a local file system (`twin_directories`); stressors of stress-ng that verify
what they do; and fio, which writes blocks with checks and reads them back. The last two are left
out, and said to be, where the programs are missing. Without DIRECTORY, a cluster of its own is
started and mounted. Exit status 0: nothing was wrong.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchfs.bench.fuse import mounted

PROCESSES = 4
SECONDS = 120.0
GRACE_SECONDS = 120.0  # for what a part has to do before and after its time
STRESSOR_SECONDS = 3
# Of the class `filesystem`: those that make, change and remove files in the directory they are
# given, with means that the mount has. `link` and `symlink` make 8,192 names, whatever their time.
STRESSORS = (
    *("access", "chmod", "dentry", "dir", "dirdeep", "dirmany", "fcntl", "filename", "flock"),
    *("fstat", "getdent", "hdd", "io", "iomix", "locka", "lockf", "lockofd", "metamix"),
    *("open", "rename", "seek", "sync-file", "touch", "unlink", "utime"),
)
FIO_BYTES = 32 * 1024 * 1024
FIO_JOBS = (
    ("write", "1m"),
    ("randwrite", "4k"),
    ("randwrite", "47008"),
    ("randrw", "16k"),
)


@dataclass(frozen=True, slots=True)
class Done:
    """What processes did: how many operations each that found nothing wrong; what others found."""

    operations: tuple[int, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One part. `problem`: None if there was none."""

    name: str
    text: str
    problem: str | None = None


def operate_at_random(directory: Path, processes: int, seconds: float, seed: int) -> Done:
    """Each process in a directory of its own below `directory`, left there if it found anything."""
    with tempfile.TemporaryDirectory() as local:
        workers = []
        for number in range(processes):
            places = (directory / f"twin.{number}", Path(local) / str(number))
            for place in places:
                place.mkdir()
            arguments = [*map(str, places), str(seed + number), str(seconds)]
            command = [sys.executable, "-m", "benchfs.bench.twin_directories", *arguments]
            workers.append(
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            )
        give_up_at = time.monotonic() + seconds + GRACE_SECONDS
        operations, problems = [], []
        for number, worker in enumerate(workers):
            said, failed = _ended(worker, give_up_at - time.monotonic())
            if worker.returncode:
                problems.append(f"process {number}: {failed.strip()}")
            else:
                operations.append(int(said))
                shutil.rmtree(directory / f"twin.{number}")
    return Done(tuple(operations), tuple(problems))


def _ended(worker: subprocess.Popen[str], seconds: float) -> tuple[str, str]:
    try:
        return worker.communicate(timeout=max(seconds, 0.0))
    except subprocess.TimeoutExpired:
        worker.kill()
        said, failed = worker.communicate()
        return said, f"{failed}did not end in time"


def _run(name: str, command: list[str], seconds: float) -> Outcome:
    worker = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = worker.communicate(timeout=seconds + GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.communicate()
        return Outcome(name, "", f"did not end in {seconds + GRACE_SECONDS:.0f} s")
    if "unrecognized option" in said:
        return Outcome(name, "left out: the installed version does not know it")
    if worker.returncode:
        return Outcome(name, "", f"exit status {worker.returncode}: {said}")
    return Outcome(name, "nothing wrong")


def random_part(directory: Path, seconds: float, seed: int) -> Outcome:
    """Processes that operate at random."""
    done = operate_at_random(directory, PROCESSES, seconds, seed)
    text = f"{sum(done.operations):,} operations of {PROCESSES} processes, seed {seed}"
    return Outcome("random operations", text, "; ".join(done.problems) or None)


def stress_ng_part(directory: Path) -> Iterator[Outcome]:
    """Each stressor for itself, one process."""
    program = shutil.which("stress-ng")
    if program is None:
        yield Outcome("stress-ng", "left out: it is not installed")
        return
    for stressor in STRESSORS:
        limits = ["--timeout", str(STRESSOR_SECONDS), "--hdd-bytes", "16m", "--iomix-bytes", "8m"]
        where = ["--temp-path", str(directory), "--verify", "--oomable"]
        command = [program, f"--{stressor}", "1", *limits, *where]
        yield _run(f"stress-ng {stressor}", command, STRESSOR_SECONDS)


def fio_part(directory: Path) -> Iterator[Outcome]:
    """Written in blocks that carry checks, then read back."""
    program = shutil.which("fio")
    if program is None:
        yield Outcome("fio", "left out: it is not installed")
        return
    for pattern, block in FIO_JOBS:
        name = f"fio {pattern} {block}"
        with tempfile.TemporaryDirectory(dir=directory) as place:
            command = [
                *(program, "--name=verified", f"--directory={place}", f"--rw={pattern}"),
                *(f"--bs={block}", f"--size={FIO_BYTES}", "--numjobs=2", "--ioengine=psync"),
                *("--verify=crc32c", "--verify_fatal=1", "--do_verify=1", "--fsync_on_close=1"),
                "--verify_state_save=0",  # it would be written where the command was called
            ]
            yield _run(name, command, 0.0)


def stress(directory: Path, seconds: float, seed: int) -> Iterator[Outcome]:
    """All parts, in an empty directory."""
    yield random_part(directory, seconds, seed)
    yield from stress_ng_part(directory)
    yield from fio_part(directory)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchfs.bench.mount_stress", description=__doc__
    )
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of random operations")
    parser.add_argument("--seed", type=int, default=None, help="repeats the same operations")
    parser.add_argument("--nodes", type=int, default=3, help="of the cluster that is started")
    parser.add_argument("--option", action="append", default=[], help="of benchfs mount")
    given = parser.parse_args()
    seed = random.randrange(1 << 30) if given.seed is None else given.seed

    def at(directory: Path) -> int:
        with tempfile.TemporaryDirectory(dir=directory) as place:
            return _show(stress(Path(place), given.seconds, seed))

    if given.directory is not None:
        return at(given.directory)
    with mounted(given.nodes, given.option) as (place, _, _):
        return at(place)


def _show(outcomes: Iterator[Outcome]) -> int:
    wrong = 0
    for outcome in outcomes:
        if outcome.problem is not None:
            wrong += 1
        print(f"{outcome.name:28}{outcome.problem or outcome.text}", flush=True)
    print(f"{wrong} wrong" if wrong else "nothing was wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
