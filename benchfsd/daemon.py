"""The life of a daemon: start in order, serve, stop in order.

Start: settings, data directory (locked), rows, chunks, unfinished work, listeners, then the
node's entry in the registry: from then on clients come. Stop (SIGTERM, SIGINT): no new
connections, running calls finish, chunks are cleaned, the directory is marked clean.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import stat
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import lmdb

from benchfs import halting
from benchfs.clustermap import NodeEntry
from benchfs.clusterspec import (
    GROUP_PREFIX,
    NODE_PREFIX,
    ClusterSpec,
    decode_group,
    decode_node,
    encode_node,
    read_map,
    read_spec,
)
from benchfs.env import Env, system_env
from benchfs.inode import ROOT_INO, home_group
from benchfs.registry import DirectoryRegistry
from benchfs.rpc import ring as rings
from benchfs.rpc.pool import Credentials, Pool
from benchfs.rpc.server import Identity as ServerIdentity
from benchfs.rpc.server import Server
from benchfs.rpc.transports.choose import Engines, choose
from benchfsd import metrics
from benchfsd.capabilities import Capabilities, shared_key
from benchfsd.chunks import ChunkStore, DiskChunkFiles, RingChunkFiles
from benchfsd.config import NodeConfig
from benchfsd.database import CorruptRowError, Database, FatalStorageError
from benchfsd.delegations import GRANTED_SECONDS
from benchfsd.guard import Guard
from benchfsd.identity import Identity
from benchfsd.mode import Mode
from benchfsd.node import Node
from benchfsd.opens import Opens
from benchfsd.services import Services
from benchfsd.sessions import SessionKeeper

log = logging.getLogger("benchfsd")

READY_VARIABLE = "BENCHFSD_READY_FD"
REGISTRY_SECONDS = 2.0  # between looks at the registry for nodes that came or moved
CLEAN_SECONDS = 1.0
SESSION_SECONDS = 60.0  # between looks for sessions that are over
FLUSH_SECONDS = 5.0  # mode writeback: how much an end of the machine may lose of the rows
GRACE_SECONDS = 0.3
AGAIN_SECONDS = 1.0  # until background work that failed is begun again
HEADROOM_BYTES = 4 * 1024**2  # of the disk, that the rows have to themselves
FATAL_EXIT = 70


class StartError(Exception):
    """The daemon cannot start; the text says why."""


async def run(config: NodeConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises StartError, IdentityError, OSError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    env = system_env()
    registry = DirectoryRegistry(config.registry_dir, env, interval=REGISTRY_SECONDS)
    spec = await read_spec(registry)
    if spec is None:
        raise StartError(f"the registry {config.registry_dir} holds no cluster")
    if spec.mode != config.mode:
        raise StartError(f"the cluster's mode is {spec.mode}, this node's is {config.mode}")
    secret = _read_secret(config)
    engines = choose(config.transport).for_cluster(secret)
    log.info("transport: %s", engines.summary)
    identity = Identity.open(
        config.data_dir,
        cluster_id=spec.cluster_id,
        node_id=config.node_id,
        mode=config.mode,
        clock=env.clock,
    )
    try:
        with _readable_start(config):
            daemon = Daemon(config, spec, env, registry, identity, engines, secret)
            await daemon.start()
        try:
            await stop.wait()
        finally:
            await daemon.stop()
    finally:
        identity.close()


class Daemon:
    """One node's process."""

    def __init__(  # noqa: PLR0917 (one argument a part)
        self,
        config: NodeConfig,
        spec: ClusterSpec,
        env: Env,
        registry: DirectoryRegistry,
        identity: Identity,
        engines: Engines,
        secret: bytes,
    ) -> None:
        self._config = config
        self._spec = spec
        self._env = env
        self._registry = registry
        self._identity = identity
        self._engines = engines
        self._secret = secret
        self._loop = asyncio.get_running_loop()
        durable = config.mode is Mode.DURABLE
        self._database = Database(
            config.data_dir / "rows",
            sync=durable,
            headroom=HEADROOM_BYTES,
            schedule=self._loop.call_soon,
            on_fatal=_die,
        )
        # what an earlier process was told about open files, only the clients know
        self._restarted = self._database.entries() > 0
        self._files, self._disk_engine = _chunk_files(config.data_dir, durable)
        log.info("chunk files: %s", self._disk_engine)
        self._store = ChunkStore(
            self._files,
            self._database,
            env,
            mode=config.mode,
            node_id=config.node_id,
            on_fatal=_die,
            reserve=config.reserve_bytes,
        )
        self._background: list[asyncio.Task[None]] = []
        self._flushing: asyncio.Future[None] | None = None
        self._no_halting: halting.NoHalting | None = None
        self._session = env.rng.token_bytes(16)

    async def start(self) -> None:
        """From the data directory to the first connection."""
        config, identity = self._config, self._identity
        if identity.needs_check:
            report = await self._store.verify_all()
            log.warning("the machine ended without a clean stop; chunks were checked: %s", report)
        self._store.recover(clean_stop=identity.clean_stop)
        self._pool = Pool(
            self._engines.transport,
            Credentials(
                self._secret,
                self._session,
                "node",
                os.getuid(),
                os.getgid(),
                self._env.rng.token_bytes,
            ),
            self._engines.prefers,
        )
        device = config.data_dir.stat().st_dev
        key = await shared_key(self._registry, self._env.rng)
        self._node = node = Node(
            config.node_id,
            self._spec,
            await read_map(self._registry, self._spec),
            self._env,
            self._database,
            self._store,
            self._pool,
            f"{self._engines.summary}; chunk files: {self._disk_engine}",
            f"{config.host}:{device}",
            Guard(config.superusers, Capabilities(key)),
            Opens(self._env.clock, config.lease_seconds, grace=self._restarted),
        )
        node.refresh_map = self._read_map
        node.transport_details = self._engines.details
        if node.leads(home_group(ROOT_INO)):
            root = node.namespace(home_group(ROOT_INO)).inodes
            root.format_root(config.superuser, os.getgid())
        self._services = Services(node)
        if self._restarted:  # what an earlier process granted is over then
            await asyncio.sleep(GRANTED_SECONDS)
        await self._listen()
        await self._register()
        self._services.resume()
        self._background = [
            self._loop.create_task(_keep_up("watching the registry", self._watch_registry)),
            self._loop.create_task(_keep_up("cleaning chunks", self._clean)),
            self._loop.create_task(_keep_up("forgetting sessions", self._forget_sessions)),
            self._loop.create_task(_keep_up("watching leases", self._services.orphans.watch)),
        ]
        if config.mode is Mode.WRITEBACK:
            self._background.append(self._loop.create_task(_keep_up("flushing", self._flush)))
        if not identity.clean_stop:
            self._background.append(self._loop.create_task(_keep_up("sweeping", self._sweep)))
        if config.metrics_listen is not None:
            self._stop_metrics = metrics.serve(node, config.metrics_listen)
        log.info("ready at %s", ", ".join(self._server.addresses))
        _say_ready(config.node_id, self._server.addresses)

    async def stop(self) -> None:
        """Drain and stop; in under a second unless the disk is slower."""
        log.info("stopping")
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        ending = [self._server.close(GRACE_SECONDS)]
        if self._config.metrics_listen is not None:
            ending.append(asyncio.to_thread(self._stop_metrics))  # up to half a second
        await asyncio.gather(*ending)
        await self._node.stop_tasks()
        if self._no_halting is not None:
            self._no_halting.close()
        await self._pool.close()
        await self._store.close()
        if self._flushing is not None:
            await self._flushing  # its thread uses the database
        self._database.close()
        self._identity.mark_clean()
        log.info("stopped")

    # ------------------------------------------------------------ serving

    async def _listen(self) -> None:
        config, node = self._config, self._node
        unix = [address for address in config.listen if address.startswith("unix://")]
        server = self._server = Server(
            ServerIdentity(
                node_id=config.node_id,
                cluster_id=self._spec.cluster_id,
                secret=self._secret,
                incarnation=self._identity.incarnation,
                host=config.host,
                unix_path=urlsplit(unix[0]).path if unix else "",
                token_bytes=self._env.rng.token_bytes,
                map_version=lambda: node.map.version,
            ),
            self._services.handlers(),
            node.buffers,
            self._database,
        )
        node.connections = lambda: len(server.connections)
        device = halting.open_device() if config.polling else None
        if device is not None:
            self._no_halting = halting.NoHalting(self._loop, device)
            server.on_requests = self._no_halting.request
        for address in config.addresses():
            await server.listen(self._engines.transport(urlsplit(address).scheme), address)

    async def _register(self) -> None:
        """Write where this node listens into the registry."""
        entry = NodeEntry(
            self._config.node_id,
            self._config.host,
            tuple(self._server.addresses),
            self._identity.incarnation,
        )
        key = NODE_PREFIX + self._config.node_id
        while True:
            found = await self._registry.read(key)
            if found.revision and decode_node(found.value) == entry:
                break
            if await self._registry.cas(key, found.revision, encode_node(entry)):
                break
        self._node.map = self._node.map.with_node(entry)

    # ------------------------------------------------------------ in the background

    async def _watch_registry(self) -> None:
        async with aclosing(self._registry.watch("")) as changes:
            async for key in changes:
                await self._learn(key)

    async def _learn(self, key: str) -> None:
        node = self._node
        if key.startswith(NODE_PREFIX):
            node.map = node.map.with_node(decode_node((await self._registry.read(key)).value))
        elif key.startswith(GROUP_PREFIX):
            node.map = node.map.with_group(decode_group((await self._registry.read(key)).value))

    async def _read_map(self) -> None:
        for key in await self._registry.list(NODE_PREFIX):
            await self._learn(key)

    async def _clean(self) -> None:
        while True:
            await asyncio.sleep(CLEAN_SECONDS)
            if self._store.needs_cleaning:
                await self._store.clean_idle(self._env.clock.monotonic())

    async def _forget_sessions(self) -> None:
        node = self._node
        keeper = SessionKeeper(
            node.slots, lambda: node.map.groups_led_by(node.node_id), self._env.clock
        )
        while True:
            await asyncio.sleep(SESSION_SECONDS)
            callers = [connection.caller for connection in self._server.connections]
            keeper.look({caller.session for caller in callers if caller is not None})

    async def _flush(self) -> None:
        flushed = -1
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            commits = self._database.commits
            if commits != flushed:
                self._flushing = asyncio.ensure_future(asyncio.to_thread(self._flush_now))
                await asyncio.shield(self._flushing)  # the thread cannot be stopped
                flushed = commits

    def _flush_now(self) -> None:
        try:
            self._database.flush_to_disk()
        except FatalStorageError as failure:
            _die(failure)

    async def _sweep(self) -> None:
        removed = await self._store.sweep()
        log.info("removed %d chunk files that an unclean stop had left", removed)


