"""The settings of a client: argument over environment over file over default.

The environment has them in capitals after `BENCHFS_`; the file, TOML with the fields of
`ClientSettings` as keys, is `benchfs/config.toml` where the user's settings are, or what
BENCHFS_CONFIG names. A key of the file that does not exist is an error: a setting that is
silently ignored is worse than none. Other `BENCHFS_*` variables are left alone, since the daemon
reads some. Plain code, as every command starts with it: importing pydantic would take as long as
all the rest.
"""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import platformdirs

from benchfs.errors import error
from benchfs.rpc.transports.choose import ENGINES

PREFIX = "BENCHFS_"
CONFIG_VARIABLE = "BENCHFS_CONFIG"
MAX_SECONDS = 4_000_000.0  # deadlines travel as milliseconds in 32 bits


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """One client's settings. Made by `load`."""

    cluster: str | None = None  # URL, instance name or directory; None: the one running here
    secret_file: Path | None = None  # the secret of a cluster that is given by URL
    transport: str = "auto"  # the engine that carries frames
    timeout: float = 10.0  # seconds that an operation may take
    cache_bytes: int = 64 * 1024 * 1024  # of the chunk cache; 0: none
    in_flight_bytes: int = 32 * 1024 * 1024  # of reads, and as much of writes
    attribute_seconds: float = 1.0  # how long directories and sizes are believed; 0: always ask
    local_reads: bool = True  # read chunks of nodes on this host from their files


def config_file() -> Path:
    """Where the file of settings is, or would be."""
    given = os.environ.get(CONFIG_VARIABLE)
    return Path(given) if given else Path(platformdirs.user_config_dir("benchfs")) / "config.toml"


def load(arguments: Mapping[str, object]) -> ClientSettings:
    """All settings; `arguments` are those of the caller, None where it gave none.

    Raises EINVAL that names the file or variable and the key, ENOENT for a BENCHFS_CONFIG that
    is not there, ValueError for a wrong argument.
    """
    values = _from_file() | _from_environment()
    for key, value in arguments.items():
        if value not in (None, ""):
            values[key] = _CHECKS[key](value)
    return ClientSettings(**values)  # type: ignore[arg-type]  # each checked by its key


def _from_environment() -> dict[str, object]:
    values = {}
    for key, check in _CHECKS.items():
        variable = PREFIX + key.upper()
        text = os.environ.get(variable)
        if text:
            try:
                values[key] = check(text if key in _TEXTS else _number(text))
            except ValueError as problem:
                raise error(errno.EINVAL, "read", f"${variable}", text=str(problem)) from None
    return values


def _from_file() -> dict[str, object]:
    file = config_file()
    try:
        text = file.read_bytes()
    except FileNotFoundError as exc:
        if os.environ.get(CONFIG_VARIABLE):
            text_of = f"named by {CONFIG_VARIABLE}"
            raise error(errno.ENOENT, "read", str(file), text=text_of) from exc
        return {}
    except OSError as exc:
        raise error(exc.errno or errno.EIO, "read", str(file)) from exc
    try:
        return _from_toml(text, file)
    except ValueError as problem:
        raise error(errno.EINVAL, "read", str(file), text=str(problem)) from None


def _from_toml(text: bytes, file: Path) -> dict[str, object]:
    import tomllib  # noqa: PLC0415 (slow to import, and most have no file)

    values = {}
    for key, value in tomllib.loads(text.decode()).items():
        if key not in _CHECKS:
            near = difflib.get_close_matches(key.lower().replace("-", "_"), _CHECKS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(_CHECKS)}"
            raise ValueError(f"unknown key {key!r}: {hint}")
        try:
            values[key] = _CHECKS[key](value)
        except ValueError as problem:
            raise ValueError(f"{key!r}: {problem}") from None
    secret_file = values.get("secret_file")
    if isinstance(secret_file, Path):
        values["secret_file"] = file.parent / secret_file
    return values


def _number(text: str) -> object:
    """A variable's text as TOML would have it: a number or a truth value, if it is one."""
    lower = text.strip().lower()
    if lower in {"true", "yes", "on", "false", "no", "off"}:
        return lower in {"true", "yes", "on"}
    for kind in (int, float):
        try:
            return kind(lower)
        except ValueError:
            continue
    return text


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not a text")
    return value


def _path(value: object) -> Path:
    return Path(value if isinstance(value, os.PathLike) else _text(value)).expanduser()


def _transport(value: object) -> str:
    known = ("auto", *ENGINES)
    if value not in known:
        raise ValueError(f"there is no transport {value!r}; there are {', '.join(known)}")
    return str(value)


def _seconds(value: object) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value <= MAX_SECONDS
    ):
        raise ValueError(f"{value!r} is not a number of seconds")
    return float(value)


def _timeout(value: object) -> float:
    if (seconds := _seconds(value)) == 0:
        raise ValueError("0 seconds is no time to wait")
    return seconds


def _bytes(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is not a number of bytes")
    return value


def _in_flight(value: object) -> int:
    if (size := _bytes(value)) == 0:
        raise ValueError("with 0 bytes in flight nothing moves")
    return size


def _truth(value: object) -> bool:
    if value not in (True, False, 0, 1):
        raise ValueError(f"{value!r} is neither true nor false")
    return bool(value)


_CHECKS: dict[str, Callable[[object], object]] = {
    "cluster": _text,
    "secret_file": _path,
    "transport": _transport,
    "timeout": _timeout,
    "cache_bytes": _bytes,
    "in_flight_bytes": _in_flight,
    "attribute_seconds": _seconds,
    "local_reads": _truth,
}
_TEXTS = frozenset({"cluster", "secret_file", "transport"})
assert list(_CHECKS) == [field.name for field in fields(ClientSettings)]
