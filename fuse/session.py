"""One mount from its beginning to its end: mount, serve, unmount, write what is left.

Served by one event loop that pyfuse3 and the client share. There can be one mount in a process.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pyfuse3

from benchfs.client import AsyncClient
from benchfs.errors import error
from benchfs.fuse import mounts, tuning
from benchfs.fuse.loop import Waiting
from benchfs.fuse.operations import Operations
from benchfs.fuse.settings import Settings

logger = logging.getLogger(__name__)
READY_SECONDS = 10.0
UNMOUNT_SECONDS = 20.0
REQUESTS_AT_ONCE = 64
END_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def serve(settings: Settings, on_ready: Callable[[], None]) -> None:
    """Mount, call `on_ready` when programs can use it, and return when it is unmounted.

    SIGTERM and SIGINT unmount it. Raises OSError if it cannot be mounted, or if something that
    was written could not be brought to its node in the end.
    """
    path = Path(settings.path)
    _require_mount_point(path)
    tuning.keep_memory()
    async with AsyncClient(
        settings.cluster,
        timeout=settings.timeout,
        attribute_seconds=settings.attribute_seconds,
    ) as client:
        operations = Operations(client, client.attribute_seconds, writeback=settings.writeback)
        Waiting(polling=settings.polling).install()
        try:
            pyfuse3.init(operations, str(path), _options(settings, client.cluster_name))
        except RuntimeError as exc:
            raise error(errno.EIO, "mount", path, text=str(exc)) from exc
        try:
            await _serve(path, on_ready)
        finally:
            pyfuse3.close(unmount=mounts.is_mounted(path))
            await operations.close()


async def _serve(path: Path, on_ready: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    ending: list[asyncio.Task[None]] = []

    def stop() -> None:
        if not ending:
            ending.append(loop.create_task(_end(path)))

    serving = loop.create_task(pyfuse3.main(REQUESTS_AT_ONCE, REQUESTS_AT_ONCE))
    for number in END_SIGNALS:
        loop.add_signal_handler(number, stop)
    async with asyncio.timeout(READY_SECONDS):
        found = await asyncio.to_thread(os.stat, path)
    tuning.read_ahead(found.st_dev)
    tuning.collect_seldom()
    logger.info("mounted at %s", path)
    on_ready()
    await serving
    for number in END_SIGNALS:  # what was written is brought to its nodes, whoever is impatient
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
    await asyncio.gather(*ending)
    logger.info("unmounted from %s", path)


async def _end(path: Path) -> None:
    """Unmount while requests are still served, so that the kernel can write what it holds.

    Then serve no more: files may be open, and mounts of the same may live on in other namespaces.
    """
    try:
        async with asyncio.timeout(UNMOUNT_SECONDS):
            await asyncio.to_thread(_unmount, path)
    except OSError as exc:  # a timeout is one
        logger.warning("%s: files that are open are cut off", str(exc) or "the kernel still writes")
    pyfuse3.terminate()


def _unmount(path: Path) -> None:
    if mounts.is_mounted(path):
        mounts.write_out(path)
        mounts.detach(path, lazy=False)


def _options(settings: Settings, cluster: str) -> set[str]:
    options = {
        f"fsname=benchfs:{cluster}".replace(",", "_"),
        "subtype=benchfs",
        "default_permissions",
    }
    if settings.allow_other:
        options.add("allow_other")
    if settings.read_only:
        options.add("ro")
    return options


def _require_mount_point(path: Path) -> None:
    """Errors that libfuse would only write to the log."""
    if mounts.is_mounted(path):
        raise error(errno.EBUSY, "mount", path, text="there is a BenchFS mounted already")
    if not path.is_dir():
        raise error(errno.ENOTDIR if path.exists() else errno.ENOENT, "mount", path)
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as exc:
        raise error(exc.errno or errno.EIO, "mount", "/dev/fuse") from exc


def tell_systemd(state: str) -> None:
    """Tell the service manager that started this process, if one did and wants to know."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect("\0" + address[1:] if address.startswith("@") else address)
            channel.sendall(state.encode())