def _chunk_files(data_dir: Path, durable: bool) -> tuple[DiskChunkFiles, str]:
    """The chunk files, and what does their waiting: io_uring, or threads and why."""
    try:
        rings.probe()
    except rings.RingUnavailableError as exc:
        return DiskChunkFiles(data_dir, durable=durable, on_fatal=_die), f"threads ({exc})"
    return RingChunkFiles(data_dir, durable=durable, on_fatal=_die), "io_uring"


@contextlib.contextmanager
def _readable_start(config: NodeConfig) -> Iterator[None]:
    """Rows that cannot be read are one line to whoever starts the daemon."""
    try:
        yield
    except (lmdb.Error, CorruptRowError) as exc:
        raise StartError(f"the rows in {config.data_dir} cannot be used: {exc}") from exc


async def _keep_up(what: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do background work to its end; when it fails, say so and begin it again."""
    while True:
        try:
            return await work()
        except Exception:
            log.exception("%s failed, and is begun again", what)
        await asyncio.sleep(AGAIN_SECONDS)


def _read_secret(config: NodeConfig) -> bytes:
    mode = config.secret_file.stat().st_mode
    if stat.S_IMODE(mode) & 0o077:
        raise StartError(f"{config.secret_file} can be read by others: chmod 600 it")
    secret = config.secret_file.read_bytes()
    if len(secret) < 16:
        raise StartError(f"{config.secret_file} has {len(secret)} bytes: a secret has 16 or more")
    return secret


def _say_ready(node_id: str, addresses: list[str]) -> None:
    """One line to whoever started this process and waits for it."""
    descriptor = os.environ.pop(READY_VARIABLE, "")
    if descriptor.isdigit():
        line = json.dumps({"node_id": node_id, "addresses": addresses}) + "\n"
        with contextlib.suppress(OSError):  # nobody waits any more
            os.write(int(descriptor), line.encode())
        with contextlib.suppress(OSError):
            os.close(int(descriptor))


def _die(failure: FatalStorageError) -> NoReturn:
    """The disk failed a write or a flush: what was acknowledged cannot be kept by going on."""
    log.critical("storage failed, stopping at once: %s", failure)
    logging.shutdown()
    os._exit(FATAL_EXIT)
