"""`benchfs mount`: the cluster's files at a directory; returns when the mount is ready."""

from __future__ import annotations

import errno
import importlib.util
import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from benchfs.cli.output import ClusterOption, JsonOption, fail, note, run, say_json
from benchfs.errors import error
from benchfs.fuse import background, mounts
from benchfs.fuse.settings import Settings

NEEDS = """the mount needs pyfuse3, which is not installed:
  apt-get install fuse3 libfuse3-dev pkg-config gcc python3-dev    (Debian, Ubuntu)
  pip install 'benchfs[fuse]'"""


def mount(
    path: Annotated[Path, typer.Argument(help="An existing directory.")],
    cluster: ClusterOption = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Serve it in this process, log to the terminal.")
    ] = False,
    allow_other: Annotated[
        bool | None,
        typer.Option(help="Let other users in; default: if root mounts."),
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse changes.")] = False,
    writeback: Annotated[
        bool,
        typer.Option(
            "--writeback", help="Let the kernel gather writes: for files one host writes."
        ),
    ] = False,
    polling: Annotated[
        bool, typer.Option(help="Keep CPUs from halting while requests follow each other.")
    ] = True,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds that an operation may take.")
    ] = None,
    attribute_seconds: Annotated[
        float | None, typer.Option(help="How long names and attributes are believed.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Mount the cluster's files at PATH, in the background. The log is told; see also umount."""
    if importlib.util.find_spec("pyfuse3") is None:
        raise fail(NEEDS)
    target = mounts.canonical(path)
    if mounts.is_mounted(target):
        raise error(errno.EBUSY, "mount", target, text="there is a BenchFS mounted already")
    settings = Settings(
        str(target),
        str(Path(cluster).absolute()) if cluster and _is_directory(cluster) else cluster,
        timeout,
        attribute_seconds,
        os.geteuid() == 0 if allow_other is None else allow_other,
        read_only,
        writeback,
        polling,
    )
    if foreground:
        from benchfs.fuse import session  # noqa: PLC0415 (needs pyfuse3)

        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level="INFO")
        run(session.serve(settings, lambda: session.tell_systemd("READY=1")))
        return
    pid = background.start(target, settings.encode())
    log = mounts.record(target).log
    if json:
        say_json({"path": str(target), "pid": pid, "log": str(log)})
    else:
        note(f"mounted at {target}; its log: {log}")


def _is_directory(cluster: str) -> bool:
    return "/" in cluster and not cluster.startswith("benchfs://")
