"""The settings of a daemon: environment over file over default, all checked before it starts.

The file is TOML with the fields of `NodeConfig` as keys; the environment has them in capitals
after `BENCHFS_` (lists as text with commas). A key of the file that does not exist is an error:
a setting that is silently ignored is worse than none. Other `BENCHFS_*` variables are left
alone, since the client reads some. Paths are absolute, so that no working directory matters.
Plain code, like the client's settings: pydantic would take a third of the time of a start.
"""

from __future__ import annotations

import difflib
import os
import re
import socket
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from urllib.parse import urlsplit

from benchfsd.mode import Mode

PREFIX = "BENCHFS_"
MAX_UNIX_PATH = 107  # bytes: what a socket's address has room for
MAX_ADDRESSES = 16
LEASE_SECONDS = (0.5, 3600.0)
LOG_LEVELS = ("debug", "info", "warning", "error")
ROOTS = ("squashed", "trusted")
TRANSPORTS = ("auto", "sockets", "uring", "ucx")


class ConfigError(Exception):
    """The settings cannot be used; the text names each one that is wrong, one a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """One daemon's settings. Made by `load`."""

    node_id: str  # this node's name in its cluster
    registry_dir: Path  # where the cluster map and its settings are
    data_dir: Path  # this node's data; no other node may use it
    secret_file: Path  # the cluster's secret; only its owner reads it
    # tcp://host:port (port 0: any), unix:///path and ucx://ip:port, at least one
    listen: tuple[str, ...] = ("tcp://127.0.0.1:0",)
    mode: Mode = Mode.WRITEBACK  # what acknowledged bytes survive
    # the failure domain: nodes with the same host fail together
    host: str = field(default_factory=socket.gethostname)
    reserve_bytes: int | None = None  # of the disk to keep free; None: 5 %, 1 GiB at most
    lease_seconds: float = 30.0  # a client not heard of for so long has lost its open files
    metrics_listen: str | None = None  # where Prometheus gets metrics, tcp://host:port
    log_level: str = "info"  # the least level that is logged
    log_file: Path | None = None  # where the log goes; None: standard error
    superuser: int = field(default_factory=os.geteuid)  # the uid that may do everything
    root: str = "squashed"  # squashed: root, unless it is the superuser, has nobody's rights
    transport: str = "auto"  # the engine that carries frames
    polling: bool = True  # idle CPUs do not halt while requests follow each other

    @property
    def superusers(self) -> frozenset[int]:
        """The uids that may do everything."""
        return frozenset({self.superuser, 0} if self.root == "trusted" else {self.superuser})

    def addresses(self) -> tuple[str, ...]:
        """Where to listen: `listen`, and with UCX a port of its own beside TCP if none is given."""
        given = {urlsplit(address).scheme for address in self.listen}
        if self.transport != "ucx" or "ucx" in given:
            return self.listen
        hosts = [urlsplit(address).netloc for address in self.listen if address.startswith("tcp")]
        return (*self.listen, *(f"ucx://{host.rpartition(':')[0]}:0" for host in hosts[:1]))


def load(file: Path | None = None) -> NodeConfig:
    """The settings of `file`, if one is given, and of the environment. Raises ConfigError."""
    source = "settings" if file is None else str(file)
    values = {} if file is None else _from_file(file)
    wrong = [
        f"{source}: unknown key {key!r}{_nearest(key)}" for key in values if key not in _CHECKS
    ]
    values |= {
        key: text for key in _CHECKS if (text := os.environ.get(PREFIX + key.upper())) is not None
    }
    checked: dict[str, object] = {}
    for key, check in _CHECKS.items():
        if key in values:
            try:
                checked[key] = check(values[key])
            except ValueError as problem:
                wrong.append(f"{source}: {key!r}: {problem}")
        elif key in _REQUIRED:
            variable = PREFIX + key.upper()
            wrong.append(f"{source}: {key!r} is missing (or {variable} in environment)")
    if wrong:
        raise ConfigError("\n".join(wrong))
    return NodeConfig(**checked)  # type: ignore[arg-type]  # each checked by its key


