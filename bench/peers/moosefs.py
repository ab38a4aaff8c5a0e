"""MooseFS: a master, three chunk servers, its mount; one copy of everything, no trash.

Other settings are those of the package: its daemons and its mount run at niceness -19, and fsync
means that the chunk servers have the data, not their disks.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from benchfs.bench.backends.choose import POSIX, Target
from benchfs.bench.peers.system import (
    ADDRESS,
    background,
    command,
    is_mount,
    unmount,
    wait_until,
)

SERVERS = 3
FIRST_PORT = 9440
EMPTY_METADATA = Path("/var/lib/mfs/metadata.mfs.empty")  # the package's
RUNS_AS = "WORKING_USER = root\nWORKING_GROUP = root\n"


class MooseFS:
    """One host with three chunk servers."""

    target = Target(POSIX)
    directory = ""

    def start(self, place: Path) -> None:
        """As in `System`."""
        self._start_master(place)
        for number in range(SERVERS):
            self._start_server(place, number)
        self._point = place / "mount"
        self._point.mkdir()
        self.directory = f"{self._point}/work"
        wait_until("the master answers", lambda: _says(place / "master.log", "initialized"))
        self._mount()
        local = os.statvfs(place)
        enough = (SERVERS - 0.5) * local.f_bavail * local.f_frsize
        wait_until("all chunk servers have told of their space", lambda: self._free() >= enough)
        command("mfssetgoal", "1", self._point)
        command("mfssettrashtime", "0", self._point)

    def forget(self) -> None:
        """As in `System`."""
        unmount(self._point)
        self._mount()

    def _mount(self) -> None:
        command("mfsmount", self._point, "-H", ADDRESS)
        wait_until("MooseFS is mounted", lambda: is_mount(self._point))

    def _free(self) -> int:
        found = os.statvfs(self._point)
        return found.f_bavail * found.f_frsize

    @staticmethod
    def _start_master(place: Path) -> None:
        data = place / "master"
        data.mkdir()
        shutil.copyfile(EMPTY_METADATA, data / "metadata.mfs")
        (place / "exports.cfg").write_text("* / rw,alldirs,admin,maproot=0:0\n", encoding="ascii")
        (place / "topology.cfg").touch()
        settings = f"{RUNS_AS}DATA_PATH = {data}\n"
        settings += f"EXPORTS_FILENAME = {place}/exports.cfg\n"
        settings += f"TOPOLOGY_FILENAME = {place}/topology.cfg\n"
        for who in ("MATOML", "MATOCS", "MATOCL"):
            settings += f"{who}_LISTEN_HOST = {ADDRESS}\n"
        (place / "master.cfg").write_text(settings, encoding="utf-8")
        background(place / "master.log", "mfsmaster", "-c", place / "master.cfg", "-f", "start")

    @staticmethod
    def _start_server(place: Path, number: int) -> None:
        name = f"server{number}"
        disk, data = place / name / "disk", place / name / "data"
        disk.mkdir(parents=True)
        data.mkdir()
        (place / f"{name}.disks").write_text(f"{disk}\n", encoding="utf-8")
        settings = f"{RUNS_AS}DATA_PATH = {data}\n"
        settings += f"HDD_CONF_FILENAME = {place}/{name}.disks\n"
        settings += f"MASTER_HOST = {ADDRESS}\nMASTER_RECONNECTION_DELAY = 1\n"
        settings += f"BIND_HOST = {ADDRESS}\nCSSERV_LISTEN_HOST = {ADDRESS}\n"
        settings += f"CSSERV_LISTEN_PORT = {FIRST_PORT + number}\n"
        (place / f"{name}.cfg").write_text(settings, encoding="utf-8")
        log = place / f"{name}.log"
        background(log, "mfschunkserver", "-c", place / f"{name}.cfg", "-f", "start")


def _says(log: Path, word: str) -> bool:
    return word in log.read_text(encoding="utf-8", errors="replace").rpartition("daemon")[2]
