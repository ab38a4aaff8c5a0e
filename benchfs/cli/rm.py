"""`benchfs rm`: remove files and trees."""

from __future__ import annotations

from typing import Annotated

import typer

from benchfs.cli.output import ClusterOption, JsonOption, note, say_json, with_client
from benchfs.client import AsyncClient


def rm(
    paths: Annotated[list[str], typer.Argument()],
    recursive: Annotated[bool, typer.Option("-r", "--recursive", help="Directories too.")] = False,
    force: Annotated[bool, typer.Option("-f", "--force", help="Missing is no failure.")] = False,
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Remove files, and with -r directories with all that is in them; go on after a failure."""
    removed: list[str] = []
    failures: list[tuple[str, str]] = []

    async def work(fs: AsyncClient) -> None:
        for path in paths:
            try:
                if recursive and await fs.isdir(path):
                    await fs.rmtree(path)
                else:
                    await fs.unlink(path)
                removed.append(path)
            except OSError as exc:
                if not (force and isinstance(exc, FileNotFoundError)):
                    failures.append((path, str(exc)))

    with_client(cluster, work)
    if json:
        failed = [{"path": path, "error": why} for path, why in failures]
        say_json({"removed": removed, "failures": failed})
    for _, why in failures:
        note(f"benchfs: {why}")
    if failures:
        raise typer.Exit(1)
