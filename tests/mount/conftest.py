"""Mounts for tests: real ones, by the command line, unmounted also when a test fails."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

import benchfs
from benchfs.fuse import mounts

COMMAND_SECONDS = 100


def missing_for_mounts() -> str:
    """What keeps this machine from mounting; empty if nothing does."""
    if importlib.util.find_spec("pyfuse3") is None:
        return "needs pyfuse3 (make env says how)"
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as exc:
        return f"needs to open /dev/fuse: {exc.strerror}"
    if os.geteuid() != 0 and shutil.which("fusermount3") is None:
        return "needs fusermount3 (Debian: fuse3) or root"
    return ""


def benchfs_command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run(
        [sys.executable, "-m", "benchfs.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


class Mount:
    """One mount of a cluster, which is named by its directory: URLs change with restarts."""

    def __init__(self, cluster: str, options: Sequence[str] = ()) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="mnt-"))
        done = benchfs_command("mount", self.path, "--cluster", cluster, *options)
        if done.returncode:
            self.path.rmdir()
        assert done.returncode == 0, done.stderr

    @property
    def pid(self) -> int:
        """The process that serves it."""
        pid = mounts.process(self.path)
        assert pid is not None
        return pid

    @property
    def log(self) -> str:
        """What the process said."""
        return mounts.record(self.path).log.read_text()

    def unmount(self) -> None:
        """As a user does."""
        done = benchfs_command("umount", self.path)
        assert done.returncode == 0, done.stderr

    def remove(self) -> None:
        """Whatever the state: end it, leave nothing."""
        pid = mounts.process(self.path)
        if mounts.is_mounted(self.path):
            try:
                mounts.detach(self.path, lazy=False)
            except OSError:
                mounts.detach(self.path, lazy=True)
        if pid is not None and not mounts.wait_for_end(pid, 5):
            os.kill(pid, signal.SIGKILL)
            mounts.wait_for_end(pid, 5)
        record = mounts.record(self.path)
        record.pid.unlink(missing_ok=True)
        record.log.unlink(missing_ok=True)
        self.path.rmdir()


@contextmanager
def mounted(cluster: benchfs.LocalCluster, *options: str) -> Iterator[Mount]:
    """A mount of the caller's own, gone at the end whatever has become of it."""
    made = Mount(str(cluster.directory), options)
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="session", autouse=True)
def _mounting_works() -> None:
    if reason := missing_for_mounts():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def cluster() -> Iterator[benchfs.LocalCluster]:
    """All modules share it, but for one that ends nodes."""
    with benchfs.LocalCluster(nodes=3) as running:
        yield running


@pytest.fixture(scope="module")
def mount(cluster: benchfs.LocalCluster) -> Iterator[Mount]:
    with mounted(cluster) as made:
        yield made


@pytest.fixture
def place(mount: Mount) -> Iterator[Path]:
    """An empty directory at the mount."""
    directory = Path(tempfile.mkdtemp(prefix="t-", dir=mount.path))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def fs(cluster: benchfs.LocalCluster) -> Iterator[benchfs.Client]:
    """Another client of the same cluster."""
    with benchfs.Client(str(cluster.directory)) as client:
        yield client


def tool(name: str) -> str:
    """The path of a program; skips the test if it is not there."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def run(*command: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """Run a program that has to succeed, and return its output."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
