"""`benchfs up`: start a cluster on this host; returns when all nodes are ready."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchfs import instance, instancedir
from benchfs.cli.names import instance_directory
from benchfs.cli.output import JsonOption, fail, note, run, say, say_json
from benchfs.cli.sizes import parse_size
from benchfs.layout import check_chunk_size
from benchfs.rpc.transports.choose import ENGINES


def up(
    nodes: Annotated[int, typer.Option(min=1, max=1000, help="Number of daemons.")] = 3,
    name: Annotated[str, typer.Option(help="Name of the instance.")] = "default",
    data: Annotated[Path | None, typer.Option(help="Directory for the nodes' data.")] = None,
    mode: Annotated[str, typer.Option(help="volatile, writeback or durable.")] = "writeback",
    transport: Annotated[
        str, typer.Option(help="auto, sockets, uring or ucx.", envvar="BENCHFS_TRANSPORT")
    ] = "auto",
    chunk_size: Annotated[str, typer.Option(help="Of new files, such as 4m.")] = "4m",
    json: JsonOption = False,
) -> None:
    """Start a cluster, or start a stopped one again on its data; prints its URL."""
    if mode not in {"volatile", "writeback", "durable"}:
        raise typer.BadParameter(f"{mode!r}: volatile, writeback or durable")
    if transport not in {"auto", *ENGINES}:
        raise typer.BadParameter(f"{transport!r}: auto, {', '.join(sorted(ENGINES))}")
    try:
        check_chunk_size(size := parse_size(chunk_size))
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from None
    directory = instance_directory(name)
    if directory.exists():
        if not instancedir.is_instance(directory):
            raise fail(f"{directory} is in the way: it holds no instance")
        if instance.running_nodes(directory):
            raise fail(f"instance {name} is running already")
        note(f"starting {name} again on its data")
        run(instance.start(directory))
    else:
        node_settings = () if transport == "auto" else (("transport", transport),)
        settings = instance.Settings(name, nodes, mode, size, data, node_settings)
        run(start_new(directory, settings))
    url = run(instance.url(directory))
    if json:
        say_json({"name": name, "url": url, "nodes": instance.running_nodes(directory)})
    else:
        say(url)


async def start_new(directory: Path, settings: instance.Settings) -> None:
    """Make an instance and start it; if it does not start, nothing of it stays."""
    await instance.create(directory, settings)
    try:
        await instance.start(directory)
    except BaseException:
        instancedir.remove(directory)
        raise
