"""Of every phase of every benchmark, the same details in JSON: what reports are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from benchfs.bench.backends.base import Counters, NodeFigures
from benchfs.bench.outcome import RankPart, RanksPhase
from benchfs.bench.samples import Latencies

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


def ranks_phase_detail(
    phase: RanksPhase[RankPart],
    *,
    name: str,
    unit: str,
    value: float,
    seconds: float,
    timeline: Sequence[tuple[float, float]],
) -> dict[str, Json]:
    """A phase of ranks, each of which is a client."""
    return phase_detail(
        name=name,
        iteration=phase.iteration,
        unit=unit,
        value=value,
        seconds=seconds,
        timeline=timeline,
        latencies=phase.latencies,
        counters=phase.counters,
        nodes=phase.nodes,
        clients=[
            {
                "rank": part.rank,
                "source": part.source,
                "amount": part.amount,
                "seconds": part.seconds,
                "cpu_s": part.cpu_seconds,
                "errors": part.errors,
            }
            for part in phase.parts
        ],
    )


def phase_detail(
    *,
    name: str,
    iteration: int,
    unit: str,
    value: float,
    seconds: float,
    timeline: Sequence[tuple[float, float]],
    latencies: Latencies,
    counters: Counters,
    nodes: Sequence[tuple[NodeFigures, NodeFigures]],
    clients: list[Json],
) -> dict[str, Json]:
    """A phase. `timeline`: seconds since its begin, `unit`; `nodes`: figures before, after."""
    quantiles: dict[str, Json] = {}
    if latencies.count:
        quantiles = {label: latencies.quantile(share) for label, share in QUANTILES.items()}
    return {
        "name": name,
        "iteration": iteration,
        "unit": unit,
        "value": value,
        "seconds": seconds,
        "timeline": [[at, rate] for at, rate in timeline],
        "latency_s": quantiles,
        "cache": {
            "hits": counters.cache_hits,
            "misses": counters.cache_misses,
            "local_reads": counters.local_reads,
        },
        "nodes": [_node(before, after) for before, after in nodes],
        "clients": clients,
    }


def ranks_detail(hosts: Sequence[str], processes: Sequence[int]) -> Json:
    """Which client ran where."""
    return [
        {"rank": rank, "host": host, "process": process}
        for rank, (host, process) in enumerate(zip(hosts, processes, strict=True))
    ]


def _node(before: NodeFigures, after: NodeFigures) -> Json:
    known = before.cpu_seconds is not None and after.cpu_seconds is not None
    return {
        "node": after.node_id,
        "chunk_bytes": after.chunk_bytes,
        "chunks": after.chunks,
        "inodes": after.inodes,
        "rss_bytes": after.rss_bytes,
        "cpu_s": (after.cpu_seconds or 0) - (before.cpu_seconds or 0) if known else None,
    }
