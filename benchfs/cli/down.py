"""`benchfs down`: stop a cluster of this host and remove it."""

from __future__ import annotations

from typing import Annotated

import typer

from benchfs import instance, instancedir
from benchfs.cli.names import instance_directory
from benchfs.cli.output import JsonOption, fail, run, say_json


def down(
    name: Annotated[str, typer.Option(help="Name of the instance.")] = "default",
    keep: Annotated[bool, typer.Option("--keep", help="Keep the data for another up.")] = False,
    json: JsonOption = False,
) -> None:
    """Stop the daemons and remove their data."""
    directory = instance_directory(name)
    if not instancedir.is_instance(directory):
        raise fail(f"there is no instance {name} on this host")
    nodes = sorted(instance.running_nodes(directory))
    run(instance.stop(directory))
    if not keep:
        instancedir.remove(directory)
    if json:
        say_json({"name": name, "stopped": nodes, "removed": not keep})
