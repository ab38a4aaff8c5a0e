"""The settings of a daemon: environment over file over default, all checked before it starts.

The file is TOML with the fields of `NodeConfig` as keys; the environment has them in capitals
after `BENCHFS_` (lists as text with commas). A key of the file that does not exist is an error:
a setting that is silently ignored is worse than none. Other `BENCHFS_*` variables are left
alone, since the client reads some. Paths are absolute, so that no working directory matters.
"""

from __future__ import annotations

import difflib
import os
import socket
import tomllib
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from benchfsd.mode import Mode

PREFIX = "BENCHFS_"
MAX_UNIX_PATH = 107  # bytes: what a socket's address has room for


class ConfigError(Exception):
    """The settings cannot be used; the text names each one that is wrong, one a line."""


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError(f"{str(path)!r} is not an absolute path")
    return path


def _split(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _tcp_address(address: str) -> str:
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


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Address = Annotated[str, AfterValidator(_address)]
TcpAddress = Annotated[str, AfterValidator(_tcp_address)]
NodeId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Host = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[!-~]+$")]


class NodeConfig(BaseSettings):
    """One daemon's settings. Made by `load`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    node_id: NodeId = Field(description="this node's name in its cluster")
    registry_dir: AbsolutePath = Field(description="where the cluster map and its settings are")
    data_dir: AbsolutePath = Field(description="this node's data; no other node may use it")
    secret_file: AbsolutePath = Field(description="the cluster's secret; only its owner reads it")
    listen: Annotated[
        tuple[Address, ...], NoDecode, BeforeValidator(_split), Field(min_length=1, max_length=16)
    ] = Field(
        default=("tcp://127.0.0.1:0",),
        description="tcp://host:port (port 0: any), unix:///path and ucx://ip:port, at least one",
    )
    mode: Mode = Field(
        default=Mode.WRITEBACK,
        description="what acknowledged bytes survive: volatile, writeback (kill -9) or durable",
    )
    host: Host = Field(
        default_factory=socket.gethostname,
        description="the failure domain: nodes with the same host fail together",
    )
    reserve_bytes: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="bytes of the disk to keep free; unset: 5 %, 1 GiB at most"
    )
    lease_seconds: Annotated[float, Field(ge=0.5, le=3600)] = Field(
        default=30.0, description="a client not heard of for so long has lost its open files"
    )
    metrics_listen: TcpAddress | None = Field(
        default=None, description="where Prometheus gets metrics, tcp://host:port; unset: nowhere"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least level that is logged"
    )
    log_file: AbsolutePath | None = Field(
        default=None, description="where the log goes; unset: standard error"
    )
    superuser: Annotated[int, Field(ge=0, lt=2**32 - 1)] = Field(
        default_factory=os.geteuid,
        description="the uid that may do everything; unset: the one that the daemon runs as",
    )
    root: Literal["squashed", "trusted"] = Field(
        default="squashed",
        description="squashed: root, unless it is the superuser, has nobody's rights",
    )
    transport: Literal["auto", "sockets", "uring", "ucx"] = Field(
        default="auto", description="the engine that carries frames"
    )

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

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 (what pydantic passes)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What the file says is passed to the constructor: the environment goes before it."""
        return env_settings, init_settings


def load(file: Path | None = None) -> NodeConfig:
    """The settings of `file`, if one is given, and of the environment. Raises ConfigError."""
    values: dict[str, object] = {}
    if file is not None:
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as problem:
            raise ConfigError(f"{file}: {problem.strerror}") from None
        except ValueError as problem:  # of TOML, and of UTF-8
            raise ConfigError(f"{file}: not a TOML file: {problem}") from None
    try:
        return NodeConfig(**values)  # type: ignore[arg-type]  # what the file says is checked here
    except ValidationError as failure:
        source = str(file) if file is not None else "settings"
        raise ConfigError(_describe(failure, source)) from None


def _describe(failure: ValidationError, source: str) -> str:
    lines = []
    for problem in failure.errors(include_url=False, include_context=False, include_input=False):
        key = str(problem["loc"][0]) if problem["loc"] else "?"
        if problem["type"] == "extra_forbidden":
            lines.append(f"{source}: unknown key {key!r}{_nearest(key)}")
        elif problem["type"] == "missing":
            lines.append(f"{source}: {key!r} is missing (or {PREFIX}{key.upper()} in environment)")
        else:
            text = problem["msg"].removeprefix("Value error, ")
            lines.append(f"{source}: {key!r}: {text}")
    return "\n".join(lines)


def _nearest(key: str) -> str:
    known = list(NodeConfig.model_fields)
    near = difflib.get_close_matches(key.lower().replace("-", "_"), known, n=1)
    return f": did you mean {near[0]!r}?" if near else f" (there are: {', '.join(known)})"
