"""A pytest plugin for slow machines: a peer may take longer to greet."""

from __future__ import annotations

from benchfs.rpc.transports.ucx import transport

transport.GREETING_SECONDS = 100.0
