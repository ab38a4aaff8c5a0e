"""Prometheus metrics: counted in plain integers, collected when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from benchfs.rpc.messages import Op
from benchfs.rpc.server import Call as Request
from benchfs.rpc.server import Handler
from benchfsd.handlers.cluster import status
from benchfsd.node import Node

if TYPE_CHECKING:
    from prometheus_client.core import Metric


def counted(node: Node, op: Op, handler: Handler) -> Handler:
    """The handler, counting its calls."""
    requests, number = node.requests, int(op)
    requests[number] = 0

    def handle(request: Request) -> object:
        requests[number] += 1
        return handler(request)

    return handle  # type: ignore[return-value]  # what the handler returns, whichever it is


class NodeCollector:
    """What Prometheus is told: figures of the moment, and the counts of requests."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        """All metrics of the node."""
        from prometheus_client.core import (  # noqa: PLC0415 (only where metrics are on)
            CounterMetricFamily,
            GaugeMetricFamily,
            InfoMetricFamily,
        )

        figures = status(self._node)
        requests = CounterMetricFamily(
            "benchfs_rpc_requests", "Requests received, by operation.", labels=["op"]
        )
        for number, count in self._node.requests.items():
            requests.add_metric([Op(number).name.lower()], count)
        yield requests
        yield InfoMetricFamily(
            "benchfs_build", "The version.", {"version": figures.version, "mode": figures.mode}
        )
        for name, text, value in (
            ("benchfs_store_capacity_bytes", "Bytes of the disk.", figures.total_bytes),
            ("benchfs_store_free_bytes", "Bytes above the reserve.", figures.free_bytes),
            ("benchfs_store_used_bytes", "Sum of the chunks' lengths.", figures.chunk_bytes),
            ("benchfs_chunks", "Chunks on this node.", figures.chunks),
            ("benchfs_inodes", "Inodes in the groups that this node leads.", figures.inodes),
            ("benchfs_connections", "Connections of clients and nodes.", figures.connections),
            ("benchfs_groups_led", "Groups that this node leads.", figures.groups_led),
            ("benchfs_resident_memory_bytes", "Resident memory.", figures.rss_bytes),
        ):
            yield GaugeMetricFamily(name, text, value)


def serve(node: Node, address: str) -> Callable[[], None]:
    """Answer HTTP requests for metrics at tcp://host:port; returns what stops it."""
    import asyncio  # noqa: PLC0415
    import threading  # noqa: PLC0415

    from prometheus_client import CollectorRegistry, start_http_server  # noqa: PLC0415

    registry = CollectorRegistry(auto_describe=False)
    loop = asyncio.get_running_loop()

    class OnTheLoop:
        """The HTTP server has a thread of its own; storage belongs to the loop's."""

        def collect(self) -> list[Metric]:
            done = threading.Event()
            result: list[Metric] = []

            def work() -> None:
                result.extend(NodeCollector(node).collect())
                done.set()

            loop.call_soon_threadsafe(work)
            if not done.wait(5.0):
                raise TimeoutError("the node did not collect its metrics in 5 s")
            return result

        def describe(self) -> list[Metric]:
            return []

    registry.register(OnTheLoop())
    parts = urlsplit(address)
    assert parts.port is not None
    server, thread = start_http_server(parts.port, parts.hostname or "127.0.0.1", registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join(1.0)

    return stop
