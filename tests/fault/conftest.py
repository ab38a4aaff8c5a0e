"""A place for the many directories of tests that try every crash."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def memory_place() -> Iterator[Callable[[], Path]]:
    """Makes empty directories, in memory if there is room for files in memory."""
    base = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    numbers = itertools.count()

    def make() -> Path:
        place = Path(base, str(next(numbers)))
        place.mkdir()
        return place

    yield make
    shutil.rmtree(base)
