"""A short stress: random operations at a mount and on a local directory have the same outcomes.

`python -m benchfs.bench.mount_stress` is the long one. BENCHFS_STRESS_SECONDS makes this longer,
BENCHFS_STRESS_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from benchfs.bench import twin_directories
from benchfs.bench.mount_stress import operate_at_random

SECONDS = float(os.environ.get("BENCHFS_STRESS_SECONDS", "5"))
PROCESSES = 4


@pytest.mark.timeout(60 + 2 * SECONDS)
def test_random_operations_end_as_on_a_local_file_system(place: Path) -> None:
    seed = int(os.environ.get("BENCHFS_STRESS_SEED", random.randrange(1 << 30)))
    done = operate_at_random(place, PROCESSES, SECONDS, seed)
    assert len(done.operations) == PROCESSES, done.problems
    assert min(done.operations) > 10


def test_a_difference_between_the_two_directories_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_less(pair: twin_directories.Pair, place: Path, *arguments: object) -> object:
        return place.name

    monkeypatch.setattr(twin_directories.Pair, "read", read_less)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    assert twin_directories.main(tmp_path / "one", tmp_path / "two", 1, 30.0) == 1
    assert "seed 1, operation" in capsys.readouterr().err
