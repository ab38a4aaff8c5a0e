"""`benchfs stat`: the attributes of a file or directory."""

from __future__ import annotations

from typing import Annotated

import typer

from benchfs.cli.ls import describe
from benchfs.cli.output import ClusterOption, JsonOption, say, say_json, with_client


def stat(
    path: Annotated[str, typer.Argument(help="File or directory.")],
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Show attributes; of a symbolic link itself."""
    attributes = with_client(cluster, lambda fs: fs.stat(path, follow_symlinks=False))
    found = describe(path, attributes)
    if json:
        say_json(found)
        return
    for key, value in found.items():
        say(f"{key:9} {value}")
