"""Sockets for addresses: connecting, listening, and what the kernel knows of the peer.

An address is tcp://host:port or unix:///path. How bytes then move is the engines' part.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
import struct
from pathlib import Path
from urllib.parse import urlsplit

from benchfs.rpc.transports.base import Peer

SO_PEERGROUPS = 59  # of Linux; Python has no name for it
PEER_GROUPS_MOST = 1024 // 4  # getsockopt takes 1,024 bytes at most
# Larger socket buffers mean fewer wake-ups per megabyte; the kernel caps them for non-root.
SOCKET_BUFFER_BYTES = 1024 * 1024
BACKLOG = 1024


async def connected_socket(address: str) -> socket.socket:
    """Connect, non-blocking, to the first of a name's addresses that answers. Raises OSError."""
    *others, last = await _resolve(address)
    for family, target in others:
        with contextlib.suppress(OSError):
            return await _connect(family, target)
    return await _connect(*last)


async def listening_socket(address: str) -> tuple[socket.socket, str]:
    """A socket that listens, and its address with the real port. Raises OSError."""
    family, target = (await _resolve(address))[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_UNIX:
            _remove_stale(str(target))
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(target)
        if family == socket.AF_UNIX:
            Path(str(target)).chmod(0o600)
        else:
            host, port = sock.getsockname()[:2]
            address = f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock, address


def remove_path(address: str) -> None:
    """Remove the path of a unix socket that is to listen no longer."""
    parts = urlsplit(address)
    if parts.scheme == "unix":
        with contextlib.suppress(FileNotFoundError):
            Path(parts.path).unlink()


async def _connect(family: int, target: str | tuple[str, int]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        tune(sock)
        await asyncio.get_running_loop().sock_connect(sock, target)
    except BaseException:
        sock.close()
        raise
    return sock


async def _resolve(address: str) -> list[tuple[int, str | tuple[str, int]]]:
    """Socket families and socket addresses of a URL: a name may have several. Never empty."""
    parts = urlsplit(address)
    if parts.scheme == "unix":
        if len(os.fsencode(parts.path)) > 107:
            raise OSError(errno.ENAMETOOLONG, "a unix socket's path has 107 bytes at most", address)
        return [(socket.AF_UNIX, parts.path)]
    if parts.scheme != "tcp" or parts.hostname is None or parts.port is None:
        raise OSError(errno.EINVAL, "an address is tcp://host:port or unix:///path", address)
    infos = await asyncio.get_running_loop().getaddrinfo(
        parts.hostname, parts.port, type=socket.SOCK_STREAM
    )
    return [(info[0], (str(info[4][0]), int(info[4][1]))) for info in infos]


def tune(sock: socket.socket) -> None:
    """Set up a socket that is connected, or is to be."""
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def peer_of(sock: socket.socket, address: str) -> Peer:
    """The other end of a connected socket; `address` is what was connected, or listened at."""
    if sock.family != socket.AF_UNIX:
        return Peer(address)
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", credentials)
    return Peer(address, uid, gid, pid, _peer_groups(sock))


def _peer_groups(sock: socket.socket) -> tuple[int, ...]:
    """The peer's supplementary groups as they were when it connected; none if there are many."""
    try:
        packed = sock.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, PEER_GROUPS_MOST * 4)
    except OSError:  # more than that, or a kernel older than 4.13
        return ()
    return struct.unpack(f"{len(packed) // 4}I", packed)


def _remove_stale(path: str) -> None:
    """Remove the socket that a killed process left; refuse when somebody listens on it."""
    try:
        if not stat.S_ISSOCK(Path(path).lstat().st_mode):
            raise OSError(errno.EADDRINUSE, "there is something else at the socket's path", path)
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
            return
    raise OSError(errno.EADDRINUSE, "another process listens on the socket", path)
