"""`benchfs quota`: limits of what may be in a directory and below it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from benchfs.cli.output import ClusterOption, JsonOption, human, say, say_json, with_client
from benchfs.cli.sizes import parse_size
from benchfs.quotas import Quota

app = typer.Typer(help="Limits of what may be in a directory and below it.", no_args_is_help=True)

Directory = Annotated[str, typer.Argument(help="The directory.")]


@app.command("set")
def set_quota(
    path: Directory,
    size: Annotated[
        str | None, typer.Option("--bytes", help="Such as 10g; default: no limit.")
    ] = None,
    inodes: Annotated[
        int | None, typer.Option("--inodes", min=0, help="Default: no limit.")
    ] = None,
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Set both limits anew, and count what is there."""
    limit = None if size is None else parse_size(size)
    _say(
        with_client(cluster, lambda fs: fs.set_quota(path, max_bytes=limit, max_inodes=inodes)),
        path,
        json=json,
    )


@app.command()
def show(
    path: Annotated[str, typer.Argument(help="Anything that counts to the quota.")] = "/",
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Show the quota that a path counts to, and what of it is used."""
    _say(with_client(cluster, lambda fs: fs.get_quota(path)), path, json=json)


@app.command()
def check(
    path: Annotated[str, typer.Argument(help="Anything that counts to the quota.")] = "/",
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Have the nodes count anew, and show it."""
    _say(with_client(cluster, lambda fs: fs.check_quota(path)), path, json=json)


@app.command()
def clear(path: Directory, cluster: ClusterOption = None, json: JsonOption = False) -> None:
    """Remove the quota of a directory."""
    with_client(cluster, lambda fs: fs.clear_quota(path))
    if json:
        say_json({"cleared": path})


def _say(quota: Quota | None, path: str, *, json: bool) -> None:
    if json:
        say_json({"path": path, "quota": None if quota is None else asdict(quota)})
        return
    if quota is None:
        say(f"{path} has no quota")
        return
    of_bytes = "no limit" if quota.max_bytes is None else human(quota.max_bytes)
    of_inodes = "no limit" if quota.max_inodes is None else f"{quota.max_inodes:,}"
    say(f"quota   {quota.path}")
    say(f"bytes   {human(quota.used_bytes)} of {of_bytes}")
    say(f"inodes  {quota.used_inodes:,} of {of_inodes}")
    if not quota.exact:
        say("a node does not answer: what it may use counts as used")
