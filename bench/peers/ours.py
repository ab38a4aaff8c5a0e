"""The bare disk, and BenchFS with three nodes: through its mount, or through its own client."""

from __future__ import annotations

import sys
from pathlib import Path

from benchfs.bench.backends.choose import NATIVE, POSIX, Target
from benchfs.bench.peers.system import command, unmount
from benchfs.localcluster import LocalCluster

NODES = 3


class RawDisk:
    """A directory. What it has in memory stays there, as it does at the servers of the others."""

    target = Target(POSIX)
    directory = ""

    def start(self, place: Path) -> None:
        """As in `System`."""
        self.directory = f"{place}/work"

    def forget(self) -> None:
        """The kernel is server here, not client: it may remember."""


class Native:
    """BenchFS by its asynchronous client, a new one in each stage. `mode` as in SEMANTICS.md."""

    def __init__(self, mode: str = "writeback") -> None:
        self._mode = mode
        self.target = Target(NATIVE)
        self.directory = "/work"

    def start(self, place: Path) -> None:
        """As in `System`."""
        self._cluster = LocalCluster(NODES, mode=self._mode, data=place / "data")
        self._cluster.start()
        self.target = Target(NATIVE, self._cluster.url)

    def forget(self) -> None:
        """Every stage has new clients."""


class Mounted:
    """BenchFS at a directory, with the settings that it has; with `polling` or without."""

    target = Target(POSIX)
    directory = ""

    def __init__(self, mode: str = "writeback", *, polling: bool = True) -> None:
        self._mode = mode
        self._polling = polling

    def start(self, place: Path) -> None:
        """As in `System`."""
        settings: dict[str, str | int] = {} if self._polling else {"polling": False}
        cluster = LocalCluster(NODES, mode=self._mode, data=place / "data", settings=settings)
        cluster.start()
        self._cluster = cluster
        self._point = place / "mount"
        self._point.mkdir()
        self.directory = f"{self._point}/work"
        self._mount()

    def forget(self) -> None:
        """As in `System`."""
        unmount(self._point)
        self._mount()

    def _mount(self) -> None:
        benchfs = (sys.executable, "-m", "benchfs.cli.main", "mount")
        options = () if self._polling else ("--no-polling",)
        command(*benchfs, self._point, "--cluster", self._cluster.directory, *options)