def _from_file(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ConfigError(f"{file}: {problem.strerror}") from None
    except ValueError as problem:  # of TOML, and of UTF-8
        raise ConfigError(f"{file}: not a TOML file: {problem}") from None


def _nearest(key: str) -> str:
    near = difflib.get_close_matches(key.lower().replace("-", "_"), _CHECKS, n=1)
    return f": did you mean {near[0]!r}?" if near else f" (there are: {', '.join(_CHECKS)})"


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not a text")
    return value


def _node_id(value: object) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", _text(value)):
        raise ValueError(f"{value!r} is not 1 to 64 letters, digits, '_', '.' and '-'")
    return _text(value)


def _host(value: object) -> str:
    if not re.fullmatch(r"[!-~]{1,255}", _text(value)):
        raise ValueError(f"{value!r} is not 1 to 255 characters of ASCII without spaces")
    return _text(value)


def _path(value: object) -> Path:
    path = Path(_text(value))
    if not path.is_absolute():
        raise ValueError(f"{str(path)!r} is not an absolute path")
    return path


def _whole_number(value: object) -> int:
    """A number from 0, which in the environment is text."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is not a whole number from 0")
    return value


def _uid(value: object) -> int:
    uid = _whole_number(value)
    if uid >= 2**32 - 1:
        raise ValueError(f"{uid} is not a uid")
    return uid


def _lease(value: object) -> float:
    least, most = LEASE_SECONDS
    try:
        seconds = float(value) if isinstance(value, str | int | float) else -1.0
    except ValueError:
        seconds = -1.0
    if isinstance(value, bool) or not least <= seconds <= most:
        raise ValueError(f"{value!r} is not a number of seconds from {least} to {most:.0f}")
    return seconds


def _boolean(value: object) -> bool:
    """In the environment it is text."""
    found = {"true": True, "false": False}.get(str(value).lower())
    if found is None:
        raise ValueError(f"{value!r} is neither true nor false")
    return found


def _one_of(*known: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in known:
            raise ValueError(f"{value!r} is none of {', '.join(known)}")
        return _text(value)

    return check


def _mode(value: object) -> Mode:
    return Mode(_one_of(*Mode)(value))


def _addresses(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_ADDRESSES:
        raise ValueError(f"{value!r} is not a list of 1 to {MAX_ADDRESSES} addresses")
    return tuple(_address(_text(one)) for one in value)


def _address(address: str) -> str:
    if address.startswith("ucx://"):
        if not _has_host_and_port(address, "ucx"):
            raise ValueError(f"{address!r} is not an address like ucx://10.0.0.1:7001")
        return address
    if not address.startswith("unix://"):
        try:
            return _tcp_address(address)
        except ValueError as problem:
            raise ValueError(f"{problem} or unix:///run/node.sock") from None
    path = address.removeprefix("unix://")
    if not path.startswith("/") or path.endswith("/"):
        raise ValueError(f"{address!r} is not an address like unix:///run/node.sock")
    if len(path.encode()) > MAX_UNIX_PATH:
        raise ValueError(f"{address!r}: a unix socket's path has {MAX_UNIX_PATH} bytes at most")
    return address


def _tcp_address(value: object) -> str:
    address = _text(value)
    if not _has_host_and_port(address, "tcp"):
        raise ValueError(f"{address!r} is not an address like tcp://127.0.0.1:7000")
    return address


def _has_host_and_port(address: str, scheme: str) -> bool:
    try:
        parts = urlsplit(address)
        good = parts.scheme == scheme and parts.hostname and parts.port is not None
        return bool(good and address == f"{scheme}://{parts.netloc}" and "@" not in parts.netloc)
    except ValueError:  # a port that is no number, or too great
        return False


_CHECKS: Mapping[str, Callable[[object], object]] = {
    "node_id": _node_id,
    "registry_dir": _path,
    "data_dir": _path,
    "secret_file": _path,
    "listen": _addresses,
    "mode": _mode,
    "host": _host,
    "reserve_bytes": _whole_number,
    "lease_seconds": _lease,
    "metrics_listen": _tcp_address,
    "log_level": _one_of(*LOG_LEVELS),
    "log_file": _path,
    "superuser": _uid,
    "root": _one_of(*ROOTS),
    "transport": _one_of(*TRANSPORTS),
    "polling": _boolean,
}
_REQUIRED = frozenset(
    one.name
    for one in fields(NodeConfig)
    if one.default is MISSING and one.default_factory is MISSING
)
assert list(_CHECKS) == [one.name for one in fields(NodeConfig)]
