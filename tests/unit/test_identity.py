"""Who may use a data directory, and what its superblock tells about the daemon before."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchfs.env import ManualClock
from benchfsd.identity import FORMAT, Identity, IdentityError

MINE = {"cluster_id": "cluster-a", "node_id": "node-1", "mode": "writeback", "boot_id": "boot-1"}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "some" / "data"


@pytest.fixture
def identity(directory: Path, clock: ManualClock) -> Iterator[Identity]:
    opened = Identity.open(directory, **MINE, clock=clock)
    yield opened
    opened.close()


@contextmanager
def opened(directory: Path, clock: ManualClock) -> Iterator[Identity]:
    identity = Identity.open(directory, **MINE, clock=clock)
    yield identity
    identity.close()


def test_a_new_directory_is_made_private(directory: Path, identity: Identity) -> None:
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert identity.is_new
    assert identity.clean_stop
    assert not identity.needs_check


def test_a_directory_that_was_open_to_others_is_closed(directory: Path, clock) -> None:
    directory.mkdir(parents=True)
    directory.chmod(0o755)

    Identity.open(directory, **MINE, clock=clock).close()

    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("clean", "boot_id", "clean_stop", "needs_check"),
    [
        (True, "boot-1", True, False),
        (True, "boot-2", True, False),
        (False, "boot-1", False, False),
        (False, "boot-2", False, True),
    ],
)
def test_how_the_last_daemon_ended_is_known(  # noqa: PLR0917
    directory, identity, clock, clean, boot_id, clean_stop, needs_check
) -> None:
    if clean:
        identity.mark_clean()
    identity.close()

    again = Identity.open(directory, **{**MINE, "boot_id": boot_id}, clock=clock)

    assert not again.is_new
    assert (again.clean_stop, again.needs_check) == (clean_stop, needs_check)
    again.close()


def test_opened_again_it_counts_as_in_use(directory: Path, identity: Identity, clock) -> None:
    identity.mark_clean()
    identity.close()
    Identity.open(directory, **MINE, clock=clock).close()  # killed before it said more

    with opened(directory, clock) as again:
        assert not again.clean_stop


def test_the_incarnation_stays_with_the_store_and_not_with_the_name(directory, clock, tmp_path):
    first = Identity.open(directory, **MINE, clock=clock)
    first.close()
    clock.advance(5)
    with opened(directory, clock) as again:
        assert again.incarnation == first.incarnation
    with opened(tmp_path / "lost and made anew", clock) as other:
        assert other.incarnation > first.incarnation


def test_a_second_daemon_is_refused_and_told_who_the_first_is(directory, identity, clock) -> None:
    with pytest.raises(IdentityError, match=f"in use .*node-1, process {os.getpid()}"):
        Identity.open(directory, **MINE, clock=clock)

    identity.close()
    Identity.open(directory, **MINE, clock=clock).close()


def test_the_directory_is_free_again_when_its_daemon_was_killed(directory, clock) -> None:
    daemon = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib\n"
            "from benchfs.env import system_env\n"
            "from benchfsd.identity import Identity\n"
            "kept = Identity.open(pathlib.Path(sys.argv[1]), cluster_id='cluster-a',"
            " node_id='node-1', mode='writeback', clock=system_env().clock, boot_id='boot-1')\n"
            "print('ready', flush=True)\n"
            "sys.stdin.read()\n",
            str(directory),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with daemon:
        assert daemon.stdout.readline() == "ready\n"
        with pytest.raises(IdentityError, match=f"process {daemon.pid}"):
            Identity.open(directory, **MINE, clock=clock)
        daemon.kill()

    with opened(directory, clock) as again:
        assert not again.clean_stop


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cluster_id", "cluster-b", "belongs to cluster cluster-a, not cluster-b"),
        ("node_id", "node-2", "belongs to node node-1, not node-2"),
        ("mode", "durable", "made with mode writeback, not durable"),
    ],
)
def test_the_directory_of_another_is_refused_and_left_alone(  # noqa: PLR0917
    directory, identity, clock, field, value, message
) -> None:
    identity.mark_clean()
    identity.close()
    before = (directory / "superblock").read_bytes()

    with pytest.raises(IdentityError, match=message):
        Identity.open(directory, **{**MINE, field: value}, clock=clock)

    assert (directory / "superblock").read_bytes() == before
    Identity.open(directory, **MINE, clock=clock).close()  # it is not locked either


def test_a_directory_that_holds_something_else_is_refused(directory: Path, clock) -> None:
    directory.mkdir(parents=True)
    (directory / "thesis.tex").touch()

    with pytest.raises(IdentityError, match=r"not empty .*'thesis\.tex'"):
        Identity.open(directory, **MINE, clock=clock)


def test_what_a_new_file_system_holds_and_a_torn_start_leaves_is_nothing(directory, clock) -> None:
    directory.mkdir(parents=True)
    (directory / "lost+found").mkdir()
    (directory / "superblock.new").write_bytes(b"{")

    with opened(directory, clock) as identity:
        assert identity.is_new


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda fields: b"", "damaged"),
        (lambda fields: b"[]", "damaged"),
        (lambda fields: json.dumps({**fields, "clean": 1}), "damaged: clean is 1"),
        (lambda fields: json.dumps({**fields, "more": 1}), "damaged"),
        (lambda fields: json.dumps({"format": FORMAT}), "damaged"),
    ],
)
def test_a_superblock_that_can_not_be_read_is_refused(directory, identity, clock, change, message):
    identity.close()
    superblock = directory / "superblock"
    changed = change(json.loads(superblock.read_bytes()))
    superblock.write_bytes(changed if isinstance(changed, bytes) else changed.encode())

    with pytest.raises(IdentityError, match=message):
        Identity.open(directory, **MINE, clock=clock)


@pytest.mark.parametrize("other", [FORMAT - 1, FORMAT + 1])
def test_a_directory_of_another_format_is_refused_and_left_alone(
    directory, identity, clock, other
) -> None:
    identity.close()
    superblock = directory / "superblock"
    written = json.dumps({**json.loads(superblock.read_bytes()), "format": other}).encode()
    superblock.write_bytes(written)

    with pytest.raises(IdentityError) as refused:
        Identity.open(directory, **MINE, clock=clock)

    assert f"has format {other}, " in str(refused.value)
    assert f"reads format {FORMAT} only: name a new directory" in str(refused.value)
    assert superblock.read_bytes() == written


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path, clock) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(IdentityError, match="cannot be used"):
        Identity.open(tmp_path / "file", **MINE, clock=clock)


def test_the_machine_knows_its_own_boot(directory: Path, clock) -> None:
    mine = {key: value for key, value in MINE.items() if key != "boot_id"}
    first = Identity.open(directory, **mine, clock=clock)
    first.close()
    again = Identity.open(directory, **mine, clock=clock)

    assert len(again.superblock.boot_id) > 30
    assert not again.needs_check
    again.close()
