"""The database on damaged rows, on a disk that takes no more, and after the end of its process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from benchfsd.database import CorruptRowError, Database, FatalStorageError
from tests.unit.databases import Turn, reopen

MIB = 1024 * 1024


# ------------------------------------------------------------------------------ checks


@pytest.mark.parametrize("where", [0, -1], ids=["in the value", "in the check"])
def test_a_flipped_bit_is_noticed(tmp_path: Path, where: int) -> None:
    database = reopen(tmp_path)
    database.put(b"group1", b"good")
    database.put(b"group2", b"value")
    database.close()
    with lmdb.open(str(tmp_path / "db")) as env, env.begin(write=True) as raw:
        stored = bytearray(raw.get(b"group2"))
        stored[where] ^= 1
        raw.put(b"group2", bytes(stored))

    database = reopen(tmp_path)
    with pytest.raises(CorruptRowError, match=b"group2".hex()) as caught:
        database.get(b"group2")
    with pytest.raises(CorruptRowError):
        list(database.scan(b"group"))

    assert caught.value.key == b"group2"
    assert database.get(b"group1") == b"good"
    database.close()


def test_a_row_under_the_key_of_another_is_noticed(tmp_path: Path) -> None:
    database = reopen(tmp_path)
    database.put(b"one", b"value")
    database.close()
    with lmdb.open(str(tmp_path / "db")) as env, env.begin(write=True) as raw:
        raw.put(b"two", raw.get(b"one"))

    database = reopen(tmp_path)
    with pytest.raises(CorruptRowError):
        database.get(b"two")
    database.close()


def test_a_row_too_short_for_a_check_is_noticed(tmp_path: Path) -> None:
    database = reopen(tmp_path)
    database.put(b"one", b"value")
    database.close()
    with lmdb.open(str(tmp_path / "db")) as env, env.begin(write=True) as raw:
        raw.put(b"one", b"abc")

    database = reopen(tmp_path)
    with pytest.raises(CorruptRowError):
        database.get(b"one")
    database.close()


# ----------------------------------------------------------------------------- failure


def test_a_failed_write_is_fatal_and_acknowledges_nothing(tmp_path: Path) -> None:
    fatal: list[FatalStorageError] = []
    acknowledged: list[str] = []
    turn = Turn()
    database = Database(
        tmp_path / "db",
        sync=False,
        map_bytes=1 * MIB,
        schedule=turn.call_soon,
        on_fatal=fatal.append,
    )
    database.put(b"first", b"committed")
    turn.run()

    with pytest.raises(FatalStorageError, match="put"):
        for number in range(1000):
            database.put(b"key%d" % number, bytes(4000))
            database.on_commit(lambda: acknowledged.append("no"))
    turn.run()
    for again in (lambda: database.put(b"key", b""), lambda: database.get(b"first")):
        with pytest.raises(FatalStorageError):
            again()
    database.close()

    assert len(fatal) == 1
    assert acknowledged == []
    database = reopen(tmp_path)
    assert [key for key, _ in database.scan(b"")] == [b"first"]
    database.close()


def test_a_failed_commit_is_fatal_and_acknowledges_nothing(tmp_path: Path) -> None:
    """A file that may not grow stands for a full disk."""
    code = f"""
import resource, signal, sys
from benchfsd.database import Database, FatalStorageError
database = Database({str(tmp_path / "db")!r}, sync=False, schedule=lambda callback: None,
                    on_fatal=lambda error: print("fatal"))
database.put(b"first", b"committed")
database.commit()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
for number in range(2000):
    database.put(b"key%d" % number, bytes(1000))
database.on_commit(lambda: print("acknowledged"))
try:
    database.commit()
except FatalStorageError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[0] == "fatal"
    assert "commit in the database failed" in done.stdout
    assert "acknowledged" not in done.stdout
    database = reopen(tmp_path)
    assert [key for key, _ in database.scan(b"")] == [b"first"]
    database.close()


def test_after_close_everything_is_refused_but_nothing_is_fatal(tmp_path: Path) -> None:
    fatal: list[FatalStorageError] = []
    database = Database(
        tmp_path / "db", sync=False, schedule=lambda callback: None, on_fatal=fatal.append
    )
    database.put(b"key", b"value")
    database.close()
    database.close()

    with pytest.raises(FatalStorageError, match="closed"):
        database.get(b"key")
    with pytest.raises(FatalStorageError, match="closed"):
        database.put(b"key", b"")
    assert fatal == []
    database = reopen(tmp_path)
    assert database.get(b"key") == b"value"
    database.close()


@pytest.mark.parametrize("sync", [False, True])
def test_a_commit_survives_kill_9_and_an_open_batch_does_not(tmp_path: Path, sync: bool) -> None:
    code = f"""
import sys, time
from benchfsd.database import Database
database = Database({str(tmp_path / "db")!r}, sync={sync}, schedule=lambda callback: None)
for number in range(500):
    database.put(b"kept%d" % number, b"value%d" % number)
    if number % 7 == 0:
        database.commit()
database.on_commit(lambda: print("committed", flush=True))
database.commit()
database.put(b"open", b"batch")
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)

    database = reopen(tmp_path)
    rows = dict(database.scan(b""))
    database.close()
    assert line == b"committed\n"
    assert rows == {b"kept%d" % number: b"value%d" % number for number in range(500)}
