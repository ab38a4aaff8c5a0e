"""Debian's packages of the peers: which are missing, which version is there, how they come here.

Nothing that the packages bring is started: while they are installed a policy denies it, and what
they want started with the machine is disabled again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchfs.bench.peers.choose import GLUSTERFS, MOOSEFS

PACKAGES = {
    GLUSTERFS: ("glusterfs-server",),
    MOOSEFS: ("moosefs-master", "moosefs-chunkserver", "moosefs-client"),
}
SERVICES = {
    "glusterfs-server": "glusterd",
    "moosefs-master": "moosefs-master",
    "moosefs-chunkserver": "moosefs-chunkserver",
}
POLICY = Path("/usr/sbin/policy-rc.d")
DENIED = 101  # a policy's status for: do not start it
INSTALL = ("apt-get", "--yes", "--no-install-recommends", "install")


def version(package: str) -> str | None:
    """Of an installed package; None if it is not."""
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}", package]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    status, _, number = done.stdout.partition(" ")
    return number if status == "installed" else None


def missing(systems: Sequence[str]) -> list[str]:
    """What these systems need and is not installed."""
    needed = [package for name in systems for package in PACKAGES.get(name, ())]
    return [package for package in needed if version(package) is None]


def versions(systems: Sequence[str]) -> dict[str, str]:
    """Of the peers among these systems."""
    found = {name: version(PACKAGES[name][0]) for name in systems if name in PACKAGES}
    return {name: number for name, number in found.items() if number is not None}


def install(packages: Sequence[str]) -> None:
    """Install them, start nothing, enable nothing. OSError that says what went wrong."""
    if shutil.which("apt-get") is None:
        raise OSError(f"there is no apt-get to install {' '.join(packages)} with")
    with services_held_back():
        _run(*INSTALL, *packages)
    for package in packages:
        if package in SERVICES:
            disable(SERVICES[package])


@contextlib.contextmanager
def services_held_back(policy: Path = POLICY) -> Iterator[None]:
    """While it lasts, package scripts are told not to start services.

    A policy that is there already stays, if it says so as well; OSError if it does not.
    """
    try:
        descriptor = os.open(policy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755)
    except FileExistsError:
        if status_of(policy) != DENIED:
            text = f"{policy} lets services start: install the packages by hand"
            raise OSError(text) from None
        yield
        return
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"#!/bin/sh\nexit {DENIED}\n")
        yield
    finally:
        policy.unlink()


def status_of(policy: Path) -> int:
    """What a policy says to the start of a service."""
    return subprocess.run([policy, "glusterd", "start"], check=False).returncode


def disable(service: str) -> None:
    """Not started with the machine, by systemd or by init scripts. OSError."""
    if shutil.which("systemctl") is not None:
        _run("systemctl", "disable", service)
    elif shutil.which("update-rc.d") is not None:
        _run("update-rc.d", service, "disable")


def _run(*command: str) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        check=False,
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise OSError(f"{' '.join(command)}: {lines[-1] if lines else done.returncode}")
