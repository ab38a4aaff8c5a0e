"""Instances: clusters whose daemons run on this host, each in a directory of its own.

`find` turns what a user typed into addresses and a secret; `create`, `start` and `stop` are
what `benchfs up` and `benchfs down` do. What a directory holds: `benchfs/instancedir.py`.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import anyio

from benchfs.clusterspec import CLUSTER_KEY, NODE_PREFIX, ClusterSpec, decode_node, read_spec
from benchfs.env import Env, system_env
from benchfs.errors import ClusterError, error
from benchfs.instancedir import all_instances, make_sockets, named
from benchfs.layout import DEFAULT_CHUNK_SIZE
from benchfs.placement import NodeSpec, group_count_for, plan
from benchfs.registry import DirectoryRegistry
from benchfs.spawn import log_tail, spawn

SECRET_BYTES = 32
START_SECONDS = 20.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.01
SECRET_VARIABLE = "BENCHFS_SECRET_FILE"  # noqa: S105 (the name of a variable)
READY_VARIABLE = "BENCHFSD_READY_FD"


class Endpoints(NamedTuple):
    """How to reach a cluster."""

    addresses: tuple[str, ...]
    secret: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What a new instance is made with."""

    name: str = "default"
    nodes: int = 3
    mode: str = "writeback"
    chunk_size: int = DEFAULT_CHUNK_SIZE
    data: Path | None = None  # where the nodes' data goes; None: into the instance
    node_settings: tuple[tuple[str, str | int], ...] = ()  # further keys of node.toml


def running_nodes(directory: Path) -> dict[str, int]:
    """The pids of an instance's daemons that run, by node id."""
    found = {}
    for config in sorted(directory.glob("*/node.toml")):
        pid = _running_pid(config.parent)
        if pid is not None:
            found[config.parent.name] = pid
    return found


# ---------------------------------------------------------------- finding


async def find(cluster: str | None, secret_file: Path | None = None) -> Endpoints:
    """What a user means by `cluster`: a URL, a name, a directory, or nothing at all.

    `secret_file` is for a URL that names none; without, it is known for instances of this host.

    Raises ClusterError (NoClusterError) that says what to type instead.
    """
    if not cluster:
        return await _the_only_one()
    if cluster.startswith("benchfs://"):
        return await _from_url(cluster, secret_file)
    directory = Path(cluster) if "/" in cluster else named(cluster, "connect")
    if not (directory / "registry").is_dir():
        raise error(errno.ENODEV, "connect", cluster, text=f"no instance at {directory}")
    return await _from_directory(directory)


async def _the_only_one() -> Endpoints:
    running = [path for path in all_instances() if running_nodes(path)]
    if len(running) == 1:
        return await _from_directory(running[0])
    if running:
        names = ", ".join(path.name for path in running)
        text = f"{len(running)} run on this host ({names}): name one with --cluster"
    else:
        text = "none runs on this host: start one with `benchfs up`, or give --cluster URL"
    raise error(errno.ENODEV, "connect", None, text=text)


async def _from_directory(directory: Path) -> Endpoints:
    registry = DirectoryRegistry(directory / "registry", system_env())
    addresses: list[str] = []
    for key in await registry.list(NODE_PREFIX):
        addresses += decode_node((await registry.read(key)).value).addresses
    return Endpoints(tuple(addresses), _read_secret(directory / "secret"), directory.name)


async def _from_url(url: str, secret_file: Path | None) -> Endpoints:
    parts = urlsplit(url)
    hosts = [host for host in parts.netloc.split(",") if host]
    addresses = tuple(f"tcp://{host}" for host in hosts)
    for address in addresses or ("",):
        try:
            good = urlsplit(address).hostname and urlsplit(address).port
        except ValueError:
            good = None
        if not good:
            text = "a URL is benchfs://host:port[,host:port...]"
            raise error(errno.EINVAL, "connect", url, text=text)
    named_in_url = parse_qs(parts.query).get("secret_file")
    given = Path(named_in_url[0]) if named_in_url else secret_file
    if given is not None:
        return Endpoints(addresses, _read_secret(given), parts.netloc)
    for directory in all_instances():
        local = await _from_directory(directory)
        if set(addresses) & set(local.addresses):
            return Endpoints(local.addresses, local.secret, local.name)
    text = f"its secret is not known here: add ?secret_file=FILE, or set {SECRET_VARIABLE}"
    raise error(errno.EKEYREJECTED, "connect", url, text=text)


