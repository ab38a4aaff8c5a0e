"""The map of a cluster that is larger than the body of a message may be reaches its clients."""

from __future__ import annotations

from pathlib import Path

import msgpack

from benchfs.bench.simulate import clock
from benchfs.bench.simulate.cluster import simulated
from benchfs.clustermap import ClusterMap, NodeEntry
from benchfs.rpc.frames import LIMITS

NODES = 30_000


async def map_of_a_client(place: Path) -> ClusterMap:
    """What a client of a cluster of one node has, which knows of many more."""
    async with simulated(1, place, seed=1) as cluster:
        [node] = cluster.nodes
        others = [
            NodeEntry(f"node-{number:05}", f"host-{number:05}", (f"tcp://10.0.0.1:{number}",), 1)
            for number in range(1, NODES)
        ]
        node.node.map = ClusterMap((*node.node.map.nodes, *others), node.node.map.groups)
        async with cluster.client(attribute_seconds=1.0) as fs:
            await fs.mkdir("/works")
            return fs.cluster_map


def test_a_map_of_more_than_a_body_is_learned(tmp_path: Path) -> None:
    found = clock.run(map_of_a_client(tmp_path))

    assert len(found.nodes) == NODES
    assert len(msgpack.packb(found.to_record())) > LIMITS.body
