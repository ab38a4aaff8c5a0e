"""`benchfs down`: stop a cluster of this host and remove it."""

from __future__ import annotations

from typing import Annotated

import typer

from benchfs import instance
from benchfs.cli.output import JsonOption, fail, run, say_json


def down(
    name: Annotated[str, typer.Option(help="Name of the instance.")] = "default",
    keep: Annotated[bool, typer.Option("--keep", help="Keep the data for another up.")] = False,
    json: JsonOption = False,
) -> None:
    """Stop the daemons and remove their data."""
    directory = instance.home() / name
    if not directory.is_dir():
        raise fail(f"there is no instance {name} on this host")
    nodes = sorted(instance.running_nodes(directory))
    run(instance.stop(directory))
    if not keep:
        instance.remove(directory)
    if json:
        say_json({"name": name, "stopped": nodes, "removed": not keep})
