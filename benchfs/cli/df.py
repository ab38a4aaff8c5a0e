"""`benchfs df`: the space of the cluster."""

from __future__ import annotations

from benchfs.cli.output import ClusterOption, JsonOption, human, say, say_json, with_client


def df(cluster: ClusterOption = None, json: JsonOption = False) -> None:
    """Show how much there is, and how much can still be written."""
    found = with_client(cluster, lambda fs: fs.statvfs())
    total = found.f_blocks * found.f_frsize
    free = found.f_bavail * found.f_frsize
    if json:
        say_json({"total_bytes": total, "free_bytes": free})
    else:
        say(f"{human(free)} free of {human(total)}")
