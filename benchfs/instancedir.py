"""The directories of instances on this host: their names, what one holds, and its removal.

    <home>/<name>/secret            the cluster's secret, mode 0600
    <home>/<name>/registry/         cluster, nodes and groups (`benchfs/clusterspec.py`)
    <home>/<name>/sockets           a link to the short directory of the unix sockets
    <home>/<name>/<node>/node.toml  settings of one daemon
    <home>/<name>/<node>/{log,pid,data}

A name can never lead out of `home`, and only what holds an instance is ever removed.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
import tempfile
from pathlib import Path

import platformdirs

from benchfs.errors import error

# The form of node ids: data directories and logs are called after both.
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
SOCKETS_PREFIX = "benchfs-"
NAME_RULE = "a name has 1 to 64 letters, digits, '.', '_', '-', and begins with a letter or digit"


def home() -> Path:
    """The directory of this user's instances."""
    return Path(platformdirs.user_state_dir("benchfs")) / "instances"


def named(name: str, operation: str) -> Path:
    """Where the instance `name` is, or would be. Raises EINVAL for what can be no name."""
    if not NAME_PATTERN.fullmatch(name):
        raise error(errno.EINVAL, operation, name, text=NAME_RULE)
    return home() / name


def all_instances() -> list[Path]:
    """The directories of this user's instances, running or not."""
    return sorted(path for path in home().glob("*") if is_instance(path))


def is_instance(directory: Path) -> bool:
    """Whether this holds an instance: a secret, a registry and nodes, under a name."""
    return (
        NAME_PATTERN.fullmatch(directory.name) is not None
        and not directory.is_symlink()
        and (directory / "secret").is_file()
        and (directory / "registry").is_dir()
        and next(directory.glob("*/node.toml"), None) is not None
    )


def data_directory(node: Path) -> Path:
    """Where a node keeps its data, by its settings."""
    for line in (node / "node.toml").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(" = ")
        if key == "data_dir":
            return Path(json.loads(value))
    raise error(errno.EINVAL, "read", str(node / "node.toml"), text="it names no data_dir")


def make_sockets() -> Path:
    """A new directory for unix sockets, whose paths have 107 bytes at most."""
    return Path(tempfile.mkdtemp(prefix=SOCKETS_PREFIX))


def remove(directory: Path) -> None:
    """Remove a stopped instance with all its data. EINVAL for a directory that holds none."""
    if not is_instance(directory):
        raise error(errno.EINVAL, "remove", str(directory), text="it holds no instance")
    for config in directory.glob("*/node.toml"):
        data = data_directory(config.parent)
        if data.is_dir():
            shutil.rmtree(data)
    sockets = directory / "sockets"
    place = sockets.resolve()
    if sockets.is_symlink() and place.name.startswith(SOCKETS_PREFIX) and place.is_dir():
        shutil.rmtree(place)
    shutil.rmtree(directory)
