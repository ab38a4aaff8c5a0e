"""`benchfs scrub`: have all nodes verify their chunks while they serve."""

from __future__ import annotations

from typing import Annotated

import typer

from benchfs.cli.fsck import bytes_a_second
from benchfs.cli.output import ClusterOption, JsonOption, human, say, say_json, table, with_client


def scrub(
    cluster: ClusterOption = None,
    rate: Annotated[str | None, typer.Option(help="Bytes a second of each node, as 100m.")] = None,
    json: JsonOption = False,
) -> None:
    """Hold every chunk against its checks; exit status 1 if bytes are damaged."""
    speed = bytes_a_second(rate)
    nodes = with_client(cluster, lambda fs: fs.scrub(speed))
    if json:
        say_json(
            {
                "nodes": [
                    {**node._asdict(), "damaged": [one._asdict() for one in node.damaged]}
                    for node in nodes
                ]
            }
        )
    else:
        for node in nodes:
            for one in node.damaged:
                say(f"{node.node}: {one.words()}")
        table(
            ("node", "chunks", "verified", "damaged"),
            [
                (node.node, str(node.chunks), human(node.bytes), str(len(node.damaged)))
                for node in nodes
            ],
        )
    if any(node.damaged for node in nodes):
        raise typer.Exit(1)
