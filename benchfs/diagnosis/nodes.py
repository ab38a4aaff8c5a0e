"""Checks of a cluster: whether there is one, and each node answers, matches, and has space.

Without a cluster named by argument, environment or file, the instances of this host are looked
at. One that was stopped is nothing bad; one that was asked for, or that runs in part, and does
not answer is a problem.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

from benchfs import instancedir
from benchfs.client import AsyncClient
from benchfs.cluster import NodeStatus
from benchfs.diagnosis.check import Check, ok, problem, warning
from benchfs.errors import BenchFSError
from benchfs.instance import running_nodes
from benchfs.rpc.messages import StatusReply
from benchfs.rpc.transports.base import TransportUnavailableError
from benchfs.rpc.transports.choose import choose
from benchfs.settings import ClientSettings, load
from benchfs.version import installed_version

# How long a node may take to answer, where the settings allow more.
ANSWER_SECONDS = 5.0
LOW_SPACE = 0.05
# Times of files written through different nodes are compared by make, rsync and the like.
MOST_SKEW_NS = 1_000_000_000


async def check_cluster(cluster: str | None) -> list[Check]:
    """The checks of `cluster` (None: of the settings, or else of what runs here)."""
    try:
        settings = load({"cluster": cluster})
    except BenchFSError as exc:
        return [problem("settings", str(exc), "correct it, or remove it")]
    try:
        own = transport(choose(settings.transport).summary)
    except TransportUnavailableError as exc:
        return [problem("transport", exc.strerror or str(exc), 'or set transport = "auto"')]
    if settings.cluster is None:
        places = instancedir.all_instances()
        running = [place for place in places if running_nodes(place)]
        if len(running) != 1:
            return [own, no_cluster(running, places)]
    return [own, *await _check_nodes(settings)]


async def _check_nodes(settings: ClientSettings) -> list[Check]:
    timeout = min(settings.timeout, ANSWER_SECONDS)
    try:
        async with AsyncClient(settings.cluster, timeout=timeout) as fs:
            statuses = await fs.status()
            return [reachable(fs.cluster_name, statuses), *check_nodes(statuses)]
    except BenchFSError as exc:
        return [unreachable(exc)]


# ---------------------------------------------------------------- the cluster as a whole


def no_cluster(running: Sequence[Path], places: Sequence[Path]) -> Check:
    """None is named, and not exactly one runs here."""
    if running:
        names = ", ".join(place.name for place in running)
        advice = "choose one with --cluster"
        return warning("cluster", f"{len(running)} run on this host: {names}", advice)
    if places:
        names = ", ".join(place.name for place in places)
        return warning("cluster", f"stopped: {names}", f"benchfs up --name {places[0].name}")
    seen = "none runs on this host, and none is named"
    return ok("cluster", seen, "benchfs up, or --cluster URL")


def unreachable(failure: BenchFSError) -> Check:
    """The cluster cannot be talked to at all."""
    if failure.errno == errno.EKEYREJECTED:
        advice = "give the cluster's own secret: ?secret_file=FILE, or BENCHFS_SECRET_FILE"
    elif failure.errno == errno.EPROTONOSUPPORT:
        advice = "install the same version of BenchFS on all hosts"
    elif failure.errno in {errno.EINVAL, errno.ENODEV, errno.ENOENT}:
        advice = "name a cluster that there is: a URL, an instance or a directory"
    else:
        advice = "start its daemons (benchfs up), or look into their logs"
    return problem("cluster", f"down: {failure}", advice)


def reachable(name: str, statuses: Sequence[NodeStatus]) -> Check:
    """How many nodes answer."""
    up = sum(status.reply is not None for status in statuses)
    seen = f"{name}: {up} of {len(statuses)} nodes answer"
    if up < len(statuses):
        return problem("cluster", seen, "start the nodes that do not answer")
    return ok("cluster", seen)


# ---------------------------------------------------------------- nodes


def check_nodes(statuses: Sequence[NodeStatus]) -> list[Check]:
    """All checks of all nodes, node by node."""
    checks = []
    for status in statuses:
        found = [answers(status)]
        if (reply := status.reply) is not None:
            found += [
                version(reply.version, installed_version()),
                transport(reply.transport),
                space(reply),
                clock(status.skew_ns, status.round_trip_ns),
            ]
        checks += [check._replace(node=status.node_id) for check in found]
    return checks


def answers(status: NodeStatus) -> Check:
    """Whether the node gave its figures."""
    if status.reply is None:
        advice = "look whether its daemon runs, and into its log"
        return problem("answer", status.error or "none", advice)
    taken = status.round_trip_ns / 1e6
    return ok("answer", f"{status.address} in {taken:.1f} ms; up {_uptime(status.reply)}")


def _uptime(reply: StatusReply) -> str:
    return f"{reply.uptime_ms // 1000} s"


def version(theirs: str, ours: str) -> Check:
    """The node's version of BenchFS beside that of this client."""
    if theirs != ours:
        seen = f"{theirs}, and {ours} here"
        return warning("version", seen, "install the same version on all hosts")
    return ok("version", theirs)


def transport(summary: str) -> Check:
    """The engine that carries frames; its summary says why if it is not the one asked for."""
    if ", not " in summary:
        advice = 'see io_uring in the checks of that host, or set transport = "auto"'
        return warning("transport", summary, advice)
    return ok("transport", summary)


def space(reply: StatusReply) -> Check:
    """What can still be written."""
    share = reply.free_bytes / reply.total_bytes if reply.total_bytes else 0.0
    seen = f"{_gib(reply.free_bytes)} free of {_gib(reply.total_bytes)} on {reply.disk}"
    if not reply.free_bytes:
        return problem("space", seen, "remove files: nothing new can be written")
    if share < LOW_SPACE:
        return warning("space", seen, "remove files, or add nodes")
    return ok("space", seen)


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.2f} GiB"


def clock(skew_ns: int, round_trip_ns: int) -> Check:
    """The node's wall clock beside this host's."""
    bound = round_trip_ns // 2
    seen = f"{skew_ns / 1e9:+.3f} s (to {bound / 1e6:.1f} ms)"
    if abs(skew_ns) - bound > MOST_SKEW_NS:
        return warning("clock", seen, "let NTP set the clocks: times of files disagree")
    return ok("clock", seen)
