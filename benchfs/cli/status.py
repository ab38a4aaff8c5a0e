"""`benchfs status`: the nodes of a cluster, and how they are."""

from __future__ import annotations

import typer

from benchfs.cli.output import ClusterOption, JsonOption, human, say_json, table, with_client
from benchfs.client import AsyncClient
from benchfs.cluster import NodeStatus


def status(cluster: ClusterOption = None, json: JsonOption = False) -> None:
    """Show each node; exit status 1 if one does not answer."""

    async def ask(fs: AsyncClient) -> tuple[str, list[NodeStatus]]:
        return fs.cluster_name, await fs.status()

    name, nodes = with_client(cluster, ask)
    if json:
        say_json(
            {
                "name": name,
                "nodes": [
                    {
                        "node_id": node.node_id,
                        "address": node.address,
                        "error": node.error,
                        **(node.reply._asdict() if node.reply else {}),
                    }
                    for node in nodes
                ],
            }
        )
    else:
        table(
            ("node", "address", "state", "mode", "transport", "chunks", "stored", "free", "memory"),
            [_row(node) for node in nodes],
        )
    if any(node.reply is None for node in nodes):
        raise typer.Exit(1)


def _row(node: NodeStatus) -> tuple[str, ...]:
    reply = node.reply
    if reply is None:
        return (node.node_id, node.address, node.error or "no answer", *[""] * 6)
    return (
        node.node_id,
        node.address,
        f"up {reply.uptime_ms // 1000} s",
        reply.mode,
        reply.transport,
        str(reply.chunks),
        human(reply.chunk_bytes),
        human(reply.free_bytes),
        human(reply.rss_bytes),
    )
