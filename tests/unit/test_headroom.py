"""The database of a node on a disk that others fill to the last byte."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchfsd.database import Database, FatalStorageError
from tests import disks

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with disks.small(tmp_path, mib=24) as place:
        yield place


def opened(disk: Path, headroom: int) -> Database:
    return Database(disk / "rows", sync=False, schedule=lambda callback: None, headroom=headroom)


def fill(disk: Path) -> None:
    with (disk / "others").open("wb", buffering=0) as file:
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            while True:
                file.write(bytes(4096))


def write_rows(database: Database) -> None:
    """Two MiB of rows, in batches."""
    for batch in range(32):
        for row in range(64):
            database.put(b"%d/%d" % (batch, row), bytes(1000))
        database.commit()


def test_rows_are_committed_on_a_full_disk_and_new_ones_are_to_be_refused(disk: Path) -> None:
    database = opened(disk, 4 * MIB)
    database.put(b"first", b"row")
    database.commit()
    fill(disk)
    assert database.has_headroom

    write_rows(database)

    assert database.get(b"31/63") == bytes(1000)
    assert not database.has_headroom
    (disk / "others").unlink()
    database.put(b"last", b"row")
    database.commit()
    assert database.has_headroom
    database.close()


def test_without_headroom_a_full_disk_ends_the_database(disk: Path) -> None:
    database = opened(disk, 0)
    fill(disk)

    with pytest.raises(FatalStorageError, match=os.strerror(errno.ENOSPC)):
        write_rows(database)
    database.close()