def _read_secret(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        code = exc.errno or errno.EIO
        raise error(code, "connect", str(file), text="the cluster's secret") from exc


# ---------------------------------------------------------------- making


async def create(directory: Path, settings: Settings, env: Env | None = None) -> None:
    """Make an instance's directory, all of it or nothing; no daemon is started.

    Raises FileExistsError, also for data of another instance at the place of this one's.
    """
    env = env or system_env()
    if directory.exists():
        raise error(errno.EEXIST, "up", str(directory))
    directory.parent.mkdir(parents=True, exist_ok=True)
    draft = directory.with_name(f".{directory.name}.{env.rng.token_bytes(4).hex()}")
    draft.mkdir(mode=0o700)
    sockets = make_sockets()
    try:
        await _fill(draft, directory, settings, sockets, env)
        try:
            draft.rename(directory)
        except OSError as exc:  # another one was made there meanwhile
            raise error(errno.EEXIST, "up", str(directory)) from exc
    except BaseException:
        shutil.rmtree(draft)
        shutil.rmtree(sockets)
        raise


async def _fill(draft: Path, directory: Path, settings: Settings, sockets: Path, env: Env) -> None:
    """Write into `draft` what `directory` is to hold."""
    secret = draft / "secret"
    descriptor = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(env.rng.token_bytes(SECRET_BYTES))
    host = os.uname().nodename
    nodes = [NodeSpec(f"node-{number}", host) for number in range(settings.nodes)]
    table = plan(group_count_for(len(nodes)), nodes)
    spec = ClusterSpec(
        env.rng.token_bytes(8).hex(), settings.name, settings.mode, settings.chunk_size, table
    )
    registry = DirectoryRegistry(draft / "registry", env)
    await registry.cas(CLUSTER_KEY, 0, spec.encode())
    (draft / "sockets").symlink_to(sockets)
    for node in nodes:
        place = draft / node.node_id
        place.mkdir(mode=0o700)
        text = _config(directory, node.node_id, settings, sockets, host)
        (place / "node.toml").write_text(text, encoding="utf-8")


def _config(directory: Path, node_id: str, settings: Settings, sockets: Path, host: str) -> str:
    """The text of a node's node.toml."""
    place = directory / node_id
    data = place / "data"
    if settings.data is not None:
        data = settings.data.absolute() / f"{settings.name}-{node_id}"
        if data.exists():
            raise error(errno.EEXIST, "up", str(data), text="data of another instance")
    values: dict[str, object] = {
        "node_id": node_id,
        "registry_dir": str((directory / "registry").absolute()),
        "data_dir": str(data.absolute()),
        "secret_file": str((directory / "secret").absolute()),
        "listen": ["tcp://127.0.0.1:0", f"unix://{sockets}/{node_id}"],
        "mode": settings.mode,
        "host": host,
        "superuser": os.geteuid(),
        "log_file": str((place / "log").absolute()),
        **dict(settings.node_settings),
    }
    # TOML's strings, numbers and arrays are written as JSON's
    return "".join(
        f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items()
    )


# ---------------------------------------------------------------- starting and stopping


async def start(directory: Path, node_ids: Sequence[str] | None = None) -> None:
    """Start the daemons and return when all are ready.

    If one does not start, those that were started here are stopped again. Raises ClusterError
    with its reason.
    """
    sockets = (directory / "sockets").resolve()
    sockets.mkdir(mode=0o700, exist_ok=True)
    if node_ids is None:
        node_ids = [path.parent.name for path in sorted(directory.glob("*/node.toml"))]
    for node_id in running_nodes(directory).keys() & set(node_ids):
        raise ClusterError(errno.EBUSY, "start", str(directory), node_id, "it runs already")
    waiting: dict[str, int] = {}
    try:
        for node_id in node_ids:
            waiting[node_id] = _spawn(directory / node_id)
        for node_id in node_ids:
            await _wait_ready(directory / node_id, waiting[node_id])
    except BaseException:
        await stop(directory, waiting)
        raise
    finally:
        for descriptor in waiting.values():
            os.close(descriptor)


async def stop(directory: Path, node_ids: Collection[str] | None = None) -> None:
    """Stop daemons (None: all): SIGTERM, and SIGKILL for what has not ended in time."""

    def running() -> list[int]:
        found = running_nodes(directory)
        return [pid for node, pid in found.items() if node_ids is None or node in node_ids]

    for pid in running():
        _signal(pid, signal.SIGTERM)
    with anyio.move_on_after(STOP_SECONDS):
        while running():
            await anyio.sleep(POLL_SECONDS)
    for pid in running():
        _signal(pid, signal.SIGKILL)
    with anyio.fail_after(STOP_SECONDS):
        while running():
            await anyio.sleep(POLL_SECONDS)


async def url(directory: Path) -> str:
    """The URL of a running instance: its TCP addresses."""
    endpoints = await _from_directory(directory)
    hosts = [urlsplit(a).netloc for a in endpoints.addresses if a.startswith("tcp://")]
    return f"benchfs://{','.join(hosts)}"


async def mode_of(directory: Path) -> str:
    """The mode an instance was made with."""
    spec = await read_spec(DirectoryRegistry(directory / "registry", system_env()))
    return "" if spec is None else spec.mode


def _spawn(node: Path) -> int:
    """Start one daemon; returns the descriptor on which it says that it is ready."""
    arguments = ("-m", "benchfsd", "--config", str((node / "node.toml").absolute()))
    environment = dict(os.environ)
    environment.pop(SECRET_VARIABLE, None)  # of the cluster that the caller uses, not of this one
    pid, reader = spawn(arguments, environment, READY_VARIABLE, node / "log")
    (node / "pid").write_text(f"{pid}\n")
    os.set_blocking(reader, False)
    return reader


async def _wait_ready(node: Path, reader: int) -> None:
    heard = b""
    with anyio.move_on_after(START_SECONDS):
        while not heard.endswith(b"\n"):
            await anyio.wait_readable(reader)
            part = os.read(reader, 4096)
            if not part:
                raise _start_failure(node, "the daemon ended")
            heard += part
        return
    raise _start_failure(node, f"the daemon was not ready in {START_SECONDS:.0f} s")


def _start_failure(node: Path, reason: str) -> ClusterError:
    text = f"{reason}: {log_tail(node / 'log')}"
    return ClusterError(errno.EIO, "start", str(node), node.name, text)


def _running_pid(node: Path) -> int | None:
    """The pid of the node's daemon if it runs: a pid may belong to another process by now."""
    try:
        pid = int((node / "pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (OSError, ValueError):
        return None
    if state == "Z":
        return None if _reap(pid) else pid
    if command == [b""] and int(parent) == os.getpid():
        return pid  # a child that is ending, and not yet a zombie
    return pid if os.fsencode((node / "node.toml").absolute()) in command else None


def _reap(pid: int) -> bool:
    """False for a child whose first thread has ended, and another one not yet."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True  # the child of another process, which waits for it


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it ended meanwhile
