"""A cluster for tests and notebooks: real daemons in a temporary directory, gone at the end.

with benchfs.LocalCluster(nodes=3) as cluster, benchfs.Client(cluster.url) as fs:
...
"""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import anyio.to_thread

from benchfs import instance, instancedir
from benchfs.layout import DEFAULT_CHUNK_SIZE


class LocalNode:
    """One daemon of a LocalCluster, and what may befall it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.node_id = directory.name
        self.log = directory / "log"

    @property
    def pid(self) -> int:
        """The daemon's process. ProcessLookupError if it does not run."""
        running = instance.running_nodes(self._directory.parent)
        if self.node_id not in running:
            raise ProcessLookupError(f"{self.node_id} does not run")
        return running[self.node_id]

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait until the process is gone."""
        self._end(signal.SIGTERM)

    def start(self) -> None:
        """Start the daemon on the same data; returns when it is ready."""
        _run(lambda: instance.start(self._directory.parent, [self.node_id]))

    def pause(self) -> None:
        """SIGSTOP: the daemon is there, and does not answer."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        pid = self.pid
        descriptor = os.pidfd_open(pid)
        try:
            os.kill(pid, number)
            if number is not signal.SIGKILL:
                os.kill(pid, signal.SIGCONT)
            os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOWAIT)
            os.waitpid(pid, 0)
        finally:
            os.close(descriptor)


class LocalCluster:
    """`nodes` daemons on this host; a context manager, sync or async.

    `mode` as in docs/SEMANTICS.md, `chunk_size` in bytes, `data`: the directory for the nodes'
    data (None: with the rest, in a temporary directory), `settings`: further keys of node.toml.
    """

    def __init__(
        self,
        nodes: int = 3,
        *,
        mode: str = "writeback",
        chunk_size: int = DEFAULT_CHUNK_SIZE,
        data: Path | None = None,
        settings: dict[str, str | int] | None = None,
    ) -> None:
        self._settings = instance.Settings(
            "local", nodes, mode, chunk_size, data, tuple((settings or {}).items())
        )
        self._base: Path | None = None
        self.nodes: list[LocalNode] = []
        self.url = ""

    @property
    def directory(self) -> Path:
        """The instance's directory."""
        if self._base is None:
            raise ValueError("the cluster is not running: use `with`")
        return self._base / "local"

    def start(self) -> None:
        """Make the cluster and start it; returns when all nodes are ready. Raises ClusterError."""
        self._base = Path(tempfile.mkdtemp(prefix="benchfs-"))
        atexit.register(self.stop)
        try:
            _run(self._start)
        except BaseException:
            self.stop()
            raise

    async def _start(self) -> None:
        await instance.create(self.directory, self._settings)
        await instance.start(self.directory)
        url = await instance.url(self.directory)
        self.url = f"{url}/?secret_file={self.directory}/secret"
        places = sorted(path.parent for path in self.directory.glob("*/node.toml"))
        self.nodes = [LocalNode(place) for place in places]

    def stop(self) -> None:
        """Stop all nodes and remove everything. Twice does nothing."""
        if self._base is None:
            return
        atexit.unregister(self.stop)
        if (self.directory / "registry").is_dir():
            for pid in instance.running_nodes(self.directory).values():
                os.kill(pid, signal.SIGCONT)
            _run(lambda: instance.stop(self.directory))
            instancedir.remove(self.directory)
        shutil.rmtree(self._base, ignore_errors=True)
        self._base = None

    def __enter__(self) -> LocalCluster:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> LocalCluster:
        await anyio.to_thread.run_sync(self.start)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await anyio.to_thread.run_sync(self.stop)


def _run(work: Callable[[], Coroutine[object, object, None]]) -> None:
    """Run a coroutine on a loop of its own, in a thread: a notebook's cell has one running."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(lambda: asyncio.run(work())).result()
