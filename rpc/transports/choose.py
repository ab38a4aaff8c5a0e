"""Which engine serves which URL scheme: decided once, at start, and said with its reason."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from benchfs.rpc.ring import RingUnavailableError
from benchfs.rpc.transports.base import Transport
from benchfs.rpc.transports.sockets import SocketTransport
from benchfs.rpc.transports.uring import UringTransport

if TYPE_CHECKING:
    from benchfs.rpc.transports.ucx.transport import UcxTransport


def _ucx(secret: bytes = b"") -> UcxTransport:
    # a tenth of what a client imports, and few use it
    from benchfs.rpc.transports.ucx.transport import UcxTransport  # noqa: PLC0415

    return UcxTransport(secret)


ENGINES: dict[str, Callable[[], Transport]] = {
    "uring": UringTransport,
    "sockets": SocketTransport,
    "ucx": _ucx,
}


class Engines(NamedTuple):
    """The chosen transports; `summary` names the engine, and why if it is a fallback."""

    by_scheme: dict[str, Transport]
    summary: str
    prefers: str = "unix"  # the scheme that is tried first
    details: Callable[[], str] = str  # what an engine chose by itself, to follow the summary

    def transport(self, scheme: str) -> Transport:
        """The transport of a scheme. Raises OSError when none serves it."""
        found = self.by_scheme.get(scheme)
        if found is None:
            known = ", ".join(self.by_scheme)
            hint = '; set transport = "ucx"' if scheme == "ucx" else ""
            text = f"no transport serves {scheme}:// (there are: {known}{hint})"
            raise OSError(errno.EOPNOTSUPP, text)
        return found

    def for_cluster(self, secret: bytes) -> Engines:
        """The same for a cluster of this secret, which UCX has to know before the first HELLO."""
        by_scheme = {
            scheme: _ucx(secret) if transport.name == "ucx" else transport
            for scheme, transport in self.by_scheme.items()
        }
        return self._replace(by_scheme=by_scheme)


def choose(engine: str = "auto") -> Engines:
    """The engines for a setting of `transport`: "auto" or the name of one.

    "auto" is `sockets`, which is the fastest that was measured (docs/decisions/004). "uring" is
    `sockets` too where io_uring is denied or missing: `summary` says why. "ucx" adds ucx:// to
    what `sockets` serves, and is tried first. Raises ValueError for a name that does not exist,
    TransportUnavailableError where there is no UCX.
    """
    make = ENGINES.get("sockets" if engine == "auto" else engine)
    if make is None:
        raise ValueError(f"there is no transport {engine!r}; there are auto, {', '.join(ENGINES)}")
    if engine == "ucx":
        ucx = _ucx()
        return Engines(_serving(ucx, SocketTransport()), ucx.summary, "ucx", ucx.details)
    try:
        transport = make()
        summary = transport.name
    except RingUnavailableError as exc:
        transport = SocketTransport()
        summary = f"sockets, not uring: {exc}"
    return Engines(_serving(transport), summary)


def _serving(*transports: Transport) -> dict[str, Transport]:
    return {scheme: one for one in transports for scheme in sorted(one.schemes)}
