"""Whom a worker tells what happened to their endpoints and messages."""

from __future__ import annotations

from typing import Protocol

from benchfs.rpc.transports.ucx.binding import Pointer


class Owner(Protocol):
    """Whom the worker tells what happened, from outside of UCX's callbacks."""

    def handle(self) -> None:
        """Do what was noted for this owner."""


class Ends(Owner, Protocol):
    """Who an endpoint belongs to. UCX's callbacks call all but `handle`: they only note it."""

    def reached(self, owner: Ends | None) -> None:
        """A message names the endpoint that it came by: whose that is."""

    def arrived(self, header: bytes, data: bytes) -> None:
        """A message with its data."""

    def offered(self, header: bytes, rendezvous: Pointer, size: int) -> None:
        """A message of `size` bytes, to be received by `Worker.receive` or dropped."""

    def failed(self, status: int) -> None:
        """The endpoint cannot be used any more."""
